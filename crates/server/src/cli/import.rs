//! `skopos import`

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::StatusCode;
use skopos_ingest::exposition::backfill::Backfill;
use skopos_ingest::remote_write::encode_v2;
use skopos_model::{IngestLimits, MetricMetadata, TimeSeries};

use super::client::ServerArgs;
use super::{http_client, say};

/// Text read at a time: a request of it stays well below the server's limit.
const PIECE_BYTES: usize = 4 << 20;
/// Longest line, bytes.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How often one request is sent again.
const TRIES_MAX: usize = 8;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skopos import openmetrics history.om")]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Samples of the past from an OpenMetrics file, as promtool writes and reads them: each has its time.
    Openmetrics(OpenMetricsArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  skopos import openmetrics history.om
  promtool tsdb dump-openmetrics ./prometheus | skopos import openmetrics -

What has been imported is imported once, however often the command is repeated: a sample is told by series and time.")]
struct OpenMetricsArgs {
    /// The file; `-` for standard input.
    file: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) async fn run(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let What::Openmetrics(args) = args.what;
    let name = args.file.display().to_string();
    let mut reader: Box<dyn BufRead> = if name == "-" {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        Box::new(BufReader::new(std::fs::File::open(&args.file).with_context(|| format!("cannot open {name}"))?))
    };
    let sender = Sender::new(&args.server)?;
    let (mut backfill, limits) = (Backfill::default(), IngestLimits::default());
    let (mut samples, mut refused) = (0usize, 0usize);
    loop {
        let piece = read_piece(reader.as_mut()).with_context(|| format!("cannot read {name}"))?;
        if piece.is_empty() {
            break;
        }
        let read = backfill.piece(&piece, &limits).with_context(|| name.clone())?;
        if read.series.is_empty() && read.metadata.is_empty() {
            continue;
        }
        let sent: usize = read.series.iter().map(|series| series.samples.len()).sum();
        let not_taken =
            sender.send(&read.series, &read.metadata).await.with_context(|| format!("{samples} samples are imported, the rest is not"))?;
        samples += sent.saturating_sub(not_taken);
        refused += not_taken;
    }
    if !backfill.is_complete() {
        bail!("{name}: expected \"# EOF\" as the last line: {samples} samples are imported, the file may have been cut");
    }
    say(format!("{samples} samples imported"));
    if refused > 0 {
        say(format!("{refused} samples not taken: see above"));
        return Ok(ExitCode::from(super::FINDINGS));
    }
    Ok(ExitCode::SUCCESS)
}

/// Whole lines of about [`PIECE_BYTES`]; empty at the end.
fn read_piece(reader: &mut dyn BufRead) -> std::io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(PIECE_BYTES + 4096);
    while piece.len() < PIECE_BYTES {
        let before = piece.len();
        if reader.read_until(b'\n', &mut piece)? == 0 {
            break;
        }
        if piece.len() - before > LINE_BYTES_MAX {
            return Err(std::io::Error::other(format!("a line has more than {LINE_BYTES_MAX} bytes")));
        }
    }
    Ok(piece)
}

/// Sends remote-write 2.0 requests.
struct Sender {
    http: reqwest::Client,
    url: String,
    key: Option<String>,
}

impl Sender {
    fn new(args: &ServerArgs) -> anyhow::Result<Self> {
        let key = match (&args.key, &args.key_file) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(file)) => {
                Some(std::fs::read_to_string(file).with_context(|| format!("cannot read the API key from {}", file.display()))?.trim().to_owned())
            }
            (None, None) => None,
        };
        Ok(Self { http: http_client()?, url: format!("{}/api/v1/write", args.server.trim_end_matches('/')), key })
    }

    /// Sends series; gives back how many samples were not taken.
    async fn send(&self, series: &[TimeSeries], metadata: &[MetricMetadata]) -> anyhow::Result<usize> {
        let body = encode_v2(series, metadata);
        let count: usize = series.iter().map(|one| one.samples.len()).sum();
        for attempt in 1.. {
            let mut request = self
                .http
                .post(&self.url)
                .header("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
                .header("content-encoding", "snappy")
                .header("x-prometheus-remote-write-version", "2.0.0")
                .body(body.clone());
            if let Some(key) = &self.key {
                request = request.bearer_auth(key);
            }
            let response = request.send().await.with_context(|| format!("cannot reach {}: is `skopos serve` running there? (--server)", self.url))?;
            let status = response.status();
            let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
            let written = header("x-prometheus-remote-write-samples-written");
            let wait = header("retry-after").unwrap_or(1);
            match status {
                StatusCode::NO_CONTENT | StatusCode::OK => return Ok(0),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE if attempt < TRIES_MAX => {
                    tokio::time::sleep(Duration::from_secs(wait.clamp(1, 60))).await;
                }
                StatusCode::BAD_REQUEST if written.is_some_and(|written| written > 0) => {
                    say(response.text().await?.trim_end());
                    return Ok(count.saturating_sub(usize::try_from(written.unwrap_or(0)).unwrap_or(count)));
                }
                _ => bail!("{status}: {}", response.text().await.unwrap_or_default().trim_end()),
            }
        }
        unreachable!("the last attempt returns")
    }
}
