//! Routes and receivers as the configuration file spells them: Alertmanager's names.

use serde::{Deserialize, Serialize};

use super::inhibit::InhibitRule;
use super::matcher::parse_matchers;
use super::route::{GroupBy, Integration, IntegrationKind, Receiver, Route, Routing};
use crate::config_error::{Finding, FindingSeverity, Findings, nearest_name};
use crate::duration::parse_duration;

/// Section `notify` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NotifyConfig {
    /// Where alerts go; without one they are shown and not sent.
    pub route: Option<RouteConfig>,
    /// Who gets them.
    pub receivers: Vec<ReceiverConfig>,
    /// Which alerts silence others. None for the default: a page silences the tickets of its SLO.
    pub inhibit_rules: Option<Vec<InhibitConfig>>,
}

/// A node of the route tree.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteConfig {
    /// Name of the receiver; inherited.
    pub receiver: Option<String>,
    /// All have to match, as `severity="page"`.
    pub matchers: Vec<String>,
    /// Labels that make a group; `...` for all; inherited. Default: alertname, service, slo.
    pub group_by: Option<Vec<String>>,
    /// How long a new group waits for more, default 30s; inherited.
    pub group_wait: Option<String>,
    /// How long until news of a group is sent, default 5m; inherited.
    pub group_interval: Option<String>,
    /// How long until an unchanged group is sent again, default 4h; inherited.
    pub repeat_interval: Option<String>,
    /// Whether siblings after this one are tried too.
    #[serde(rename = "continue")]
    pub continue_: bool,
    /// Children: the first that matches takes the alert.
    pub routes: Vec<RouteConfig>,
}

/// A receiver and its channels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReceiverConfig {
    /// Name routes refer to.
    pub name: String,
    /// Webhooks (Alertmanager's v4 JSON).
    pub webhook_configs: Vec<WebhookConfig>,
    /// Chat webhooks (Slack-compatible JSON).
    pub chat_configs: Vec<ChatConfig>,
}

/// A webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookConfig {
    /// Where to POST.
    pub url: String,
    /// Whether resolutions are sent.
    pub send_resolved: bool,
    /// Most alerts in one message, 0 for no limit.
    pub max_alerts: usize,
    /// Key of the `X-Skopos-Signature` header (HMAC-SHA256 of the body).
    pub hmac_secret: Option<String>,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self { url: String::new(), send_resolved: true, max_alerts: 0, hmac_secret: None }
    }
}

/// A chat webhook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatConfig {
    /// Where to POST.
    pub url: String,
    /// Whether resolutions are sent.
    pub send_resolved: bool,
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self { url: String::new(), send_resolved: true }
    }
}

/// An inhibition.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InhibitConfig {
    /// Matchers of the alerts that silence.
    pub source_matchers: Vec<String>,
    /// Matchers of the alerts that are silenced.
    pub target_matchers: Vec<String>,
    /// Labels both must have alike; a missing label is empty.
    pub equal: Vec<String>,
}

/// Timers of Alertmanager: group_wait, group_interval, repeat_interval, milliseconds.
const TIMERS: [i64; 3] = [30_000, 300_000, 4 * 3_600_000];
/// Deepest route tree.
const DEPTH_MAX: usize = 16;

impl NotifyConfig {
    /// Checks the section and makes it usable. `file` names the configuration in findings. Parts with an error are
    /// left out; compare severities to decide whether to take it.
    pub fn compile(&self, file: &str) -> (Routing, Vec<Finding>) {
        let mut out = Findings::new(file);
        let mut receivers: Vec<Receiver> = Vec::new();
        for (i, config) in self.receivers.iter().enumerate() {
            let key = format!("notify.receivers[{i}]");
            if config.name.is_empty() {
                error(&mut out, &format!("{key}.name"), "a receiver needs a name", None);
            } else if receivers.iter().any(|r| r.name == config.name) {
                error(&mut out, &format!("{key}.name"), &format!("receiver `{}` stands twice", config.name), None);
            } else {
                receivers.push(receiver(config, &key, &mut out));
            }
        }
        let route = self.route.as_ref().and_then(|config| {
            if !config.matchers.is_empty() {
                error(&mut out, "notify.route.matchers", "the top route takes every alert and has no matchers", None);
            }
            if config.receiver.is_none() {
                error(&mut out, "notify.route.receiver", "the top route needs a receiver", None);
            }
            let top = Inherited {
                receiver: String::new(),
                group_by: GroupBy::Labels(vec!["alertname".into(), "service".into(), "slo".into()]),
                timers: TIMERS,
            };
            node(config, "notify.route", "", &top, &receivers, 0, &mut out)
        });
        let inhibit = match &self.inhibit_rules {
            None => vec![InhibitRule::page_over_ticket()],
            Some(rules) => rules
                .iter()
                .enumerate()
                .filter_map(|(i, rule)| {
                    let key = format!("notify.inhibit_rules[{i}]");
                    let source = matchers(&rule.source_matchers, &format!("{key}.source_matchers"), &mut out)?;
                    let target = matchers(&rule.target_matchers, &format!("{key}.target_matchers"), &mut out)?;
                    Some(InhibitRule { source, target, equal: rule.equal.clone() })
                })
                .collect(),
        };
        (Routing { route, receivers, inhibit }, out.into_list())
    }
}

fn error(out: &mut Findings, key: &str, message: &str, nearest: Option<String>) {
    out.push(FindingSeverity::Error, None, key, message, nearest);
}

