//! Who calls whom: client spans paired with the server spans they are the parents of.

use std::collections::HashMap;
use std::sync::Arc;

use skopos_model::{SpanBatch, SpanId, SpanKind, StatusCode, TraceId};
use skopos_query::filter::{Field, Filter};
use skopos_query::traces::EdgeRow;
use skopos_query::{QueryContext, TimeRange};
use xxhash_rust::xxh3::xxh3_64;

use super::access::{Access, Block, Texts};
use super::columns::{LINKS, START};
use super::filter::SpanFilter;
use super::quantile::Durations;
use super::read::{OpenFiles, columns_of, read_group};
use super::red::QUANTILES;
use crate::error::StorageError;
use crate::head::Snapshot;

/// The other side of a call is looked for this long after the range, nanoseconds: a server starts after its client.
const SERVER_DELAY: i64 = 60_000_000_000;
/// Calls whose other side may still turn up elsewhere. Rows of a trace are next to each other, so these are calls
/// to what sends no spans, and the few traces cut by a flush; over the limit they count as the former.
const WAITING_MAX: usize = 1 << 20;
/// Most nodes that are not services (specs/J); further ones are called [`OTHER`].
const VIRTUAL_MAX: usize = 500;
const OTHER: &str = "other";

/// Attributes that name the other side, in the order of specs/J: a name, and where given the port beside it.
const PEER_NAMES: &[(&str, Option<&str>)] = &[
    ("service.peer.name", None),
    ("peer.service", None),
    ("server.address", Some("server.port")),
    ("net.peer.name", Some("net.peer.port")),
    ("network.peer.address", Some("network.peer.port")),
    ("db.namespace", None),
    ("db.name", None),
    ("db.system.name", None),
    ("db.system", None),
];
/// URLs whose authority names the other side where nothing else does: older HTTP instrumentation gives no more.
const URLS: &[&str] = &["url.full", "http.url"];
const DATABASE: &[&str] = &["db.system.name", "db.system"];
const MESSAGING: &str = "messaging.system";
const DESTINATION: &str = "messaging.destination.name";
/// Databases that are caches.
const CACHES: &[&str] = &["redis", "memcached", "valkey", "dragonfly", "hazelcast"];

/// Number of a service or virtual node in [`Names`].
type Node = u32;

#[derive(Default)]
struct Names {
    names: Vec<String>,
    known: HashMap<String, Node>,
}

impl Names {
    fn number(&mut self, name: &str) -> Node {
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        self.names.push(name.to_owned());
        self.known.insert(name.to_owned(), self.names.len() as Node - 1);
        self.names.len() as Node - 1
    }
}

/// What a call with no other side among the spans leads to.
#[derive(Debug, Clone, Copy)]
struct Virtual {
    node: Node,
    kind: &'static str,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    client: Node,
    duration: i64,
    error: bool,
    /// `service`, or `messaging` for a producer.
    kind: &'static str,
    outside: Option<Virtual>,
}

/// Hash of (trace, span): 64 bits tell a day's spans apart.
fn key(trace: &[u8], span: &[u8]) -> u64 {
    let mut both = [0; 24];
    both[..trace.len().min(16)].copy_from_slice(&trace[..trace.len().min(16)]);
    both[16..16 + span.len().min(8)].copy_from_slice(&span[..span.len().min(8)]);
    xxh3_64(&both)
}

struct Pairing<'r> {
    /// Calls of this range count.
    range: TimeRange,
    /// Their other sides are looked for in this one.
    read: TimeRange,
    only: Option<&'r str>,
    names: Names,
    virtuals: Names,
    edges: HashMap<(Node, Node, &'static str, bool), Durations>,
    calls: HashMap<u64, Call>,
    servers: HashMap<u64, Node>,
}

