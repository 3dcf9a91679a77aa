//! Chat webhooks: JSON that Slack and its like take.

use serde_json::{Value, json};

use super::Outbound;
use super::render::{Notification, NotifiedAlert, truncate};
use super::route::Integration;

/// Longest title, characters.
const TITLE_MAX: usize = 1_024;
/// Longest text of one alert, characters.
const TEXT_MAX: usize = 3_000;
/// Most alerts shown one by one.
const ALERTS_MAX: usize = 10;

pub(super) fn render(n: &Notification, integration: &Integration) -> Outbound {
    let firing = n.alerts.iter().filter(|a| !a.resolved).count();
    let first = n.alerts.first();
    let name =
        n.common_labels().get("alertname").cloned().or_else(|| first.and_then(|a| a.labels.get("alertname")).map(str::to_owned)).unwrap_or_default();
    let service = n.common_labels().get("service").map(|s| format!(" · {s}")).unwrap_or_default();
    let state = if firing > 0 { format!("FIRING:{firing}") } else { "RESOLVED".to_owned() };
    let drill = if n.alerts.iter().any(NotifiedAlert::is_drill) { "[DRILL] " } else { "" };
    let title = truncate(&format!("{drill}[{state}] {name}{service}"), TITLE_MAX);
    let mut attachments: Vec<Value> = n.alerts.iter().take(ALERTS_MAX).map(|a| attachment(a, &title, &n.external_url)).collect();
    if n.alerts.len() > ALERTS_MAX {
        let more = n.alerts.len() - ALERTS_MAX;
        attachments.push(
            json!({ "color": "#888888", "fallback": format!("{more} more alerts"), "text": format!("… and {more} more: {}/alerts", n.external_url) }),
        );
    }
    let body = json!({ "text": escape(&title), "attachments": attachments }).to_string();
    Outbound { url: integration.url.clone(), headers: vec![("Content-Type".to_owned(), "application/json".to_owned())], body }
}

fn attachment(alert: &NotifiedAlert, title: &str, external_url: &str) -> Value {
    let annotations = alert.sent_annotations();
    let text = |name: &str| annotations.get(name).filter(|t| !t.is_empty());
    let color = match (alert.resolved, alert.labels.get("severity")) {
        (true, _) => "#2e7d32",
        (false, Some("page" | "critical")) => "#c62828",
        (false, _) => "#ef6c00",
    };
    let mut lines: Vec<String> = Vec::new();
    if let Some(summary) = text("summary") {
        lines.push(format!("*{}*", escape(summary)));
    }
    if let Some(description) = text("description") {
        lines.push(escape(description));
    }
    if let Some(impact) = text("impact") {
        lines.push(format!("Impact: {}", escape(impact)));
    }
    // A path is one of this server's, as of a panel's picture.
    let image = text("image_url").and_then(|url| match url.as_str() {
        path if path.starts_with('/') && !path.starts_with("//") && !external_url.is_empty() => Some(format!("{external_url}{path}")),
        url if url.starts_with("http://") || url.starts_with("https://") => Some(url.to_owned()),
        _ => None,
    });
    let mut links: Vec<String> = Vec::new();
    if let Some(url) = text("runbook_url").filter(|u| u.starts_with("http")) {
        links.push(format!("<{url}|Runbook>"));
    }
    links.push(format!("<{}|Condition>", alert.generator_url));
    let links = links.join(" · ");
    // The links come last and have to survive the cut.
    let room = TEXT_MAX.saturating_sub(links.chars().count() + 1);
    let text = format!("{}\n{links}", truncate(&lines.join("\n"), room));
    let fields: Vec<Value> = ["severity", "service", "slo", "long_window"]
        .iter()
        .filter_map(|name| Some(json!({ "title": name, "value": escape(alert.labels.get(name)?), "short": true })))
        .collect();
    let mut attachment = json!({ "color": color, "fallback": title, "text": text, "fields": fields, "mrkdwn_in": ["text"], "ts": alert.ends_at.unwrap_or(alert.starts_at) / 1000 });
    if let Some(url) = image {
        attachment["image_url"] = json!(url);
    }
    attachment
}

