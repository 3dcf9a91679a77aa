//! Groups of alerts, when news of them is sent, and what has become of each message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use skopos_model::Labels;
use xxhash_rust::xxh3::xxh3_64;

use super::delivery::{ATTEMPTS_MAX, Delivery, DeliveryStatus, backoff_ms};
use super::render::{Notification, NotifiedAlert};
use super::route::{Route, Routing};
use super::{CHANNELS, Integration};
use crate::alerting::{AlertUpdate, fingerprint};
use crate::effect::{Document, DocumentKind, Effect, JournalEntry};

/// Longest time one attempt may take, milliseconds.
const ATTEMPT_TIMEOUT_MS: i64 = 10_000;
/// Most groups; alerts that would make more are shown, not sent, and reported.
const GROUPS_MAX: usize = 10_000;
/// Most alerts in one group.
const GROUP_ALERTS_MAX: usize = 10_000;
/// Finished messages kept for views.
const FINISHED_MAX: usize = 1_000;

/// Alerts that share messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Node of the route tree.
    pub route: String,
    /// Receiver.
    pub receiver: String,
    /// Labels that make the group.
    pub labels: Labels,
    /// Alerts by identity.
    pub alerts: BTreeMap<u64, AlertUpdate>,
    /// When news is sent next, Unix milliseconds.
    pub next_flush: i64,
    /// Whether it was sent before.
    pub flushed: bool,
}

/// What was last sent about a group through one integration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When it was decided, Unix milliseconds.
    pub at: i64,
    /// Alerts that fired in it.
    pub firing: BTreeSet<u64>,
    /// Alerts that were over in it.
    pub resolved: BTreeSet<u64>,
    /// When it may be forgotten.
    pub expires_at: i64,
}

/// The part of a dispatcher that is persisted, document by document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DispatcherState {
    /// Groups by key.
    pub groups: BTreeMap<String, Group>,
    /// Log by group, receiver and integration.
    pub log: BTreeMap<String, LogEntry>,
    /// Messages in the queue by id.
    pub queue: BTreeMap<String, Delivery>,
    /// Messages that are done, oldest first.
    pub finished: VecDeque<Delivery>,
}

/// Groups, routes and sends. See the module.
#[derive(Debug, Clone, Default)]
pub struct Dispatcher {
    routing: Arc<Routing>,
    external_url: String,
    seed: u64,
    state: DispatcherState,
    refused: u64,
}

impl Dispatcher {
    /// An empty one. `seed` spreads repeated attempts.
    pub fn new(external_url: impl Into<String>, seed: u64) -> Self {
        Self { external_url: external_url.into(), seed, ..Self::default() }
    }

    /// What it knows.
    pub fn state(&self) -> &DispatcherState {
        &self.state
    }

    /// Alerts not sent because there were too many groups or alerts.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Sets the base of links, when the server learns its address.
    pub fn set_external_url(&mut self, url: impl Into<String>) {
        self.external_url = url.into();
    }

