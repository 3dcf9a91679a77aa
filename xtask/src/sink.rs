//! Whoever is paged in the demo: takes webhooks and writes them down.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest body taken.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// Listens on a free port in a thread of its own; one line of JSON a request goes to `file`. Returns the port.
pub(crate) fn start(file: &Path) -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let file: PathBuf = file.to_path_buf();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let file = file.clone();
            std::thread::spawn(move || {
                let _ = answer(stream, &file);
            });
        }
    });
    Ok(port)
}

fn answer(stream: TcpStream, file: &Path) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut length = 0u64;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = Vec::new();
        reader.by_ref().take(length.min(BODY_BYTES_MAX)).read_to_end(&mut body)?;
        let path = line.split(' ').nth(1).unwrap_or("/");
        let text = String::from_utf8_lossy(&body).replace(['\n', '\r'], " ");
        let mut out = OpenOptions::new().create(true).append(true).open(file)?;
        writeln!(out, "{{\"path\":{path:?},\"body\":{}}}", if text.is_empty() { "null" } else { &text })?;
        writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}
