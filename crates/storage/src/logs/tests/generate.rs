//! Records like those of services, from a seed.

use std::sync::Arc;

use skopos_model::{AttrValue, LogBatch, Resource, Scope, SpanId, TraceId};

pub(super) struct Generator {
    random: fastrand::Rng,
    resources: Vec<Arc<Resource>>,
    scopes: Vec<Arc<Scope>>,
    now: i64,
    times: (i64, i64),
}

const START: i64 = 1_795_046_400_000_000_000;

fn text(value: &str) -> AttrValue {
    AttrValue::Str(value.to_owned())
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        let mut resources = Vec::new();
        for service in ["checkout", "cart", "payment"] {
            for replica in 0..3 {
                let mut attributes: Vec<(Box<str>, AttrValue)> = vec![
                    ("service.name".into(), text(service)),
                    ("service.version".into(), text(if replica == 0 { "1.2.3" } else { "1.2.4" })),
                    ("k8s.pod.name".into(), text(&format!("{service}-{replica}"))),
                    ("replica".into(), AttrValue::Int(replica)),
                ];
                if replica > 0 {
                    attributes.push(("deployment.environment.name".into(), text("production")));
                }
                resources.push(Arc::new(Resource::new(attributes)));
            }
        }
        resources.push(Arc::new(Resource::default()));
        let scopes = vec![Arc::new(Scope::default()), Arc::new(Scope { name: "lib".into(), version: "2.0".into() })];
        Self { random: fastrand::Rng::with_seed(seed), resources, scopes, now: START, times: (i64::MAX, i64::MIN) }
    }

    /// Earliest and latest time so far.
    pub(super) fn times(&self) -> (i64, i64) {
        self.times
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(b"0123456789abcdef"[self.random.usize(..16)])).collect()
    }

    fn body(&mut self) -> String {
        let n = self.random.u32(..5000);
        match self.random.u8(..14) {
            0 => format!("GET /api/orders/{n} status={} took {}.{:02}ms", [200, 404, 503][self.random.usize(..3)], n / 7, n % 100),
            1 => format!("upstream connection reset by peer attempt={}/3 backoff={}ms request_id={}", n % 4, n, self.hex(16)),
            2 => format!("user u{n} logged in from 10.0.{}.{}", n % 256, n % 99),
            3 => format!("Timeout waiting for lock after {n} ms"),
            4 => format!("java.lang.NullPointerException: null\n\tat com.acme.Worker.run(Worker.java:{})\n\tat {}", n % 50, self.hex(16)),
            5 => {
                let parts = [8, 4, 4, 4, 12].map(|digits| self.hex(digits));
                format!("order {} accepted", parts.join("-"))
            }
            6 => format!("trace={} done", self.hex(32)),
            7 => "cache warm".to_owned(),
            8 => format!("once only {} {}", self.hex(5), ["ünïcode é", "plain"][self.random.usize(..2)]),
            9 => String::new(),
            10 => format!("control \u{1} byte {n} {}", self.hex(20)),
            11 => format!("blob {}{}", self.hex(40), n),
            12 => format!("{{\"event\":\"order.placed\",\"n\":{n}}}"),
            _ => format!("session ABC{n}def{} v1.2.{}", n % 10, n % 20),
        }
    }

    /// A batch of `rows` records, by resource as senders do, with equal times now and then.
    pub(super) fn batch(&mut self, rows: usize) -> LogBatch {
        let mut batch = LogBatch { resources: self.resources.clone(), scopes: self.scopes.clone(), ..LogBatch::default() };
        let mut resource = 0;
        for row in 0..rows as u32 {
            if self.random.u8(..20) == 0 {
                resource = self.random.usize(..self.resources.len()) as u32;
            }
            if self.random.u8(..3) > 0 {
                self.now += self.random.i64(0..40_000_000);
            }
            let late = if self.random.u8(..10) == 0 { self.random.i64(0..60_000_000_000) } else { 0 };
            let time = self.now - late;
            self.times = (self.times.0.min(time), self.times.1.max(time));
            batch.time.push(time);
            batch.observed.push(time + self.random.i64(-5..2_000_000));
            let (number, word) =
                [(9, "INFO"), (5, "DEBUG"), (13, "Warning"), (17, "ERROR"), (0, "error"), (0, ""), (0, "custom"), (12, "")][self.random.usize(..8)];
            batch.severity_number.push(number);
            batch.severity_text.push(word);
            let body = self.body();
            batch.body.push(&body);
            let traced = self.random.u8(..3) > 0;
            batch.trace_id.push(if traced { TraceId(self.random.u128(1..).to_be_bytes()) } else { TraceId::NONE });
            batch.span_id.push(if traced && self.random.bool() { SpanId(self.random.u64(1..).to_be_bytes()) } else { SpanId::NONE });
            batch.flags.push(self.random.u8(..2));
            batch.event_name.push(if self.random.u8(..9) == 0 { "order.placed" } else { "" });
            batch.resource.push(resource);
            batch.scope.push(u32::from(self.random.u8(..4) == 0));
            self.attributes(row, &mut batch);
        }
        batch
    }

    fn attributes(&mut self, row: u32, batch: &mut LogBatch) {
        let random = &mut self.random;
        let attributes = &mut batch.attributes;
        attributes.begin_row();
        attributes.push_str(row, "logger", ["c.a.web.AccessLog", "c.a.db.Query", "c.a.pool.Pool"][random.usize(..3)]);
        if random.bool() {
            attributes.push_int(row, "http.status_code", [200, 404, 500, 503][random.usize(..4)]);
            attributes.push_str(row, "url.path", ["/api/orders", "/api/carts"][random.usize(..2)]);
            attributes.push_double(row, "duration_ms", f64::from(random.u32(..5000)) / 16.0);
        }
        if random.u8(..5) == 0 {
            attributes.push_str(row, "user_id", &format!("user-{}", random.u32(..100_000)));
        }
        if random.u16(..900) == 0 {
            match random.u8(..6) {
                0 => attributes.push_int(row, "rare_int", random.i64(0..10)),
                1 => attributes.push_double(row, "rare_double", f64::from(random.u8(..4)) / 4.0),
                2 => attributes.push_bool(row, "rare_bool", random.bool()),
                3 => attributes.push_json(row, "rare_json", "[1,\"two\"]"),
                4 => attributes.push_str(row, "rare_int", "text of the same key"),
                _ => attributes.push_str(row, "rare_text", ["one", "t'wo\""][random.usize(..2)]),
            }
        }
    }
}

