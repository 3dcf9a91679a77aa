//! The demo: Skopos, the Orders system, a steady load; with `--once` the drill as well.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::children::{Children, free_port, wait_ready};
use crate::tools::{binary, build_binaries, build_ui, root};
use crate::{say, sink};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Use free ports and a fresh folder, run the drill, print its report, stop. Fails unless the loop closed.
    #[arg(long)]
    once: bool,
    /// With --once: print the drill's report as JSON on standard output.
    #[arg(long, requires = "once")]
    json: bool,
    /// Which drill --once runs.
    #[arg(long, default_value = "orders-error-10pct")]
    drill: String,
    /// Requests per second of the load.
    #[arg(long, default_value_t = 30)]
    rate: u32,
    /// Folder for data and logs.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Leave the web pages out: for machines without Node.js.
    #[arg(long)]
    no_ui: bool,
}

/// A running demo system.
#[derive(Debug)]
pub(crate) struct System {
    children: Children,
    /// `host:port` of Skopos.
    pub(crate) skopos: String,
    /// `host:port` of the Orders API.
    pub(crate) orders: String,
    /// Folder with logs, data and `webhooks.jsonl`.
    pub(crate) folder: PathBuf,
    /// The API key's file.
    pub(crate) key_file: PathBuf,
}

impl System {
    /// Starts everything and waits until each part is ready. `fixed`: the documented ports, else free ones.
    pub(crate) fn start(folder: PathBuf, rate: u32, fixed: bool) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder)?;
        let webhooks = folder.join("webhooks.jsonl");
        let _ = fs::remove_file(&webhooks);
        let sink = sink::start(&webhooks)?;
        let port = |documented: u16| if fixed { Ok(documented) } else { free_port() };
        let (main, otlp_http, otlp_grpc) = (port(4000)?, port(4318)?, port(4317)?);
        let (api, worker, payments, inventory) = (port(8080)?, port(8081)?, port(8082)?, port(8083)?);
        let orders_key = "orders-admin-demo-key";
        let token = folder.join("orders-admin-key");
        fs::write(&token, orders_key)?;
        let config = folder.join("skopos.yaml");
        let template = fs::read_to_string(root().join("examples/orders/skopos/skopos.yaml")).context("the Orders system's configuration")?;
        let values = [
            ("ORDERS_SKOPOS_DIR", root().join("examples/orders/skopos").display().to_string()),
            ("ORDERS_API", format!("127.0.0.1:{api}")),
            ("ORDERS_WORKER", format!("127.0.0.1:{worker}")),
            ("ORDERS_PAYMENTS", format!("127.0.0.1:{payments}")),
            ("ORDERS_INVENTORY", format!("127.0.0.1:{inventory}")),
            ("ORDERS_ADMIN_KEY_FILE", token.display().to_string()),
            ("WEBHOOK_URL", format!("http://127.0.0.1:{sink}")),
        ];
        let text = values.iter().fold(template, |text, (name, value)| text.replace(&format!("${{{name}}}"), value));
        fs::write(&config, text)?;

        let mut children = Children::default();
        let data = folder.join("data");
        let skopos = format!("127.0.0.1:{main}");
        say(format!("· starting Skopos on http://{skopos}"));
        let mut serve = Command::new(binary("skopos"));
        serve.arg("serve").arg("--data").arg(&data).args(["--listen", &skopos]).arg("--config").arg(&config);
        serve.args(["--otlp-http", &format!("127.0.0.1:{otlp_http}"), "--otlp-grpc", &format!("127.0.0.1:{otlp_grpc}")]);
        children.start("skopos", &mut serve, &folder.join("skopos.log"))?;
        wait_ready("skopos", &skopos, "/readyz", Duration::from_secs(60), &mut children)?;

        let orders = format!("127.0.0.1:{api}");
        say(format!("· starting the Orders system on http://{orders}"));
        let database = folder.join("orders.sqlite");
        let part = |name: &str, port: u16| {
            let mut command = Command::new(binary("orders"));
            command
                .arg(name)
                .args(["--listen", &format!("127.0.0.1:{port}")])
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{otlp_http}"))
                .env("ORDERS_ADMIN_KEY", orders_key)
                .env("SKOPOS_ENV", "demo");
            command
        };
        for (name, port) in [("payments", payments), ("inventory", inventory)] {
            children.start(name, &mut part(name, port), &folder.join(format!("{name}.log")))?;
        }
        let mut command = part("api", api);
        command.arg("--database").arg(&database);
        command.args(["--payments", &format!("http://127.0.0.1:{payments}"), "--inventory", &format!("http://127.0.0.1:{inventory}")]);
        children.start("api", &mut command, &folder.join("api.log"))?;
        wait_ready("orders-api", &orders, "/readyz", Duration::from_secs(30), &mut children)?;
        let mut command = part("worker", worker);
        command.arg("--database").arg(&database);
        command.args(["--payments", &format!("http://127.0.0.1:{payments}"), "--inventory", &format!("http://127.0.0.1:{inventory}")]);
        children.start("worker", &mut command, &folder.join("worker.log"))?;
        say(format!("· starting a load of {rate} requests per second"));
        let mut load = Command::new(binary("orders"));
        load.arg("load").args(["--target", &format!("http://{orders}"), "--rate", &rate.to_string()]);
        children.start("load", &mut load, &folder.join("load.log"))?;
        Ok(Self { children, skopos, orders, key_file: data.join("api-key"), folder })
    }

    /// Runs a drill through the command line, as a user would; its report goes to standard output.
    pub(crate) fn drill(&mut self, scenario: &str, json: bool) -> anyhow::Result<bool> {
        let mut command = Command::new(binary("skopos"));
        command.args(["drill", "run", scenario, "--server", &format!("http://{}", self.skopos)]).arg("--key-file").arg(&self.key_file);
        if json {
            command.arg("--json");
        }
        let status = command.status().context("cannot start the drill")?;
        self.children.check()?;
        Ok(status.success())
    }

    /// Stops everything, Skopos last.
    pub(crate) fn stop(&mut self) {
        self.children.stop();
    }
}

