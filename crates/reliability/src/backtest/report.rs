//! What came of a backtest.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Serialize;

use skopos_query::promql::{self, BinaryOp, Expr, Kind};

use crate::alerting::{AlertPhase, RuleHealth, fingerprint, json_float_opt};
use crate::duration::format_duration;
use crate::effect::JournalEntry;
use crate::engine::Engine;
use crate::rules::is_page;
use crate::view::nanos;

/// Most episodes told and counted; `truncated` says that there were more.
const EPISODES_MAX: usize = 10_000;
/// Most messages told of one episode.
const MESSAGES_MAX: usize = 100;
/// Values of `for` that are compared, seconds: those that people choose among.
const FOR_CHOICES: [u32; 8] = [0, 60, 120, 300, 600, 900, 1_800, 3_600];

/// What rules would have done. Times are Unix nanoseconds in decimal text, as everywhere in the API.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BacktestReport {
    /// First moment.
    pub from: String,
    /// Last moment.
    pub to: String,
    /// Rules in the order of their files.
    pub rules: Vec<RuleOutcome>,
    /// Alerts that began to hold.
    pub pending: u64,
    /// Alerts that were raised.
    pub fired: u64,
    /// Raised alerts that wake people.
    pub pages: u64,
    /// Messages sent, repetitions and resolutions among them.
    pub messages: u64,
    /// Whether there were more episodes than are told.
    pub truncated: bool,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleOutcome {
    /// Group.
    pub group: String,
    /// Name.
    pub name: String,
    /// `alerting` or `recording`.
    pub kind: &'static str,
    /// PromQL.
    pub expr: String,
    /// How long the condition has to hold, seconds.
    pub for_seconds: f64,
    /// Why its last evaluation failed, if it did.
    pub error: Option<String>,
    /// How long it fired in all, seconds; alerts at the same time count one by one.
    pub firing_seconds: f64,
    /// What other values of `for` would have done, the shortest first; empty for recording rules.
    pub for_choices: Vec<ForChoice>,
    /// Its alerts in order of time.
    pub episodes: Vec<Episode>,
    /// Whether its condition asks for low values.
    #[serde(skip)]
    low: bool,
}

/// A rule with another `for`. It follows from how long each alert's condition held: where `keep_firing_for` bridges
/// gaps, a shorter `for` would have joined some of these alerts into one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ForChoice {
    /// How long the condition would have had to hold, seconds.
    pub for_seconds: f64,
    /// Alerts that would have been raised.
    pub fired: u64,
    /// Those of them that wake people.
    pub pages: u64,
}

/// An alert from its first moment to its last.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Episode {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations when it was raised, or first held.
    pub annotations: BTreeMap<String, String>,
    /// Whether it wakes people.
    pub page: bool,
    /// When its condition began to hold.
    pub pending_at: String,
    /// When it was raised.
    pub fired_at: Option<String>,
    /// When it was over; none when it went on at the end.
    pub ended_at: Option<String>,
    /// When its condition held last.
    pub held_until: String,
    /// Value when it was raised, or first held.
    #[serde(serialize_with = "json_float_opt")]
    pub value: Option<f64>,
    /// Its worst value: the greatest, or of a condition that asks for low values the least.
    #[serde(serialize_with = "json_float_opt")]
    pub peak: Option<f64>,
    /// Messages about it.
    pub messages: Vec<Message>,
    #[serde(skip)]
    pub(super) times: [Option<i64>; 3],
    /// When its condition held last.
    #[serde(skip)]
    pub(super) held: i64,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// When it was sent.
    pub at: String,
    /// Receiver.
    pub receiver: String,
    /// `firing` or `resolved`.
    pub status: &'static str,
}

/// Writes down what the engine does.
pub(super) struct Recorder {
    report: BacktestReport,
    from: i64,
    to: i64,
    /// The rule and the episode of an alert that goes on, by its fingerprint.
    open: HashMap<u64, (usize, usize)>,
    /// Episodes kept.
    kept: usize,
}

impl Recorder {
    pub(super) fn new(engine: &Engine, from: i64, to: i64) -> Self {
        let rules = engine.groups().flat_map(|g| g.rules.iter().map(move |r| (g, r))).map(|(group, rule)| RuleOutcome {
            group: group.name.clone(),
            name: rule.name.clone(),
            kind: if rule.alerting().is_some() { "alerting" } else { "recording" },
            expr: rule.expr.trim().to_owned(),
            for_seconds: rule.alerting().map_or(0.0, |a| a.for_ms as f64 / 1_000.0),
            error: None,
            firing_seconds: 0.0,
            for_choices: Vec::new(),
            episodes: Vec::new(),
            low: promql::parse(&rule.expr).is_ok_and(|e| asks_for_low(&e)),
        });
        let report = BacktestReport {
            from: nanos(from),
            to: nanos(to),
            rules: rules.collect(),
            pending: 0,
            fired: 0,
            pages: 0,
            messages: 0,
            truncated: false,
        };
        Self { report, from, to, open: HashMap::new(), kept: 0 }
    }