/// The three characters chat markup gives a meaning to.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::render::tests::notification;
    use super::super::route::IntegrationKind;
    use super::*;
    use expect_test::{Expect, expect};

    fn body(n: &Notification) -> Value {
        let integration = Integration { url: "http://chat".into(), send_resolved: true, kind: IntegrationKind::Chat };
        serde_json::from_str(&render(n, &integration).body).unwrap()
    }

    #[test]
    fn a_picture_is_shown_where_a_rule_names_one() {
        let image = |url: &str| {
            let mut n = notification(&[false], false);
            n.alerts[0].annotations.insert("image_url".to_owned(), url.to_owned());
            body(&n)["attachments"][0]["image_url"].as_str().map(str::to_owned)
        };
        let panel = "/v1/dashboards/shop/panels/errors.png?from=-1h";
        assert_eq!(image(panel).as_deref(), Some("http://skopos/v1/dashboards/shop/panels/errors.png?from=-1h"));
        assert_eq!(image("https://example.org/a.png").as_deref(), Some("https://example.org/a.png"));
        for none in ["", "//example.org/a.png", "javascript:alert(1)", "a.png"] {
            assert_eq!(image(none), None, "{none}");
        }
    }

    fn check(states: &[bool], drill: bool, expected: Expect) {
        expected.assert_eq(&serde_json::to_string_pretty(&body(&notification(states, drill))).unwrap());
    }

    #[test]
    fn firing() {
        check(
            &[false],
            false,
            expect![[r##"
            {
              "text": "[FIRING:1] Burn · orders",
              "attachments": [
                {
                  "color": "#c62828",
                  "fallback": "[FIRING:1] Burn · orders",
                  "text": "*Orders burns*\nImpact: No orders\n<http://skopos/runbooks/orders-burn|Runbook> · <http://skopos/explore/metrics?q=up|Condition>",
                  "fields": [
                    {
                      "title": "severity",
                      "value": "page",
                      "short": true
                    },
                    {
                      "title": "service",
                      "value": "orders",
                      "short": true
                    }
                  ],
                  "mrkdwn_in": [
                    "text"
                  ],
                  "ts": 1600000000
                }
              ]
            }"##]],
        );
    }

    #[test]
    fn grouped_drill_and_resolved() {
        check(
            &[false, true],
            true,
            expect![[r##"
            {
              "text": "[DRILL] [FIRING:1] Burn · orders",
              "attachments": [
                {
                  "color": "#c62828",
                  "fallback": "[DRILL] [FIRING:1] Burn · orders",
                  "text": "*[DRILL] Orders burns*\nImpact: No orders\n<http://skopos/runbooks/orders-burn|Runbook> · <http://skopos/explore/metrics?q=up|Condition>",
                  "fields": [
                    {
                      "title": "severity",
                      "value": "page",
                      "short": true
                    },
                    {
                      "title": "service",
                      "value": "orders",
                      "short": true
                    }
                  ],
                  "mrkdwn_in": [
                    "text"
                  ],
                  "ts": 1600000000
                },
                {
                  "color": "#2e7d32",
                  "fallback": "[DRILL] [FIRING:1] Burn · orders",
                  "text": "*[DRILL] Orders burns*\nImpact: No orders\n<http://skopos/runbooks/orders-burn|Runbook> · <http://skopos/explore/metrics?q=up|Condition>",
                  "fields": [
                    {
                      "title": "severity",
                      "value": "page",
                      "short": true
                    },
                    {
                      "title": "service",
                      "value": "orders",
                      "short": true
                    }
                  ],
                  "mrkdwn_in": [
                    "text"
                  ],
                  "ts": 1600000600
                }
              ]
            }"##]],
        );
        check(
            &[true],
            false,
            expect![[r##"
            {
              "text": "[RESOLVED] Burn · orders",
              "attachments": [
                {
                  "color": "#2e7d32",
                  "fallback": "[RESOLVED] Burn · orders",
                  "text": "*Orders burns*\nImpact: No orders\n<http://skopos/runbooks/orders-burn|Runbook> · <http://skopos/explore/metrics?q=up|Condition>",
                  "fields": [
                    {
                      "title": "severity",
                      "value": "page",
                      "short": true
                    },
                    {
                      "title": "service",
                      "value": "orders",
                      "short": true
                    }
                  ],
                  "mrkdwn_in": [
                    "text"
                  ],
                  "ts": 1600000600
                }
              ]
            }"##]],
        );
    }

    #[test]
    fn oversized_keeps_its_links() {
        let mut n = notification(&[false; 14], false);
        n.alerts[0].annotations.insert("description".into(), "ü<".repeat(5_000));
        let value = body(&n);
        assert_eq!(value["attachments"].as_array().unwrap().len(), 11);
        let text = value["attachments"][0]["text"].as_str().unwrap();
        assert!(text.chars().count() <= TEXT_MAX);
        assert!(text.ends_with("<http://skopos/runbooks/orders-burn|Runbook> · <http://skopos/explore/metrics?q=up|Condition>"));
        assert!(value["attachments"][10]["text"].as_str().unwrap().starts_with("… and 4 more"));
    }
}
