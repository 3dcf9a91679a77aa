//! Processes the demo starts, and stops again whatever happens.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Children, stopped last started first when dropped.
#[derive(Debug, Default)]
pub(crate) struct Children(Vec<(String, Child)>);

impl Children {
    /// Starts a process; its output goes to a file.
    pub(crate) fn start(&mut self, name: &str, command: &mut Command, log: &Path) -> anyhow::Result<()> {
        let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let error = out.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(error).spawn().with_context(|| format!("cannot start {name}"))?;
        self.0.push((name.to_owned(), child));
        Ok(())
    }

    /// Fails when one of them has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        for (name, child) in &mut self.0 {
            if let Some(status) = child.try_wait()? {
                bail!("{name} ended ({status}); its log says why");
            }
        }
        Ok(())
    }

    /// Asks all to stop (SIGTERM, so that they drain), waits, and ends what does not.
    pub(crate) fn stop(&mut self) {
        for (_, child) in self.0.iter().rev() {
            let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).stderr(Stdio::null()).status();
        }
        let deadline = Instant::now() + Duration::from_secs(15);
        for (_, child) in self.0.iter_mut().rev() {
            while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(50));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        self.0.clear();
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A port nobody listens on at this moment.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// `GET path` over HTTP/1.1; the status and the body.
pub(crate) fn get(address: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let address: SocketAddr = address.parse()?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map(|(_, b)| b.to_owned()).unwrap_or_default();
    Ok((status, body))
}

/// Waits until `GET path` answers 200.
pub(crate) fn wait_ready(name: &str, address: &str, path: &str, patience: Duration, children: &mut Children) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        children.check()?;
        let answer = get(address, path);
        if matches!(answer, Ok((200, _))) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{name} at {address}{path} did not become ready within {} s: {answer:?}", patience.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