static STOP: AtomicBool = AtomicBool::new(false);

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if !args.no_ui {
        build_ui()?;
    }
    build_binaries(&["skopos", "orders"])?;
    let folder = match &args.data {
        Some(folder) => std::path::absolute(folder)?,
        None if args.once => std::env::temp_dir().join(format!("skopos-demo-{}", std::process::id())),
        None => root().join("demo-data"),
    };
    let mut system = System::start(folder.clone(), args.rate, !args.once)?;
    if args.once {
        let passed = system.drill(&args.drill, args.json)?;
        let webhooks = fs::read_to_string(folder.join("webhooks.jsonl")).unwrap_or_default();
        system.stop();
        ensure!(passed, "the loop did not close; logs are in {}", folder.display());
        for status in ["firing", "resolved"] {
            let delivered = webhooks.lines().any(|l| l.contains(&format!("\"status\":\"{status}\"")) && l.contains("runbook"));
            ensure!(delivered, "no webhook with status {status} and a runbook arrived; see {}", folder.join("webhooks.jsonl").display());
        }
        if args.data.is_none() {
            let _ = fs::remove_dir_all(&folder);
        }
        return Ok(());
    }
    say(format!(
        "\nSkopos         http://{skopos}\nOrders API     http://{orders}\nLogs and data  {folder}\nAPI key        {key}\n\n\
         Rehearse a failure:  {binary} drill run orders-error-10pct --key-file {key}\nStop with Ctrl-C.",
        skopos = system.skopos,
        orders = system.orders,
        folder = system.folder.display(),
        key = system.key_file.display(),
        binary = binary("skopos").display(),
    ));
    // Ctrl-C reaches the whole process group; the children drain on it as this process waits for them.
    wait_for_interrupt(&mut system);
    say("· stopping");
    system.stop();
    Ok(())
}

fn wait_for_interrupt(system: &mut System) {
    if let Err(error) = ctrlc_flag() {
        say(format!("{error:#}"));
    }
    while !STOP.load(Ordering::SeqCst) {
        if let Err(error) = system.children.check() {
            say(format!("{error:#}"));
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Sets [`STOP`] on SIGINT or SIGTERM.
fn ctrlc_flag() -> anyhow::Result<()> {
    ctrlc::set_handler(|| STOP.store(true, Ordering::SeqCst)).context("cannot watch for Ctrl-C")
}
