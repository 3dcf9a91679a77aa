//! All services of the system as processes on loopback, started in the order they need each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::serve::stop_signal;

/// How long a service may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a service may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// Options of `orders system`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SystemOptions {
    /// Folder for the database, the logs of the services, and `addresses.json`.
    #[arg(long, default_value = "orders-data")]
    data: PathBuf,
    /// Address of the API; the others take free ports.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Key of the admin endpoint.
    #[arg(long, env = "ORDERS_ADMIN_KEY", hide_env_values = true)]
    admin_key: Option<String>,
    /// Requests per second to send to the API; none if 0.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
}

struct Service {
    name: &'static str,
    process: Child,
}

pub(crate) async fn run(options: SystemOptions) -> anyhow::Result<()> {
    std::fs::create_dir_all(&options.data).with_context(|| format!("cannot make {}", options.data.display()))?;
    let data = options.data.canonicalize()?;
    let mut services = Vec::new();
    let result = tokio::select! {
        result = start_and_watch(&options, &data, &mut services) => result,
        () = stop_signal() => Ok(()),
    };
    // Users first, then those who depend on others.
    for service in services.iter_mut().rev() {
        stop(service).await;
    }
    result
}

async fn start_and_watch(options: &SystemOptions, data: &Path, services: &mut Vec<Service>) -> anyhow::Result<()> {
    let mut addresses = BTreeMap::new();
    let database = data.join("orders.db").display().to_string();
    for name in ["inventory", "payments", "api", "worker"] {
        let mut arguments: Vec<String> = Vec::new();
        if name == "api" {
            for dependency in ["inventory", "payments"] {
                arguments.extend([format!("--{dependency}"), format!("http://{}", addresses[dependency])]);
            }
            arguments.extend(["--listen".to_owned(), options.listen.to_string()]);
        }
        if matches!(name, "api" | "worker") {
            arguments.extend(["--database".to_owned(), database.clone()]);
        }
        let address = start(options, data, name, &arguments, services).await?;
        addresses.insert(name, address);
    }
    let text =
        serde_json::to_string_pretty(&addresses.iter().map(|(name, address)| (name, format!("http://{address}"))).collect::<BTreeMap<_, _>>())?;
    let partial = data.join("addresses.partial");
    std::fs::write(&partial, &text)?;
    std::fs::rename(&partial, data.join("addresses.json"))?;
    {
        use std::io::Write as _;
        writeln!(std::io::stdout(), "{text}")?;
    }
    if options.rate > 0.0 {
        let target = format!("http://{}", addresses["api"]);
        spawn(options, data, "load", &["--target".to_owned(), target, "--rate".to_owned(), options.rate.to_string()], services)?;
    }
    loop {
        for service in services.iter_mut() {
            if let Some(status) = service.process.try_wait()? {
                bail!("{} ended with {status}; its log is {}", service.name, data.join(format!("{}.log", service.name)).display());
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Starts a service and waits until it listens.
async fn start(
    options: &SystemOptions,
    data: &Path,
    name: &'static str,
    arguments: &[String],
    services: &mut Vec<Service>,
) -> anyhow::Result<SocketAddr> {
    let file = data.join(format!("{name}.address"));
    // An address of an earlier run must not be taken for this one's.
    let _ = std::fs::remove_file(&file);
    let mut all = vec!["--address-file".to_owned(), file.display().to_string()];
    all.extend_from_slice(arguments);
    spawn(options, data, name, &all, services)?;
    let started = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(&file) {
            return text.trim().parse().with_context(|| format!("{} holds no address", file.display()));
        }
        let ended = match services.last_mut() {
            Some(service) => service.process.try_wait()?,
            None => None,
        };
        let log = data.join(format!("{name}.log"));
        if let Some(status) = ended {
            bail!("{name} ended with {status} before it listened; its log is {}", log.display());
        }
        if started.elapsed() > START_TIMEOUT {
            bail!("{name} did not listen within {} s; its log is {}", START_TIMEOUT.as_secs(), log.display());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn spawn(options: &SystemOptions, data: &Path, name: &'static str, arguments: &[String], services: &mut Vec<Service>) -> anyhow::Result<()> {
    let log = std::fs::File::create(data.join(format!("{name}.log")))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(name).args(arguments).stdout(log.try_clone()?).stderr(log).stdin(std::process::Stdio::null()).kill_on_drop(true);
    if let Some(key) = &options.admin_key {
        // By the environment, where other users of the machine do not see it.
        command.env("ORDERS_ADMIN_KEY", key);
    }
    let process = command.spawn().with_context(|| format!("cannot start {name}"))?;
    services.push(Service { name, process });
    Ok(())
}

async fn stop(service: &mut Service) {
    let pid = service.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself meanwhile.
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(STOP_TIMEOUT, service.process.wait()).await.is_err() {
        let _ = service.process.kill().await;
    }
}