impl Pairing<'_> {
    fn count(&mut self, call: &Call, server: Node, kind: &'static str, outside: bool) {
        let edge = self.edges.entry((call.client, server, kind, outside)).or_default();
        edge.add(call.duration, call.error);
    }

    fn outside(&mut self, call: &Call) {
        if let Some(to) = call.outside {
            self.count(call, to.node, to.kind, true);
        }
    }

    fn virtual_node(&mut self, peer: &Peer<'_>, row: usize) -> Option<Virtual> {
        let (name, kind) = peer.name(row)?;
        let full = self.virtuals.names.len() >= VIRTUAL_MAX && !self.virtuals.known.contains_key(&name);
        let node = self.virtuals.number(if full { OTHER } else { &name });
        Some(Virtual { node, kind })
    }

    fn add_block(&mut self, block: Block<'_>) {
        let rows = block.rows();
        let (kinds, starts, durations, statuses) = (block.kinds(), block.starts(), block.durations(), block.statuses());
        let (traces, spans, parents) = (block.trace_ids(), block.span_ids(), block.parents());
        let service = Access::new(block, &Field::Service);
        let mut service_nodes: HashMap<usize, Node> = HashMap::new();
        let mut node_of = |names: &mut Names, row: usize| -> Node {
            let number = |names: &mut Names| names.number(&service.get(row).map_or_else(String::new, |v| v.to_text().into_owned()));
            match &service {
                Access::Codes(codes, _) => match codes.get(row) {
                    Some(code) => *service_nodes.entry(code).or_insert_with(|| number(names)),
                    None => number(names),
                },
                _ => number(names),
            }
        };
        let links = match block {
            Block::Head(batch) => Some(Texts::Column(&batch.links)),
            Block::File(batch) => batch.column_by_name(LINKS).and_then(Texts::of),
        };
        // The servers of this block first: nearly every call finds its other side here.
        let mut near: HashMap<u64, Node> = HashMap::new();
        for row in 0..rows {
            let kind = SpanKind::from_number(kinds[row]);
            if !matches!(kind, SpanKind::Server | SpanKind::Consumer) || !self.read.contains(starts[row]) {
                continue;
            }
            let node = node_of(&mut self.names, row);
            if !parents.span(row).is_none() {
                near.insert(key(traces.bytes(row), parents.bytes(row)), node);
            }
            if kind == SpanKind::Consumer {
                for (trace, span) in linked(links.and_then(|l| l.get(row)).unwrap_or("")) {
                    near.insert(key(&trace.0, &span.0), node);
                }
            }
        }
        let peer = Peer::new(block);
        for row in 0..rows {
            let kind = match SpanKind::from_number(kinds[row]) {
                SpanKind::Client => "service",
                SpanKind::Producer => "messaging",
                _ => continue,
            };
            if !self.range.contains(starts[row]) {
                continue;
            }
            let client = node_of(&mut self.names, row);
            let error = statuses[row] == StatusCode::Error as u8;
            let mut call = Call { client, duration: durations[row], error, kind, outside: None };
            let id = key(traces.bytes(row), spans.bytes(row));
            match near.remove(&id).or_else(|| self.servers.remove(&id)) {
                Some(server) => self.count(&call, server, kind, false),
                None => {
                    call.outside = self.virtual_node(&peer, row);
                    self.calls.insert(id, call);
                }
            }
        }
        for (id, server) in near {
            match self.calls.remove(&id) {
                Some(call) => self.count(&call, server, call.kind, false),
                None => {
                    self.servers.insert(id, server);
                }
            }
        }
        if self.calls.len() > WAITING_MAX {
            for call in std::mem::take(&mut self.calls).into_values() {
                self.outside(&call);
            }
        }
        if self.servers.len() > WAITING_MAX {
            self.servers.clear();
        }
    }

    fn done(mut self) -> Vec<EdgeRow> {
        for call in std::mem::take(&mut self.calls).into_values() {
            self.outside(&call);
        }
        let (names, virtuals) = (self.names.names, self.virtuals.names);
        let mut rows: Vec<EdgeRow> = self
            .edges
            .into_iter()
            .map(|((client, server, kind, outside), d)| EdgeRow {
                client: names[client as usize].clone(),
                server: if outside { virtuals[server as usize].clone() } else { names[server as usize].clone() },
                kind,
                count: d.count,
                errors: d.errors,
                quantiles: d.quantiles(QUANTILES),
            })
            .filter(|edge| self.only.is_none_or(|only| edge.client == only || edge.server == only))
            .collect();
        rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| (&a.client, &a.server, a.kind).cmp(&(&b.client, &b.server, b.kind))));
        rows
    }
}

/// Trace and span ids of links in JSON text; what is no link is passed over.
fn linked(json: &str) -> Vec<(TraceId, SpanId)> {
    if json.is_empty() {
        return Vec::new();
    }
    let links: Vec<serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
    let id = |link: &serde_json::Value, key: &str| link.get(key).and_then(|v| v.as_str()).map(str::to_owned);
    links.iter().filter_map(|link| Some((id(link, "trace_id")?.parse().ok()?, id(link, "span_id")?.parse().ok()?))).collect()
}

/// Attributes that say what is on the other side.
struct Peer<'a> {
    names: Vec<(Access<'a>, Option<Access<'a>>)>,
    urls: Vec<Access<'a>>,
    database: Vec<Access<'a>>,
    messaging: Access<'a>,
    destination: Access<'a>,
}

