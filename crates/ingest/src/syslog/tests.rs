use skopos_model::IngestLimits;

use super::*;
use crate::context::Cache;
use crate::test_util::shared_lines;

/// 2026-11-20.
const RECEIVED: i64 = 1_795_132_800_000_000_000;

fn check(raw: &str, expected: &str) {
    let m = parse(raw, RECEIVED);
    let data: Vec<String> = m.structured_data.iter().map(|(e, n, v)| format!("{e}/{n}={v}")).collect();
    let time = m.time.map(|t| (t / 1_000_000_000).to_string()).unwrap_or_default();
    let priority = m.priority.map(|p| p.to_string()).unwrap_or_default();
    let got = format!("{priority}|{time}|{}|{}|{}|{}|{}|{}", m.hostname, m.app_name, m.proc_id, m.msg_id, data.join(","), m.text);
    assert_eq!(got, expected, "{raw}");
}

#[test]
fn rfc_5424() {
    check("<165>1 2023-06-03T17:42:32.123456789Z h.example app 12345 ID47 - Said.", "165|1685814152|h.example|app|12345|ID47||Said.");
    check(
        r#"<165>1 2023-06-03T17:42:00.000Z h a 1 ID47 [e@32473 iut="3" source="Application 123 = ] 56"][meta n="7"] Said."#,
        "165|1685814120|h|a|1|ID47|e@32473/iut=3,e@32473/source=Application 123 = ] 56,meta/n=7|Said.",
    );
    check(r#"<14>1 - - - - - [t event="quote \"x\" \] \\ \y"] Said"#, r#"14||||||t/event=quote "x" ] \ \y|Said"#);
    check("<165>1 2023-06-03T17:42:32Z h app 1 ID47 [foo@123]", "165|1685814152|h|app|1|ID47|foo@123/=|");
    check("<165>1 2023-06-03T17:42:32Z h app 1", "165|1685814152|h|app|1|||");
    check("<165>1 2023-06-03T17:42:32Z h app 1 - [x=y z] Said", "165|1685814152|h|app|1||x=y/=z|Said");
    check("<165>1 2023-06-03T17:42:32Z h app 1 - [broken Said", "165|1685814152|h|app|1|||[broken Said");
    check("<165>1 ", "165|||||||");
    check("<14>1 - - - - - - \u{feff}Said\n", "14|||||||Said");
    check("1 2023-06-03T17:42:32Z h app - - - Said", "|1685814152|h|app||||Said");
}

#[test]
fn rfc_3164_as_it_is_written() {
    check("<165>Jun  3 12:08:33 abcd systemd[1]: Starting.", "165|1780488513|abcd|systemd|1|||Starting.");
    check("Jun  3 12:08:33 abcd systemd: Starting: now", "|1780488513|abcd|systemd||||Starting: now");
    check("Jun  3 12:08:33 abcd - Starting", "|1780488513|abcd|||||Starting");
    check("Jun  3 12:08:33 - - Starting", "|1780488513||||||Starting");
    check("Jun  3 12:08:33 abcd sudo", "|1780488513|abcd|sudo||||");
    check("Jun  3 12:08:33", "|1780488513||||||");
    check("Dec 31 23:59:59 h a: late", "|1767225599|h|a||||late");
    check("<13>Jun  3 2024 12:08:33.5: %ASA-6-302015: Built", "13|1717416513||%ASA-6-302015||||Built");
    check("<13>2024-06-03T12:08:33.5+02:00 h a[9]: x", "13|1717409313|h|a|9|||x");
    check("<13>sshd[7]: x", "13|||sshd|7|||x");
    check("foo bar baz", "|||||||foo bar baz");
    check("Foo  3 12:08:33", "|||||||Foo  3 12:08:33");
    check("<999>1 x", "|||||||<999>1 x");
    check("<1>garbage ü", "1|||||||garbage ü");
    check("", "|||||||");
}

fn frames(stream: &str, ended: bool) -> Vec<String> {
    let (mut rest, mut all) = (stream.as_bytes(), Vec::new());
    loop {
        match next_frame(rest, 60, ended) {
            Framed::Message { message, length } => {
                all.push(String::from_utf8_lossy(message).into_owned());
                rest = &rest[length..];
            }
            Framed::Skip { length } => rest = &rest[length..],
            Framed::Incomplete => {
                all.push(format!("… {}", rest.len()));
                return all;
            }
            Framed::TooLong => {
                all.push("too long".to_owned());
                return all;
            }
        }
    }
}

#[test]
fn streams_are_cut_into_messages() {
    for (stream, ended, expected) in [
        ("a b\nc\r\n\n\0d", false, &["a b", "c", "… 1"][..]),
        ("a b\nc\r\n\n\0d", true, &["a b", "c", "d", "… 0"]),
        ("5 <1>ab7 <1>a\nbc<2>x\n", false, &["<1>ab", "<1>a\nbc", "<2>x", "… 0"]),
        ("9 <1>ab", false, &["… 7"]),
        ("9 <1>ab", true, &["9 <1>ab", "… 0"]),
        ("12", false, &["… 2"]),
        ("12foo bar", true, &["12foo bar", "… 0"]),
        ("5 disks\n", false, &["5 disks", "… 0"]),
        ("99999 <1>", false, &["too long"]),
        ("0123456789012345678901234567890123456789012345678901234567890", false, &["too long"]),
    ] {
        assert_eq!(frames(stream, ended), expected, "{stream:?}");
    }
}

#[test]
fn messages_become_records() {
    let mut body = Vec::new();
    for message in [&b"<11>1 2023-06-03T17:42:32Z h app 7 ID [x@1 k=\"v\"] said"[..], b"plain \xff", b""] {
        write_frame(message, &mut body);
    }
    let decoded = decode(&body, "10.0.0.1", &Context::new(&IngestLimits::default(), RECEIVED, &Cache::default())).expect("frames");
    let batch = &decoded.batch;
    assert_eq!(batch.body.iter().collect::<Vec<_>>(), ["said", "plain \u{fffd}", ""]);
    assert_eq!(batch.severity_number, [17, 0, 0]);
    let attributes: Vec<String> = batch.attributes.row(0).iter().map(|(k, v)| format!("{k}={}", v.to_text())).collect();
    assert_eq!(attributes, ["syslog.facility=user", "syslog.proc_id=7", "syslog.msg_id=ID", "x@1.k=v"]);
    assert_eq!(batch.resources[0].get("host.name").as_deref(), Some("h"));
    assert_eq!(batch.resources[1].get("host.name").as_deref(), Some("10.0.0.1"));
    assert_eq!(decoded.changed[0].reason, "invalid_utf8");
    assert!(decode(b"5 abc", "", &Context::new(&IngestLimits::default(), 0, &Cache::default())).is_err());
}

#[test]
fn valid_messages_of_others_keep_their_text() {
    let Some(lines) = shared_lines("conformance/syslog-rfc5424/messages.jsonl") else { return };
    let mut checked = 0;
    for line in lines.iter().filter(|line| line["valid"] == true) {
        let raw = line["message"].as_str().expect("a message");
        let message = parse(raw, RECEIVED);
        assert!(message.priority.is_some(), "{raw}");
        // The text is what the message ends with.
        assert!(raw.trim_end_matches('\n').ends_with(message.text), "{raw}: {:?}", message.text);
        assert!(!message.text.starts_with('['), "structured data is read: {raw}");
        checked += 1;
    }
    assert!(checked > 30, "{checked}");
}
