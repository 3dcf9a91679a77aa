//! The reference Orders system: a small service as one would run it, and everything an engineer needs around it.
//!
//! One binary, one command per process: `orders api` takes orders and keeps them in SQLite, asks `orders inventory` and
//! charges through `orders payments`, and leaves shipments in a durable queue that `orders worker` empties. `orders load`
//! is its users; `orders system` starts all of it on loopback. It knows of its observability only `skopos-sdk`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests may panic"))]

mod api;
#[cfg(test)]
mod artefacts;
mod cache;
mod downstream;
mod inventory;
mod load;
mod order;
mod payments;
mod queue;
mod serve;
mod store;
mod system;
mod worker;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "orders", version, about = "The reference Orders system, observed by skopos-sdk")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take, list, show and cancel orders over HTTP.
    Api(api::ApiOptions),
    /// Ship what the queue holds.
    Worker(worker::WorkerOptions),
    /// A payment provider, as reliable as it is told to be.
    Payments(payments::PaymentsOptions),
    /// A stock keeper, as reliable as it is told to be.
    Inventory(inventory::InventoryOptions),
    /// Steady traffic: an open model, so that a slow service does not get less of it.
    Load(load::LoadOptions),
    /// All services on loopback, as processes of their own, until told to stop.
    System(system::SystemOptions),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // reqwest asks for a TLS provider even where only plain HTTP is spoken; a second installation is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        match arguments.command {
            Command::Api(options) => api::run(options).await,
            Command::Worker(options) => worker::run(options).await,
            Command::Payments(options) => payments::run(options).await,
            Command::Inventory(options) => inventory::run(options).await,
            Command::Load(options) => load::run(options).await,
            Command::System(options) => system::run(options).await,
        }
    })
}