    /// A change of an alert's phase.
    pub(super) fn journal(&mut self, engine: &Engine, entry: &JournalEntry) {
        if entry.source != "alerting" {
            return;
        }
        if entry.kind == "pending" {
            return self.begin(engine, entry);
        }
        let Some(id) = identity(entry) else { return };
        let Some(&(rule, place)) = self.open.get(&id) else { return };
        let episode = &mut self.report.rules[rule].episodes[place];
        match entry.kind.as_str() {
            "firing" => {
                episode.times[1] = Some(entry.at);
                if let Some((_, _, alert)) = engine.alerts().find(|(_, _, a)| fingerprint(&a.labels) == id) {
                    episode.value = Some(alert.value);
                    episode.annotations.clone_from(&alert.annotations);
                }
            }
            "resolved" | "inactive" => {
                episode.times[2] = Some(entry.at);
                self.open.remove(&id);
            }
            _ => {}
        }
    }

    fn begin(&mut self, engine: &Engine, entry: &JournalEntry) {
        let Some(id) = identity(entry) else { return };
        let mut place = 0;
        let found = engine.groups().flat_map(|g| &g.rules).zip(engine.rule_states()).find_map(|(_, state)| {
            let alert = state.and_then(|s| s.alerts.values().find(|a| fingerprint(&a.labels) == id));
            place += 1;
            alert.map(|a| (place - 1, a.clone()))
        });
        let Some((rule, alert)) = found else { return };
        if self.kept >= EPISODES_MAX {
            self.report.truncated = true;
            return;
        }
        self.kept += 1;
        let severity = alert.labels.get("severity").unwrap_or("");
        let episodes = &mut self.report.rules[rule].episodes;
        episodes.push(Episode {
            page: is_page(severity),
            labels: alert.labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            annotations: alert.annotations,
            pending_at: String::new(),
            fired_at: None,
            ended_at: None,
            held_until: String::new(),
            value: Some(alert.value),
            peak: Some(alert.value),
            messages: Vec::new(),
            times: [Some(entry.at), None, None],
            held: entry.at,
        });
        self.open.insert(id, (rule, episodes.len() - 1));
    }

    /// Rules have been evaluated: how bad it is now, and that the conditions still hold.
    pub(super) fn observe(&mut self, engine: &Engine) {
        if self.open.is_empty() {
            return;
        }
        let states = engine.rule_states().flatten().filter_map(|s| Some((s.evaluated_at?, s)));
        for (at, alert) in states.flat_map(|(at, s)| s.alerts.values().map(move |a| (at, a))) {
            // One that is only kept by `keep_firing_for` shows the value it last had.
            if alert.phase == AlertPhase::Inactive || alert.keep_firing_since.is_some() {
                continue;
            }
            let Some(&(rule, place)) = self.open.get(&fingerprint(&alert.labels)) else { continue };
            let rule = &mut self.report.rules[rule];
            let low = rule.low;
            let episode = &mut rule.episodes[place];
            episode.held = at;
            let worse = |peak: f64| if low { alert.value < peak } else { alert.value > peak };
            if episode.peak.is_none_or(|peak| worse(peak) || peak.is_nan()) {
                episode.peak = Some(alert.value);
            }
        }
    }

    /// A message goes out.
    pub(super) fn message(&mut self, engine: &Engine, delivery: &str, now: i64) {
        if now < self.from {
            return;
        }
        let Some(delivery) = engine.dispatcher().state().queue.get(delivery) else { return };
        self.report.messages += 1;
        for alert in &delivery.notification.alerts {
            let labels: BTreeMap<&str, &str> = alert.labels.iter().collect();
            let same = |e: &&mut Episode| e.labels.len() == labels.len() && e.labels.iter().all(|(k, v)| labels.get(k.as_str()) == Some(&v.as_str()));
            // The latest one of these labels: a resolution comes after the episode's end.
            let episodes = self.report.rules.iter_mut().flat_map(|r| &mut r.episodes);
            let Some(episode) = episodes.filter(same).max_by_key(|e| e.times[0]) else { continue };
            if episode.messages.len() < MESSAGES_MAX {
                let status = if alert.resolved { "resolved" } else { "firing" };
                episode.messages.push(Message { at: nanos(now), receiver: delivery.notification.receiver.clone(), status });
            }
        }
    }