/// Filters for ids that occur in a batch.
pub(super) fn id_filters(batch: &LogBatch, random: &mut fastrand::Rng, each: usize) -> Vec<String> {
    let mut filters = Vec::new();
    let mut some = |filters: &mut Vec<String>, prefix: &str, cut: &dyn Fn(&str) -> Option<String>| {
        let rows: Vec<&str> = batch.body.iter().filter(|b| b.contains(prefix)).collect();
        for _ in 0..each.min(rows.len()) {
            filters.extend(cut(rows[random.usize(..rows.len())]));
        }
    };
    some(&mut filters, "request_id=", &|b| Some(b.split("request_id=").nth(1)?.to_owned()));
    some(&mut filters, "request_id=", &|b| Some(format!("\"{}\"", b.split_once("ms ")?.1)));
    some(&mut filters, "order ", &|b| Some(format!("\"{}\"", b.split(' ').nth(1)?.to_uppercase())));
    some(&mut filters, "trace=", &|b| Some(b.get(9..30)?.to_owned()));
    some(&mut filters, "blob ", &|b| Some(b.get(8..34)?.to_owned()));
    some(&mut filters, "control", &|b| Some(b.rsplit(' ').next()?.get(1..19)?.to_owned()));
    some(&mut filters, "Worker", &|b| Some(b.rsplit(' ').next()?.to_owned()));
    let traced: Vec<TraceId> = batch.trace_id.iter().copied().filter(|id| !id.is_none()).collect();
    for _ in 0..each.min(traced.len()) {
        filters.push(format!("trace_id:{}", traced[random.usize(..traced.len())]));
    }
    filters
}
