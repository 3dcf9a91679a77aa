//! The route tree, compiled.

use skopos_model::Labels;
use skopos_query::metrics::Matcher;

use super::inhibit::InhibitRule;

/// What makes a group.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupBy {
    /// Alerts alike in these labels.
    Labels(Vec<String>),
    /// Each alert by itself.
    All,
}

/// A node of the tree. Timers in milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Matchers on the way from the top: the first part of group keys.
    pub id: String,
    /// Who gets what arrives here.
    pub receiver: String,
    /// All have to match.
    pub matchers: Vec<Matcher>,
    /// What makes a group.
    pub group_by: GroupBy,
    /// How long a new group waits for more.
    pub group_wait_ms: i64,
    /// How long until news of a group is sent.
    pub group_interval_ms: i64,
    /// How long until an unchanged group is sent again.
    pub repeat_interval_ms: i64,
    /// Whether siblings after this one are tried too.
    pub continues: bool,
    /// Children.
    pub routes: Vec<Route>,
}

impl Route {
    /// The nodes that take an alert: the first match in depth; siblings only after one that continues; the node
    /// itself when no child takes it.
    pub fn find<'r>(&'r self, labels: &Labels) -> Vec<&'r Self> {
        if !self.matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or(""))) {
            return Vec::new();
        }
        let mut all = Vec::new();
        for child in &self.routes {
            let found = child.find(labels);
            let matched = !found.is_empty();
            all.extend(found);
            if matched && !child.continues {
                break;
            }
        }
        if all.is_empty() {
            all.push(self);
        }
        all
    }

    /// Labels that name the group of an alert.
    pub fn group_labels(&self, labels: &Labels) -> Labels {
        match &self.group_by {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(names) => names.iter().filter_map(|n| Some((n.as_str(), labels.get(n)?))).collect(),
        }
    }

    /// The node with an id.
    pub fn by_id(&self, id: &str) -> Option<&Self> {
        if self.id == id { Some(self) } else { self.routes.iter().find_map(|r| r.by_id(id)) }
    }
}

/// One way a receiver is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Integration {
    /// Where to POST.
    pub url: String,
    /// Whether resolutions are sent.
    pub send_resolved: bool,
    /// Channel and its options.
    pub kind: IntegrationKind,
}

/// Channel of an integration.
#[derive(Debug, Clone, PartialEq)]
pub enum IntegrationKind {
    /// Alertmanager's v4 JSON.
    Webhook {
        /// Most alerts in a message, 0 for no limit.
        max_alerts: usize,
        /// Key of the signature.
        hmac_secret: Option<String>,
    },
    /// Slack-compatible JSON.
    Chat,
}

impl Integration {
    /// Name of the channel, as in [`super::CHANNELS`].
    pub fn channel(&self) -> &'static str {
        match self.kind {
            IntegrationKind::Webhook { .. } => "webhook",
            IntegrationKind::Chat => "chat",
        }
    }
}

/// A receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Receiver {
    /// Name.
    pub name: String,
    /// In the order of the configuration: their places are part of the deduplication key.
    pub integrations: Vec<Integration>,
}

/// Routes, receivers and inhibitions in force.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Routing {
    /// The top; none when nothing is sent.
    pub route: Option<Route>,
    /// Receivers.
    pub receivers: Vec<Receiver>,
    /// Inhibitions.
    pub inhibit: Vec<InhibitRule>,
}

impl Routing {
    /// The receiver of a name.
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.receivers.iter().find(|r| r.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::{NotifyConfig, ReceiverConfig, RouteConfig};
    use super::*;

    #[test]
    fn first_match_in_depth() {
        let leaf =
            |matcher: &str, receiver: &str| RouteConfig { matchers: vec![matcher.into()], receiver: Some(receiver.into()), ..RouteConfig::default() };
        let config = NotifyConfig {
            route: Some(RouteConfig {
                receiver: Some("top".into()),
                routes: vec![
                    RouteConfig { routes: vec![leaf("severity=page", "orders-page")], ..leaf("service=orders", "orders") },
                    RouteConfig { continue_: true, ..leaf("severity=page", "pages") },
                    leaf("severity=~page|ticket", "tickets"),
                ],
                ..RouteConfig::default()
            }),
            receivers: ["top", "orders", "orders-page", "pages", "tickets"]
                .map(|n| ReceiverConfig { name: n.into(), ..ReceiverConfig::default() })
                .into(),
            ..NotifyConfig::default()
        };
        let (routing, findings) = config.compile("f");
        assert!(findings.is_empty(), "{findings:?}");
        let top = routing.route.unwrap();
        for (labels, receivers) in [
            (vec![("service", "orders")], vec!["orders"]),
            (vec![("service", "orders"), ("severity", "page")], vec!["orders-page"]),
            (vec![("severity", "page")], vec!["pages", "tickets"]),
            (vec![("severity", "info")], vec!["top"]),
        ] {
            let found: Vec<&str> = top.find(&Labels::new(labels.clone())).iter().map(|r| r.receiver.as_str()).collect();
            assert_eq!(found, receivers, "{labels:?}");
        }
        assert_eq!(top.find(&Labels::new([("severity", "page")]))[0].id, r#"{}/{severity="page"}"#);
    }
}