fn attribute(key: &str) -> Field {
    Field::Attribute(key.to_owned())
}

/// The fields pairing reads.
fn fields() -> Vec<Field> {
    let mut fields = vec![Field::TraceId, Field::SpanId, Field::Root, Field::Service, Field::Kind, Field::Duration, Field::Status];
    for (name, port) in PEER_NAMES {
        fields.push(attribute(name));
        fields.extend(port.map(attribute));
    }
    fields.extend(URLS.iter().map(|key| attribute(key)));
    fields.extend(DATABASE.iter().map(|key| attribute(key)));
    fields.extend([attribute(MESSAGING), attribute(DESTINATION)]);
    fields
}

impl<'a> Peer<'a> {
    fn new(block: Block<'a>) -> Self {
        let access = |key: &str| Access::new(block, &attribute(key));
        Self {
            names: PEER_NAMES.iter().map(|(name, port)| (access(name), port.map(access))).collect(),
            urls: URLS.iter().map(|key| access(key)).collect(),
            database: DATABASE.iter().map(|key| access(key)).collect(),
            messaging: access(MESSAGING),
            destination: access(DESTINATION),
        }
    }

    /// Name and kind of the other side; nothing when the span does not say.
    fn name(&self, row: usize) -> Option<(String, &'static str)> {
        let text = |access: &Access<'_>| access.get(row).map(|v| v.to_text().into_owned()).filter(|t| !t.is_empty());
        if let Some(system) = text(&self.messaging) {
            let name = match text(&self.destination) {
                Some(destination) => format!("{system}/{destination}"),
                None => system,
            };
            return Some((name, "messaging"));
        }
        let named = self.names.iter().find_map(|(name, port)| {
            let name = text(name)?;
            Some(match port.as_ref().and_then(text) {
                Some(port) => format!("{name}:{port}"),
                None => name,
            })
        });
        let name = named.or_else(|| self.urls.iter().find_map(|url| authority(&text(url)?).map(str::to_owned)))?;
        let kind = match self.database.iter().find_map(text) {
            Some(system) if CACHES.contains(&system.to_ascii_lowercase().as_str()) => "cache",
            Some(_) => "database",
            None => "external",
        };
        Some((name, kind))
    }
}

/// `host` or `host:port` of a URL, without a user's name.
fn authority(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (!host.is_empty()).then_some(host)
}

/// See [`skopos_query::traces::TraceStore::edges`]; the busiest first.
pub(super) fn edges(
    snapshot: &Snapshot<SpanBatch>,
    files: &OpenFiles,
    range: TimeRange,
    service: Option<&str>,
    ctx: &QueryContext,
) -> Result<Vec<EdgeRow>, StorageError> {
    let read = TimeRange { start: range.start, end: range.end.saturating_add(SERVER_DELAY) };
    let filter = Arc::new(SpanFilter::new(&Filter::all(), read)?);
    let mut pairing = Pairing {
        range,
        read,
        only: service,
        names: Names::default(),
        virtuals: Names::default(),
        edges: HashMap::new(),
        calls: HashMap::new(),
        servers: HashMap::new(),
    };
    if range.start >= range.end {
        return Ok(Vec::new());
    }
    let fields = fields();
    for meta in &snapshot.files {
        ctx.check()?;
        if !read.overlaps(meta.file.time_min, meta.file.time_max) {
            ctx.stats.add_files(0, 1);
            continue;
        }
        let Some(file) = files.get(meta) else { continue };
        ctx.stats.add_files(1, 0);
        files.guard(&file, || {
            let mut output = columns_of(&file, &fields, false);
            output.extend([START.to_owned(), LINKS.to_owned()]);
            for group in 0..file.groups() {
                read_group(&file, group, &filter, &output, ctx, &mut |batch| {
                    pairing.add_block(Block::File(batch));
                    Ok(true)
                })?;
            }
            Ok(())
        })?;
    }
    for batch in &snapshot.batches {
        ctx.check()?;
        ctx.stats.add_rows(batch.rows as u64);
        pairing.add_block(Block::Head(&batch.batch));
    }
    Ok(pairing.done())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_the_other_side() {
        for (url, name) in [
            ("http://inventory:8080/stock", Some("inventory:8080")),
            ("https://user:secret@pay.example?q=1", Some("pay.example")),
            ("http://[::1]:9000#top", Some("[::1]:9000")),
            ("https:///no-host", None),
            ("/stock", None),
        ] {
            assert_eq!(authority(url), name, "{url}");
        }
    }
}
