//! Alertmanager's webhook, version 4 of its JSON.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use super::Outbound;
use super::render::{Notification, rfc3339};
use super::route::{Integration, IntegrationKind};

/// Largest body, bytes: over it the last alerts are left out and counted.
pub const WEBHOOK_BYTES_MAX: usize = 512 << 10;

pub(super) fn render(notification: &Notification, integration: &Integration) -> Outbound {
    let (max_alerts, secret) = match &integration.kind {
        IntegrationKind::Webhook { max_alerts, hmac_secret } => (*max_alerts, hmac_secret.as_deref()),
        IntegrationKind::Chat => (0, None),
    };
    let all = notification.alerts.len();
    let mut kept = if max_alerts == 0 { all } else { all.min(max_alerts) };
    let mut body = body(notification, kept);
    while body.len() > WEBHOOK_BYTES_MAX && kept > 1 {
        kept = (kept * WEBHOOK_BYTES_MAX / body.len()).clamp(1, kept - 1);
        body = self::body(notification, kept);
    }
    let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    if let Some(secret) = secret {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(body.as_bytes());
        let digest = mac.finalize().into_bytes();
        let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
        headers.push(("X-Skopos-Signature".to_owned(), format!("sha256={hex}")));
    }
    Outbound { url: integration.url.clone(), headers, body }
}

