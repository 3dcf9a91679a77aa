//! The demo: Skopos, the Orders system, a steady load; with `--once` the drill as well.

use std::fs;
use std::path::{Path, PathBuf};
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
        let (main, otlp_http, otlp_grpc, api) = (port(4000)?, port(4318)?, port(4317)?, port(8080)?);
        let (skopos, orders) = (format!("127.0.0.1:{main}"), format!("127.0.0.1:{api}"));
        let admin_key = "orders-admin-demo-key";
        let config = copy_config(&folder, &skopos, &orders, admin_key, sink)?;

        let mut children = Children::default();
        let data = folder.join("data");
        say(format!("· starting Skopos on http://{skopos}"));
        let mut serve = Command::new(binary("skopos"));
        serve.arg("serve").arg("--data").arg(&data).args(["--listen", &skopos]).arg("--config").arg(&config);
        serve.args(["--otlp-http", &format!("127.0.0.1:{otlp_http}"), "--otlp-grpc", &format!("127.0.0.1:{otlp_grpc}")]);
        children.start("skopos", &mut serve, &folder.join("skopos.log"))?;
        wait_ready("skopos", &skopos, "/readyz", Duration::from_secs(60), &mut children)?;

        say(format!("· starting the Orders system on http://{orders} with {rate} requests per second"));
        let mut system = Command::new(binary("orders"));
        system.arg("system").arg("--data").arg(folder.join("orders")).args([
            "--listen",
            &orders,
            "--admin-key",
            admin_key,
            "--rate",
            &rate.to_string(),
        ]);
        system.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{otlp_http}")).env("SKOPOS_ENV", "demo");
        children.start("orders", &mut system, &folder.join("orders.log"))?;
        wait_ready("orders", &orders, "/readyz", Duration::from_secs(60), &mut children)?;
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

/// The Orders system's own configuration, its fixed address replaced by the one in use, with a receiver of ours.
fn copy_config(folder: &Path, skopos: &str, orders: &str, admin_key: &str, sink: u16) -> anyhow::Result<PathBuf> {
    let source = root().join("examples/orders/skopos");
    let target = folder.join("config");
    let _ = fs::remove_dir_all(&target);
    copy_folder(&source, &target, &|text| text.replace("127.0.0.1:8080", orders)).context("the Orders system's configuration")?;
    fs::write(target.join("orders-admin.key"), admin_key)?;
    let config = target.join("skopos.yaml");
    let mut text = fs::read_to_string(&config)?;
    text.push_str(&format!(
        "\nexternal_url: http://{skopos}\nnotify:\n  route: {{receiver: on-call, group_by: [alertname], group_wait: 1s, group_interval: 5s, repeat_interval: 1h}}\n  \
         receivers:\n    - name: on-call\n      webhook_configs: [{{url: 'http://127.0.0.1:{sink}/webhook'}}]\n      chat_configs: [{{url: 'http://127.0.0.1:{sink}/chat'}}]\n"
    ));
    fs::write(&config, text)?;
    Ok(config)
}

fn copy_folder(source: &Path, target: &Path, rewrite: &dyn Fn(&str) -> String) -> anyhow::Result<()> {
    fs::create_dir_all(target)?;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let to = target.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to, rewrite)?;
        } else {
            fs::write(to, rewrite(&fs::read_to_string(entry.path())?))?;
        }
    }
    Ok(())
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
