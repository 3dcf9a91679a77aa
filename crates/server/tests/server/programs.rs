//! Programs in other languages that tests start, and a network of their own for those that insist on a port.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use skopos_testkit::{Need, skipped};

use crate::process::eventually;

/// A running program; killed when it goes out of scope.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it; what it says goes to `log`.
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Self {
        let out = File::create(&log).unwrap();
        let error = out.try_clone().unwrap();
        let child = command.stdin(Stdio::null()).stdout(out).stderr(error).spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { child, log }
    }

    /// What it has said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal and waits for its end.
    #[track_caller]
    pub(crate) fn stop(&mut self, signal: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.child.id())]).status().unwrap();
        assert!(sent.success(), "kill -{signal}");
        eventually("its end", || self.child.try_wait().unwrap());
    }

    /// Waits until it says something that `find` recognises.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        eventually(what, || {
            let said = self.said();
            let ended = self.child.try_wait().unwrap();
            find(&said).or_else(|| match ended {
                Some(status) => panic!("{what}: the program ended with {status}:\n{said}"),
                None => None,
            })
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A network of its own (a namespace and a pair of virtual cards), for a program that listens on a fixed port.
/// Taken away when it goes out of scope.
pub(crate) struct Network {
    name: String,
    /// Where what listens inside is reached.
    pub(crate) address: String,
}

impl Network {
    /// Makes one; says so and gives `None` where this process may not.
    pub(crate) fn make() -> Option<Self> {
        let id = std::process::id();
        let (name, outside, inside) = (format!("skopos-{id}"), format!("sko{id}"), format!("ski{id}"));
        // A pair of addresses for each process, so that several test runs do not meet.
        let third = (id >> 6) & 0xff;
        let fourth = (id & 0x3f) * 4;
        let (gateway, address) = (format!("10.213.{third}.{}", fourth + 1), format!("10.213.{third}.{}", fourth + 2));
        let steps = [
            format!("netns add {name}"),
            format!("link add {outside} type veth peer name {inside}"),
            format!("link set {inside} netns {name}"),
            format!("address add {gateway}/30 dev {outside}"),
            format!("link set {outside} up"),
            format!("-n {name} address add {address}/30 dev {inside}"),
            format!("-n {name} link set {inside} up"),
            format!("-n {name} link set lo up"),
        ];
        // From here on what was made is taken away again.
        let network = Self { name, address };
        for step in steps {
            match Command::new("ip").args(step.split(' ')).output() {
                Ok(output) if output.status.success() => {}
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    skipped(Need::Root, &format!("no network namespace of its own, which needs root (ip {step}: {said})"));
                    return None;
                }
                Err(error) => {
                    skipped(Need::Tools, &format!("no `ip` of iproute2 to make a network namespace ({error})"));
                    return None;
                }
            }
        }
        Some(network)
    }

    /// A command that runs inside.
    pub(crate) fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The pair of cards goes with the namespace that holds one of them.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).stderr(Stdio::null()).status();
    }
}