    /// Takes a document of a former life. Messages whose attempt was running are sent again.
    pub fn restore(&mut self, document: &Document, now: i64) -> Result<(), serde_json::Error> {
        let json = document.json.clone();
        match document.kind {
            DocumentKind::NotifyGroup => {
                self.state.groups.insert(document.key.clone(), serde_json::from_value(json)?);
            }
            DocumentKind::NotifyLog => {
                self.state.log.insert(document.key.clone(), serde_json::from_value(json)?);
            }
            DocumentKind::Delivery => {
                let mut delivery: Delivery = serde_json::from_value(json)?;
                if delivery.status == DeliveryStatus::Queued {
                    delivery.next_attempt.get_or_insert(now);
                    self.state.queue.insert(delivery.id.clone(), delivery);
                } else {
                    let at = self.state.finished.partition_point(|d| d.finished_at <= delivery.finished_at);
                    self.state.finished.insert(at, delivery);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Puts new routes in force: every alert is routed anew; groups that stay keep their timers.
    pub fn set_routing(&mut self, routing: Routing, now: i64, effects: &mut Vec<Effect>) {
        self.routing = Arc::new(routing);
        let before = std::mem::take(&mut self.state.groups);
        for (key, group) in &before {
            for update in group.alerts.values() {
                self.route(update, now, &before);
            }
            if !self.state.groups.contains_key(key) {
                effects.push(Effect::Forget { kind: DocumentKind::NotifyGroup, key: key.clone() });
            }
        }
        for (key, group) in &self.state.groups {
            if before.get(key) != Some(group) {
                effects.push(Effect::Persist(Document::new(DocumentKind::NotifyGroup, key.as_str(), group)));
            }
        }
    }

    /// Takes news of an alert.
    pub fn ingest(&mut self, update: &AlertUpdate, now: i64, effects: &mut Vec<Effect>) {
        for key in self.route(update, now, &BTreeMap::new()) {
            let group = &self.state.groups[&key];
            effects.push(Effect::Persist(Document::new(DocumentKind::NotifyGroup, key.as_str(), group)));
        }
    }

    /// Puts an alert into its groups; returns the keys of those that changed in what a restart has to know.
    fn route(&mut self, update: &AlertUpdate, now: i64, former: &BTreeMap<String, Group>) -> Vec<String> {
        let routing = Arc::clone(&self.routing);
        let Some(top) = &routing.route else { return Vec::new() };
        let id = fingerprint(&update.labels);
        let mut changed = Vec::new();
        for route in top.find(&update.labels) {
            let labels = route.group_labels(&update.labels);
            let key = format!("{}:{labels}", route.id);
            let known = self.state.groups.get(&key).is_some_and(|g| g.alerts.contains_key(&id));
            if update.resolved && !known && !former.contains_key(&key) {
                // Nobody was told that it fired.
                continue;
            }
            if !self.state.groups.contains_key(&key) {
                if self.state.groups.len() >= GROUPS_MAX {
                    self.refused += 1;
                    continue;
                }
                let kept = former.get(&key);
                let group = Group {
                    route: route.id.clone(),
                    receiver: route.receiver.clone(),
                    labels,
                    alerts: BTreeMap::new(),
                    next_flush: kept.map_or(now + route.group_wait_ms, |g| g.next_flush),
                    flushed: kept.is_some_and(|g| g.flushed),
                };
                self.state.groups.insert(key.clone(), group);
            }
            let Some(group) = self.state.groups.get_mut(&key) else { continue };
            if !known && group.alerts.len() >= GROUP_ALERTS_MAX {
                self.refused += 1;
                continue;
            }
            if !group.flushed && !update.resolved && update.starts_at + route.group_wait_ms < now {
                group.next_flush = group.next_flush.min(now);
            }
            let before = group.alerts.insert(id, update.clone());
            if before.is_none_or(|b| b.resolved != update.resolved || b.starts_at != update.starts_at) {
                changed.push(key);
            }
        }
        changed
    }

    /// When something is due next.
    pub fn next_wakeup(&self) -> Option<i64> {
        let flushes = self.state.groups.values().map(|g| g.next_flush);
        let attempts = self.state.queue.values().filter_map(|d| d.next_attempt);
        flushes.chain(attempts).min()
    }

    /// Sends what is due.
    pub fn tick(&mut self, now: i64, effects: &mut Vec<Effect>) {
        let due: Vec<String> = self.state.groups.iter().filter(|(_, g)| g.next_flush <= now).map(|(k, _)| k.clone()).collect();
        let silencing = if due.is_empty() { Vec::new() } else { self.silencing() };
        for key in due {
            self.flush(&key, &silencing, now, effects);
        }
        let due: Vec<String> = self.state.queue.values().filter(|d| d.next_attempt.is_some_and(|at| at <= now)).map(|d| d.id.clone()).collect();
        for id in due {
            self.attempt(&id, now, effects);
        }
        let expired: Vec<String> = self.state.log.iter().filter(|(_, e)| e.expires_at < now).map(|(k, _)| k.clone()).collect();
        for key in expired {
            self.state.log.remove(&key);
            effects.push(Effect::Forget { kind: DocumentKind::NotifyLog, key });
        }
    }

    /// Labels of the firing alerts that may silence others.
    fn silencing(&self) -> Vec<Labels> {
        let firing = self.state.groups.values().flat_map(|g| g.alerts.values()).filter(|a| !a.resolved);
        firing.filter(|a| self.routing.inhibit.iter().any(|rule| rule.is_source(&a.labels))).map(|a| a.labels.clone()).collect()
    }

    fn flush(&mut self, key: &str, silencing: &[Labels], now: i64, effects: &mut Vec<Effect>) {
        let routing = Arc::clone(&self.routing);
        let Some(group) = self.state.groups.get(key) else { return };
        let Some(route) = routing.route.as_ref().and_then(|top| top.by_id(&group.route)) else {
            self.state.groups.remove(key);
            effects.push(Effect::Forget { kind: DocumentKind::NotifyGroup, key: key.to_owned() });
            return;
        };
        let group = self.state.groups.get_mut(key).expect("looked up above");
        group.next_flush = now + route.group_interval_ms;
        group.flushed = true;
        let mut alerts: Vec<(u64, AlertUpdate)> = group
            .alerts
            .iter()
            .filter(|(_, a)| !routing.inhibit.iter().any(|rule| rule.inhibits(&a.labels, silencing)))
            .map(|(id, a)| (*id, a.clone()))
            .collect();
        alerts.sort_by_key(|(id, a)| (a.resolved, a.starts_at, *id));
        let receiver = group.receiver.clone();
        let labels = group.labels.clone();
        for (place, integration) in routing.receiver(&receiver).map(|r| r.integrations.as_slice()).unwrap_or_default().iter().enumerate() {
            self.decide(key, route, &receiver, &labels, place, integration, &alerts, now, effects);
        }
        self.settle(key, effects);
        if let Some(group) = self.state.groups.get(key) {
            effects.push(Effect::Persist(Document::new(DocumentKind::NotifyGroup, key, group)));
        }
    }

    /// Whether and what an integration is told of a group.
    #[allow(clippy::too_many_arguments, reason = "one call, all of it the group's flush")]
    fn decide(
        &mut self,
        key: &str,
        route: &Route,
        receiver: &str,
        labels: &Labels,
        place: usize,
        integration: &Integration,
        alerts: &[(u64, AlertUpdate)],
        now: i64,
        effects: &mut Vec<Effect>,
    ) {
        let log_key = log_key(key, receiver, place);
        let firing: BTreeSet<u64> = alerts.iter().filter(|(_, a)| !a.resolved).map(|(id, _)| *id).collect();
        let resolved: BTreeSet<u64> = alerts.iter().filter(|(_, a)| a.resolved).map(|(id, _)| *id).collect();
        let repeat = route.repeat_interval_ms;
        if !needs_update(self.state.log.get(&log_key), &firing, &resolved, integration.send_resolved, repeat, now) {
            return;
        }
        let outdated: Vec<String> = self
            .state
            .queue
            .values()
            .filter(|d| d.notification.group_key == key && d.notification.receiver == receiver && d.integration == place)
            .map(|d| d.id.clone())
            .collect();
        for id in outdated {
            self.finish(&id, DeliveryStatus::Failed, Some("not delivered before newer news of its group".to_owned()), now, effects);
        }
        let expires_at = now + 2 * repeat.max(route.group_interval_ms);
        if firing.is_empty() && !integration.send_resolved {
            // Nothing to send; the log has to forget what fired all the same.
            self.log(log_key, LogEntry { at: now, firing, resolved, expires_at }, effects);
            return;
        }
        let sent: Vec<NotifiedAlert> = alerts
            .iter()
            .filter(|(_, a)| integration.send_resolved || !a.resolved)
            .map(|(_, a)| NotifiedAlert {
                resolved: a.resolved,
                labels: a.labels.clone(),
                annotations: a.annotations.clone(),
                starts_at: a.starts_at,
                ends_at: a.resolved.then_some(a.ends_at),
                generator_url: a.generator_url.clone(),
            })
            .collect();
        let id = format!("{:016x}", xxh3_64(format!("{log_key}|{now}").as_bytes()));
        let delivery = Delivery {
            id: id.clone(),
            integration: place,
            channel: integration.channel().to_owned(),
            notification: Notification {
                group_key: key.to_owned(),
                receiver: receiver.to_owned(),
                group_labels: labels.clone(),
                external_url: self.external_url.clone(),
                alerts: sent,
            },
            created_at: now,
            deadline: now + route.group_interval_ms.max(ATTEMPT_TIMEOUT_MS),
            attempts: 0,
            next_attempt: Some(now),
            status: DeliveryStatus::Queued,
            finished_at: None,
            error: None,
            firing: firing.into_iter().collect(),
            resolved: resolved.into_iter().collect(),
        };
        self.state.queue.insert(id, delivery);
    }

    /// Starts an attempt: the message is kept before it is sent.
    fn attempt(&mut self, id: &str, now: i64, effects: &mut Vec<Effect>) {
        let Some(delivery) = self.state.queue.get_mut(id) else { return };
        if now > delivery.deadline || delivery.attempts >= ATTEMPTS_MAX {
            let error = delivery.error.clone().unwrap_or_else(|| "no attempt could be made in time".to_owned());
            self.finish(id, DeliveryStatus::Failed, Some(error), now, effects);
            return;
        }
        let integration = self.routing.receiver(&delivery.notification.receiver).and_then(|r| r.integrations.get(delivery.integration));
        let channel = integration.and_then(|i| CHANNELS.iter().find(|c| c.name == i.channel()));
        let (Some(integration), Some(channel)) = (integration, channel) else {
            self.finish(id, DeliveryStatus::Failed, Some("its receiver is no longer configured".to_owned()), now, effects);
            return;
        };
        let mut request = (channel.render)(&delivery.notification, integration);
        request.headers.push(("X-Skopos-Delivery".to_owned(), id.to_owned()));
        delivery.attempts += 1;
        delivery.next_attempt = None;
        effects.push(Effect::Persist(Document::new(DocumentKind::Delivery, id, delivery)));
        effects.push(Effect::Send { delivery: id.to_owned(), request, timeout_ms: ATTEMPT_TIMEOUT_MS });
    }

    /// The receiver took a message.
    pub fn delivered(&mut self, id: &str, now: i64, effects: &mut Vec<Effect>) {
        let Some(delivery) = self.state.queue.get(id) else { return };
        let n = &delivery.notification;
        let (group_key, receiver) = (n.group_key.clone(), n.receiver.clone());
        let repeat = self.state.groups.get(&group_key).and_then(|g| self.routing.route.as_ref()?.by_id(&g.route)).map_or(0, |r| r.repeat_interval_ms);
        let entry = LogEntry {
            at: delivery.created_at,
            firing: delivery.firing.iter().copied().collect(),
            resolved: delivery.resolved.iter().copied().collect(),
            expires_at: delivery.created_at + 2 * repeat.max(3_600_000),
        };
        let key = log_key(&group_key, &receiver, delivery.integration);
        self.log(key, entry, effects);
        self.finish(id, DeliveryStatus::Delivered, None, now, effects);
        self.settle(&group_key, effects);
    }

    /// An attempt failed. `retry` says whether another may help; `retry_after_ms` what the receiver asked for.
    pub fn failed(&mut self, id: &str, error: &str, retry: bool, retry_after_ms: Option<i64>, now: i64, effects: &mut Vec<Effect>) {
        let seed = self.seed;
        let Some(delivery) = self.state.queue.get_mut(id) else { return };
        delivery.error = Some(error.to_owned());
        let next = now + backoff_ms(id, delivery.attempts, seed).max(retry_after_ms.unwrap_or(0));
        if !retry || next > delivery.deadline || delivery.attempts >= ATTEMPTS_MAX {
            self.finish(id, DeliveryStatus::Failed, Some(error.to_owned()), now, effects);
            return;
        }
        delivery.next_attempt = Some(next);
        effects.push(Effect::Persist(Document::new(DocumentKind::Delivery, id, delivery)));
    }

    fn log(&mut self, key: String, entry: LogEntry, effects: &mut Vec<Effect>) {
        effects.push(Effect::Persist(Document::new(DocumentKind::NotifyLog, key.as_str(), &entry)));
        self.state.log.insert(key, entry);
    }

    fn finish(&mut self, id: &str, status: DeliveryStatus, error: Option<String>, now: i64, effects: &mut Vec<Effect>) {
        let Some(mut delivery) = self.state.queue.remove(id) else { return };
        delivery.status = status;
        delivery.error = error;
        delivery.next_attempt = None;
        delivery.finished_at = Some(now);
        effects.push(Effect::Persist(Document::new(DocumentKind::Delivery, id, &delivery)));
        let n = &delivery.notification;
        let (kind, text) = match status {
            DeliveryStatus::Delivered => {
                ("delivered", format!("{} delivered to {} ({}) after {} attempt(s)", n.status(), n.receiver, delivery.channel, delivery.attempts))
            }
            _ => (
                "failed",
                format!(
                    "message to {} ({}) given up after {} attempt(s): {}",
                    n.receiver,
                    delivery.channel,
                    delivery.attempts,
                    delivery.error.as_deref().unwrap_or("")
                ),
            ),
        };
        effects.push(Effect::Journal(JournalEntry {
            at: now,
            source: "notify".to_owned(),
            kind: kind.to_owned(),
            reference: n.alerts.first().map(NotifiedAlert::fingerprint).unwrap_or_default(),
            service: n.common_labels().get("service").cloned(),
            text,
            drill: None,
        }));
        self.state.finished.push_back(delivery);
        while self.state.finished.len() > FINISHED_MAX {
            if let Some(old) = self.state.finished.pop_front() {
                effects.push(Effect::Forget { kind: DocumentKind::Delivery, key: old.id });
            }
        }
    }

    /// Drops resolved alerts that everybody concerned knows of, and the group when none is left.
    fn settle(&mut self, key: &str, effects: &mut Vec<Effect>) {
        let Some(group) = self.state.groups.get_mut(key) else { return };
        if self.state.queue.values().any(|d| d.notification.group_key == key) {
            return;
        }
        let integrations = self.routing.receiver(&group.receiver).map(|r| r.integrations.as_slice()).unwrap_or_default();
        let told = |id: &u64| {
            integrations.iter().enumerate().all(|(place, i)| {
                let entry = self.state.log.get(&log_key(key, &group.receiver, place));
                !i.send_resolved || entry.is_none_or(|e| !e.firing.contains(id))
            })
        };
        let before = group.alerts.len();
        let gone: Vec<u64> = group.alerts.iter().filter(|(id, a)| a.resolved && told(id)).map(|(id, _)| *id).collect();
        for id in &gone {
            group.alerts.remove(id);
        }
        if group.alerts.is_empty() {
            self.state.groups.remove(key);
            effects.push(Effect::Forget { kind: DocumentKind::NotifyGroup, key: key.to_owned() });
        } else if group.alerts.len() != before {
            effects.push(Effect::Persist(Document::new(DocumentKind::NotifyGroup, key, group)));
        }
    }
}

fn log_key(group: &str, receiver: &str, place: usize) -> String {
    format!("{group}|{receiver}|{place}")
}

/// Alertmanager's rule for whether a message is due.
fn needs_update(entry: Option<&LogEntry>, firing: &BTreeSet<u64>, resolved: &BTreeSet<u64>, send_resolved: bool, repeat_ms: i64, now: i64) -> bool {
    let Some(entry) = entry else { return !firing.is_empty() };
    if !firing.is_subset(&entry.firing) {
        return true;
    }
    if firing.is_empty() {
        return !entry.firing.is_empty();
    }
    if send_resolved && !resolved.is_subset(&entry.resolved) {
        return true;
    }
    entry.at < now - repeat_ms
}

#[cfg(test)]
mod tests {
    use super::super::config::{ChatConfig, NotifyConfig, ReceiverConfig, RouteConfig, WebhookConfig};
    use super::*;

    const MINUTE: i64 = 60_000;

    fn dispatcher(config: &RouteConfig, send_resolved: bool) -> Dispatcher {
        let config = NotifyConfig {
            route: Some(RouteConfig { receiver: Some("team".into()), ..config.clone() }),
            receivers: vec![ReceiverConfig {
                name: "team".into(),
                webhook_configs: vec![WebhookConfig { url: "http://hook".into(), send_resolved, ..WebhookConfig::default() }],
                chat_configs: Vec::new(),
            }],
            inhibit_rules: None,
        };
        let (routing, findings) = config.compile("f");
        assert!(findings.is_empty(), "{findings:?}");
        let mut dispatcher = Dispatcher::new("http://skopos", 1);
        dispatcher.set_routing(routing, 0, &mut Vec::new());
        dispatcher
    }

    fn update(name: &str, at: i64, resolved: bool) -> AlertUpdate {
        AlertUpdate {
            labels: Labels::new([("alertname", "X"), ("instance", name)]),
            annotations: BTreeMap::new(),
            starts_at: 0,
            ends_at: at,
            resolved,
            generator_url: String::new(),
        }
    }

    /// Runs until `end`, feeding news at their time; answers every message with `answer`. Returns when what was sent.
    fn run(dispatcher: &mut Dispatcher, mut news: Vec<(i64, AlertUpdate)>, end: i64, answer: &dyn Fn(i64) -> bool) -> Vec<(i64, String)> {
        let mut sent = Vec::new();
        news.sort_by_key(|(at, _)| *at);
        let mut news = news.into_iter().peekable();
        loop {
            let next_news = news.peek().map(|(at, _)| *at);
            let Some(now) = next_news.into_iter().chain(dispatcher.next_wakeup()).min().filter(|at| *at <= end) else { return sent };
            let mut effects = Vec::new();
            while let Some((_, update)) = news.next_if(|(at, _)| *at <= now) {
                dispatcher.ingest(&update, now, &mut effects);
            }
            dispatcher.tick(now, &mut effects);
            let mut kept: BTreeSet<String> = BTreeSet::new();
            let mut answers = Vec::new();
            for effect in &effects {
                match effect {
                    Effect::Persist(d) if d.kind == DocumentKind::Delivery => {
                        kept.insert(d.key.clone());
                    }
                    Effect::Send { delivery, request, .. } => {
                        assert!(kept.contains(delivery), "persisted before it is sent");
                        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
                        let alerts: Vec<String> = body["alerts"]
                            .as_array()
                            .unwrap()
                            .iter()
                            .map(|a| format!("{}{}", a["labels"]["instance"].as_str().unwrap(), if a["status"] == "resolved" { "-" } else { "" }))
                            .collect();
                        sent.push((now, alerts.join(",")));
                        answers.push(delivery.clone());
                    }
                    _ => {}
                }
            }
            for id in answers {
                if answer(now) {
                    dispatcher.delivered(&id, now, &mut Vec::new());
                } else {
                    dispatcher.failed(&id, "503", true, None, now, &mut Vec::new());
                }
            }
        }
    }

    /// TV: A fires at 0, B at 60 s, A resolves at 6 min.
    #[test]
    fn timeline() {
        let mut d = dispatcher(&RouteConfig::default(), true);
        let news = vec![(0, update("A", 0, false)), (MINUTE, update("B", 0, false)), (6 * MINUTE, update("A", 6 * MINUTE, true))];
        let sent = run(&mut d, news, 5 * 60 * MINUTE, &|_| true);
        let expected = [(30_000, "A"), (330_000, "A,B"), (630_000, "B,A-"), (4 * 60 * MINUTE + 15 * MINUTE + 30_000, "B")];
        // Order within a message: firing first, then by start and identity.
        let normal: Vec<(i64, String)> = sent
            .into_iter()
            .map(|(at, text)| {
                let mut parts: Vec<&str> = text.split(',').collect();
                parts.sort_by_key(|p| (p.ends_with('-'), *p));
                (at, parts.join(","))
            })
            .collect();
        assert_eq!(normal, expected.map(|(at, text)| (at, text.to_owned())));
    }

    #[test]
    fn old_alert_is_sent_at_once_and_all_resolved_ends_the_group() {
        let mut d = dispatcher(&RouteConfig::default(), true);
        let news = vec![(10 * MINUTE, update("A", 0, false)), (11 * MINUTE, update("A", 11 * MINUTE, true))];
        let sent = run(&mut d, news, 60 * MINUTE, &|_| true);
        assert_eq!(sent, [(10 * MINUTE, "A".to_owned()), (15 * MINUTE, "A-".to_owned())]);
        assert!(d.state().groups.is_empty());
        assert_eq!(d.next_wakeup(), None);
    }

    #[test]
    fn resolved_before_the_first_flush_is_never_sent() {
        let mut d = dispatcher(&RouteConfig::default(), true);
        let news = vec![(0, update("A", 0, false)), (10_000, update("A", 10_000, true))];
        assert!(run(&mut d, news, 60 * MINUTE, &|_| true).is_empty());
        assert!(d.state().groups.is_empty());
    }

    #[test]
    fn without_send_resolved_the_next_firing_is_news() {
        let mut d = dispatcher(&RouteConfig::default(), false);
        let mut again = update("A", 0, false);
        again.starts_at = 20 * MINUTE;
        let news = vec![(0, update("A", 0, false)), (MINUTE, update("A", MINUTE, true)), (20 * MINUTE, again)];
        let sent = run(&mut d, news, 60 * MINUTE, &|_| true);
        assert_eq!(sent, [(30_000, "A".to_owned()), (20 * MINUTE + 30_000, "A".to_owned())]);
    }

    #[test]
    fn retried_with_growing_delays_then_the_next_flush_tries_anew() {
        let mut d = dispatcher(&RouteConfig::default(), true);
        let sent = run(&mut d, vec![(0, update("A", 0, false))], 11 * MINUTE, &|now| now > 8 * MINUTE);
        let before: Vec<i64> = sent.iter().map(|(at, _)| *at).filter(|at| *at < 330_000).collect();
        assert!(before.len() >= 5 && before.len() < 25, "{before:?}");
        assert!(sent.last().is_some_and(|(at, _)| *at > 8 * MINUTE), "delivered in the end: {sent:?}");
        assert_eq!(sent.iter().filter(|(at, _)| *at > 8 * MINUTE).count(), 1);
        assert!(d.state().finished.iter().any(|d| d.status == DeliveryStatus::Failed));
    }

    #[test]
    fn a_restart_sends_what_was_on_its_way_again() {
        let mut d = dispatcher(&RouteConfig::default(), true);
        let mut effects = Vec::new();
        d.ingest(&update("A", 0, false), 0, &mut effects);
        d.tick(30_000, &mut effects);
        let mut store: BTreeMap<(DocumentKind, String), Document> = BTreeMap::new();
        for effect in effects {
            match effect {
                Effect::Persist(d) => {
                    store.insert((d.kind, d.key.clone()), d);
                }
                Effect::Forget { kind, key } => {
                    store.remove(&(kind, key));
                }
                _ => {}
            }
        }
        let mut again = Dispatcher::new("http://skopos", 1);
        for document in store.values() {
            again.restore(document, 40_000).unwrap();
        }
        again.set_routing((*dispatcher(&RouteConfig::default(), true).routing).clone(), 40_000, &mut Vec::new());
        let mut effects = Vec::new();
        again.tick(40_000, &mut effects);
        let id = effects.iter().find_map(|e| if let Effect::Send { delivery, .. } = e { Some(delivery.clone()) } else { None }).expect("sent again");
        again.delivered(&id, 40_100, &mut Vec::new());
        assert!(run(&mut again, Vec::new(), 4 * 60 * MINUTE, &|_| true).is_empty(), "and not a third time");
    }

    #[test]
    fn a_page_silences_its_tickets() {
        let mut d = dispatcher(&RouteConfig { group_by: Some(vec!["...".into()]), ..RouteConfig::default() }, true);
        let slo = |severity: &str, at: i64, resolved: bool| AlertUpdate {
            labels: Labels::new([("instance", severity), ("severity", severity), ("slo", "s")]),
            ..update("", at, resolved)
        };
        let news = vec![(0, slo("page", 0, false)), (1_000, slo("ticket", 0, false)), (7 * MINUTE, slo("page", 7 * MINUTE, true))];
        let sent: Vec<String> = run(&mut d, news, 30 * MINUTE, &|_| true).into_iter().map(|(_, s)| s).collect();
        assert_eq!(sent, ["page", "page-", "ticket"]);
    }

    #[test]
    fn receivers_may_have_several_channels() {
        let config = NotifyConfig {
            route: Some(RouteConfig { receiver: Some("team".into()), ..RouteConfig::default() }),
            receivers: vec![ReceiverConfig {
                name: "team".into(),
                webhook_configs: vec![WebhookConfig { url: "http://hook".into(), ..WebhookConfig::default() }],
                chat_configs: vec![ChatConfig { url: "http://chat".into(), ..ChatConfig::default() }],
            }],
            inhibit_rules: None,
        };
        let mut d = Dispatcher::new("", 1);
        d.set_routing(config.compile("f").0, 0, &mut Vec::new());
        let mut effects = Vec::new();
        d.ingest(&update("A", 0, false), 0, &mut effects);
        d.tick(30_000, &mut effects);
        let mut urls: Vec<String> =
            effects.iter().filter_map(|e| if let Effect::Send { request, .. } = e { Some(request.url.clone()) } else { None }).collect();
        urls.sort();
        assert_eq!(urls, ["http://chat", "http://hook"]);
    }
}