    pub(super) fn finish(mut self, engine: &Engine) -> BacktestReport {
        let (from, to) = (self.from, self.to);
        for (rule, state) in self.report.rules.iter_mut().zip(engine.rule_states()) {
            rule.error = state.filter(|s| s.health == RuleHealth::Err).and_then(|s| s.error.clone());
            // What was over before the range began is no part of it.
            rule.episodes.retain(|e| e.times[2].is_none_or(|end| end >= from));
            for episode in &mut rule.episodes {
                let [pending, fired, ended] = episode.times;
                episode.pending_at = pending.map(nanos).unwrap_or_default();
                episode.fired_at = fired.map(nanos);
                episode.ended_at = ended.map(nanos);
                episode.held_until = nanos(episode.held);
                if let Some(fired) = fired {
                    rule.firing_seconds += (ended.unwrap_or(to) - fired.max(from)).max(0) as f64 / 1_000.0;
                }
                self.report.pending += 1;
                self.report.fired += u64::from(fired.is_some());
                self.report.pages += u64::from(fired.is_some() && episode.page);
            }
            if rule.kind == "alerting" {
                rule.for_choices = for_choices(rule, from);
            }
        }
        self.report
    }
}

/// The fingerprint of the alert that an entry is about.
fn identity(entry: &JournalEntry) -> Option<u64> {
    u64::from_str_radix(&entry.reference, 16).ok()
}

/// Whether a condition is `something < limit`: then low values are the bad ones.
fn asks_for_low(expr: &Expr) -> bool {
    match &expr.kind {
        Kind::Paren(inner) => asks_for_low(inner),
        Kind::Binary(binary) => match binary.op {
            BinaryOp::Less | BinaryOp::LessEqual => true,
            BinaryOp::And | BinaryOp::Unless => asks_for_low(&binary.left),
            _ => false,
        },
        _ => false,
    }
}

/// What other values of `for` would have done, the rule's own among them.
fn for_choices(rule: &RuleOutcome, from: i64) -> Vec<ForChoice> {
    let own = rule.for_seconds;
    let mut choices: Vec<f64> = FOR_CHOICES.iter().map(|s| f64::from(*s)).filter(|s| (s - own).abs() >= 1e-3).chain([own]).collect();
    choices.sort_by(f64::total_cmp);
    let held = |e: &Episode| {
        let [pending, ..] = e.times;
        pending.map_or(0, |at| e.held - at) as f64 / 1_000.0
    };
    let at = |for_seconds: f64| {
        // The rule's own is what happened: a condition that held long enough only before the range is no part of it.
        let raised = |e: &&Episode| if (for_seconds - own).abs() < 1e-3 { e.fired_at.is_some() } else { held(e) >= for_seconds && e.held >= from };
        let fired = rule.episodes.iter().filter(raised).count() as u64;
        let pages = rule.episodes.iter().filter(raised).filter(|e| e.page).count() as u64;
        ForChoice { for_seconds, fired, pages }
    };
    choices.into_iter().map(at).collect()
}

/// RFC 3339 to the second.
fn time(ms: Option<i64>) -> String {
    let stamp = ms.and_then(|ms| jiff::Timestamp::from_second(ms.div_euclid(1_000)).ok());
    stamp.map_or_else(|| "-".to_owned(), |t| t.to_string())
}

/// For a terminal.
impl fmt::Display for BacktestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for rule in &self.rules {
            let fired = rule.episodes.iter().filter(|e| e.fired_at.is_some()).count();
            match rule.kind {
                "alerting" => writeln!(
                    f,
                    "{} ({}): {fired} of {} alerts fired, {} in all",
                    rule.name,
                    rule.group,
                    rule.episodes.len(),
                    format_duration((rule.firing_seconds * 1_000.0) as i64)
                )?,
                _ => writeln!(f, "{} ({}): recorded", rule.name, rule.group)?,
            }
            if let Some(error) = &rule.error {
                writeln!(f, "  fails: {error}")?;
            }
            for episode in &rule.episodes {
                let [pending, fired, ended] = episode.times;
                let labels: Vec<String> = episode.labels.iter().filter(|(k, _)| *k != "alertname").map(|(k, v)| format!("{k}={v:?}")).collect();
                let value = episode.value.map(|v| crate::template::format_g(v, Some(4))).unwrap_or_default();
                writeln!(f, "  pending {}  fired {}  ended {}  value {value}  {{{}}}", time(pending), time(fired), time(ended), labels.join(", "))?;
                for message in &episode.messages {
                    let at = message.at.parse::<i64>().ok().map(|n| n / 1_000_000);
                    writeln!(f, "    {} {} to {}", time(at), message.status, message.receiver)?;
                }
            }
        }
        write!(f, "{} pending, {} fired, {} of them pages, {} messages", self.pending, self.fired, self.pages, self.messages)?;
        if self.truncated {
            write!(f, "; only the first {EPISODES_MAX} alerts are told")?;
        }
        writeln!(f)
    }
}