fn body(n: &Notification, kept: usize) -> String {
    let map = |pairs: &mut dyn Iterator<Item = (String, String)>| pairs.map(|(k, v)| (k, Value::String(v))).collect::<Map<_, _>>();
    let alerts: Vec<Value> = n.alerts[..kept]
        .iter()
        .map(|a| {
            json!({
                "status": if a.resolved { "resolved" } else { "firing" },
                "labels": map(&mut a.labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned()))),
                "annotations": map(&mut a.sent_annotations().into_iter()),
                "startsAt": rfc3339(Some(a.starts_at)),
                "endsAt": rfc3339(a.ends_at),
                "generatorURL": a.generator_url,
                "fingerprint": a.fingerprint(),
            })
        })
        .collect();
    json!({
        "receiver": n.receiver,
        "status": n.status(),
        "alerts": alerts,
        "groupLabels": map(&mut n.group_labels.iter().map(|(k, v)| (k.to_owned(), v.to_owned()))),
        "commonLabels": map(&mut n.common_labels().into_iter()),
        "commonAnnotations": map(&mut n.common_annotations().into_iter()),
        "externalURL": n.external_url,
        "version": "4",
        "groupKey": n.group_key,
        "truncatedAlerts": n.alerts.len() - kept,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::super::render::tests::notification;
    use super::*;
    use expect_test::{Expect, expect};

    fn integration(max_alerts: usize, secret: Option<&str>) -> Integration {
        Integration {
            url: "http://hook".into(),
            send_resolved: true,
            kind: IntegrationKind::Webhook { max_alerts, hmac_secret: secret.map(str::to_owned) },
        }
    }

    fn check(states: &[bool], drill: bool, expected: Expect) {
        let out = render(&notification(states, drill), &integration(0, None));
        let value: Value = serde_json::from_str(&out.body).unwrap();
        expected.assert_eq(&serde_json::to_string_pretty(&value).unwrap());
    }

    #[test]
    fn firing() {
        check(
            &[false],
            false,
            expect![[r#"
            {
              "receiver": "team",
              "status": "firing",
              "alerts": [
                {
                  "status": "firing",
                  "labels": {
                    "alertname": "Burn",
                    "instance": "a",
                    "service": "orders",
                    "severity": "page"
                  },
                  "annotations": {
                    "impact": "No orders",
                    "runbook_url": "http://skopos/runbooks/orders-burn",
                    "summary": "Orders burns"
                  },
                  "startsAt": "2020-09-13T12:26:40Z",
                  "endsAt": "0001-01-01T00:00:00Z",
                  "generatorURL": "http://skopos/explore/metrics?q=up",
                  "fingerprint": "77b2d8e08d99f4a5"
                }
              ],
              "groupLabels": {
                "service": "orders"
              },
              "commonLabels": {
                "alertname": "Burn",
                "instance": "a",
                "service": "orders",
                "severity": "page"
              },
              "commonAnnotations": {
                "impact": "No orders",
                "runbook_url": "http://skopos/runbooks/orders-burn",
                "summary": "Orders burns"
              },
              "externalURL": "http://skopos",
              "version": "4",
              "groupKey": "{}:{service=\"orders\"}",
              "truncatedAlerts": 0
            }"#]],
        );
    }

    #[test]
    fn grouped_with_one_resolved_in_a_drill() {
        check(
            &[false, true],
            true,
            expect![[r#"
            {
              "receiver": "team",
              "status": "firing",
              "alerts": [
                {
                  "status": "firing",
                  "labels": {
                    "alertname": "Burn",
                    "instance": "a",
                    "obs_drill": "d1",
                    "service": "orders",
                    "severity": "page"
                  },
                  "annotations": {
                    "impact": "No orders",
                    "runbook_url": "http://skopos/runbooks/orders-burn",
                    "summary": "[DRILL] Orders burns"
                  },
                  "startsAt": "2020-09-13T12:26:40Z",
                  "endsAt": "0001-01-01T00:00:00Z",
                  "generatorURL": "http://skopos/explore/metrics?q=up",
                  "fingerprint": "5fac573cc288e446"
                },
                {
                  "status": "resolved",
                  "labels": {
                    "alertname": "Burn",
                    "instance": "b",
                    "obs_drill": "d1",
                    "service": "orders",
                    "severity": "page"
                  },
                  "annotations": {
                    "impact": "No orders",
                    "runbook_url": "http://skopos/runbooks/orders-burn",
                    "summary": "[DRILL] Orders burns"
                  },
                  "startsAt": "2020-09-13T12:26:40Z",
                  "endsAt": "2020-09-13T12:36:40.5Z",
                  "generatorURL": "http://skopos/explore/metrics?q=up",
                  "fingerprint": "685f44f68895f00d"
                }
              ],
              "groupLabels": {
                "service": "orders"
              },
              "commonLabels": {
                "alertname": "Burn",
                "obs_drill": "d1",
                "service": "orders",
                "severity": "page"
              },
              "commonAnnotations": {
                "impact": "No orders",
                "runbook_url": "http://skopos/runbooks/orders-burn",
                "summary": "[DRILL] Orders burns"
              },
              "externalURL": "http://skopos",
              "version": "4",
              "groupKey": "{}:{service=\"orders\"}",
              "truncatedAlerts": 0
            }"#]],
        );
    }

    #[test]
    fn resolved_and_signed() {
        let out = render(&notification(&[true], false), &integration(0, Some("key")));
        let value: Value = serde_json::from_str(&out.body).unwrap();
        assert_eq!((&value["status"], &value["alerts"][0]["endsAt"]), (&json!("resolved"), &json!("2020-09-13T12:36:40.5Z")));
        let signature = out.headers.iter().find(|(n, _)| n == "X-Skopos-Signature").map(|(_, v)| v.as_str()).unwrap();
        assert_eq!(signature.len(), "sha256=".len() + 64);
        // RFC 4231, test case 2, through the same code path.
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");
        assert_eq!(format!("{:02x}{:02x}", mac.clone().finalize().into_bytes()[0], mac.finalize().into_bytes()[1]), "5bdc");
    }

    #[test]
    fn oversized_is_cut_and_counted() {
        let out = render(&notification(&[false; 5], false), &integration(2, None));
        let value: Value = serde_json::from_str(&out.body).unwrap();
        assert_eq!((value["alerts"].as_array().unwrap().len(), &value["truncatedAlerts"]), (2, &json!(3)));
        let mut big = notification(&[false; 300], false);
        for alert in &mut big.alerts {
            alert.annotations.insert("description".into(), "ü".repeat(2_000));
        }
        let out = render(&big, &integration(0, None));
        assert!(out.body.len() <= WEBHOOK_BYTES_MAX);
        let value: Value = serde_json::from_str(&out.body).unwrap();
        let kept = value["alerts"].as_array().unwrap().len() as u64;
        assert!(kept > 50);
        assert_eq!(value["truncatedAlerts"], json!(300 - kept));
    }
}