fn matchers(texts: &[String], key: &str, out: &mut Findings) -> Option<Vec<skopos_query::metrics::Matcher>> {
    let mut all = Vec::new();
    for text in texts {
        match parse_matchers(text) {
            Ok(found) => all.extend(found),
            Err(message) => {
                error(out, key, &message, None);
                return None;
            }
        }
    }
    Some(all)
}

fn receiver(config: &ReceiverConfig, key: &str, out: &mut Findings) -> Receiver {
    let mut integrations = Vec::new();
    let mut add = |url: &str, path: String, send_resolved: bool, kind: IntegrationKind| {
        if url.starts_with("http://") || url.starts_with("https://") {
            integrations.push(Integration { url: url.to_owned(), send_resolved, kind });
        } else {
            error(out, &path, &format!("`{url}` is no http or https address"), None);
        }
    };
    for (i, w) in config.webhook_configs.iter().enumerate() {
        let kind = IntegrationKind::Webhook { max_alerts: w.max_alerts, hmac_secret: w.hmac_secret.clone() };
        add(&w.url, format!("{key}.webhook_configs[{i}].url"), w.send_resolved, kind);
    }
    for (i, c) in config.chat_configs.iter().enumerate() {
        add(&c.url, format!("{key}.chat_configs[{i}].url"), c.send_resolved, IntegrationKind::Chat);
    }
    Receiver { name: config.name.clone(), integrations }
}

#[derive(Clone)]
struct Inherited {
    receiver: String,
    group_by: GroupBy,
    timers: [i64; 3],
}

fn node(config: &RouteConfig, key: &str, parent: &str, above: &Inherited, receivers: &[Receiver], depth: usize, out: &mut Findings) -> Option<Route> {
    if depth > DEPTH_MAX {
        error(out, key, &format!("routes are nested deeper than {DEPTH_MAX}"), None);
        return None;
    }
    let mut own = above.clone();
    if let Some(name) = &config.receiver {
        if !receivers.iter().any(|r| r.name == *name) {
            let nearest = nearest_name(name, receivers.iter().map(|r| r.name.as_str()));
            error(out, &format!("{key}.receiver"), &format!("there is no receiver `{name}`"), nearest);
        }
        own.receiver.clone_from(name);
    }
    if let Some(labels) = &config.group_by {
        own.group_by = if labels.iter().any(|l| l == "...") { GroupBy::All } else { GroupBy::Labels(labels.clone()) };
    }
    for (i, (name, text)) in
        [("group_wait", &config.group_wait), ("group_interval", &config.group_interval), ("repeat_interval", &config.repeat_interval)]
            .into_iter()
            .enumerate()
    {
        match text.as_deref().map(parse_duration) {
            None => {}
            Some(Ok(ms)) if ms > 0 || i == 0 => own.timers[i] = ms,
            Some(Ok(_)) => error(out, &format!("{key}.{name}"), "has to be above 0", None),
            Some(Err(message)) => error(out, &format!("{key}.{name}"), &message, None),
        }
    }
    let found = matchers(&config.matchers, &format!("{key}.matchers"), out)?;
    let printed: Vec<String> = found
        .iter()
        .map(|m| {
            let op = match m.op {
                skopos_query::metrics::MatchOp::Equal => "=",
                skopos_query::metrics::MatchOp::NotEqual => "!=",
                skopos_query::metrics::MatchOp::Regex => "=~",
                skopos_query::metrics::MatchOp::NotRegex => "!~",
            };
            format!("{}{op}{:?}", m.name, m.value)
        })
        .collect();
    let id = if depth == 0 { "{}".to_owned() } else { format!("{parent}/{{{}}}", printed.join(",")) };
    let routes = config
        .routes
        .iter()
        .enumerate()
        .filter_map(|(i, child)| node(child, &format!("{key}.routes[{i}]"), &id, &own, receivers, depth + 1, out))
        .collect();
    Some(Route {
        id,
        receiver: own.receiver,
        matchers: found,
        group_by: own.group_by,
        group_wait_ms: own.timers[0],
        group_interval_ms: own.timers[1],
        repeat_interval_ms: own.timers[2],
        continues: config.continue_,
        routes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named() {
        let config = NotifyConfig {
            route: Some(RouteConfig {
                receiver: Some("temas".into()),
                group_wait: Some("1 s".into()),
                routes: vec![RouteConfig { matchers: vec!["x".into()], ..RouteConfig::default() }],
                ..RouteConfig::default()
            }),
            receivers: vec![ReceiverConfig {
                name: "teams".into(),
                webhook_configs: vec![WebhookConfig { url: "ftp://x".into(), ..WebhookConfig::default() }],
                ..ReceiverConfig::default()
            }],
            ..NotifyConfig::default()
        };
        let (routing, findings) = config.compile("skopos.yaml");
        let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "skopos.yaml: error: notify.receivers[0].webhook_configs[0].url: `ftp://x` is no http or https address",
                "skopos.yaml: error: notify.route.receiver: there is no receiver `temas` (did you mean `teams`?)",
                "skopos.yaml: error: notify.route.group_wait: `1 s` is no duration: expected numbers with the units y, w, d, h, m, s, ms in this order, as `1h30m`",
                "skopos.yaml: error: notify.route.routes[0].matchers: `x`: one of =, !=, =~, !~ was expected after `x`",
            ]
        );
        assert!(routing.route.is_some_and(|r| r.routes.is_empty()));
        let yaml = "route: {receiver: a, continue: true}\nreceivers: [{name: a, chat_configs: [{url: 'http://x'}]}]\n";
        let parsed: NotifyConfig = serde_saphyr::from_str(yaml).unwrap();
        assert!(parsed.compile("f").1.is_empty());
        assert!(serde_saphyr::from_str::<NotifyConfig>("rout: {}").is_err());
    }
}
