//! Any bytes as a payload: the decoder accepts them or reports the error, and every accepted
//! payload can be published. `src/trigger.rs` and the contract have examples; these tests cover the
//! space of inputs.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod properties;

use std::sync::LazyLock;

use properties::{Taken, hold};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proton_canceller::deployment::{EnvironmentName, NameRule};
use serde_json::{Map, Value, json};
use test_support::payloads;

/// Every sample, with its name.
static SAMPLES: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(payloads::samples);

/// The samples that are JSON.
fn json_samples() -> Vec<Value> {
    let samples = SAMPLES.iter();
    let values: Vec<_> = samples
        .filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok())
        .collect();
    assert!(values.len() > 20, "{} samples", values.len());
    values
}

/// Words that the decoder knows, and words that are close to them.
fn words() -> impl Strategy<Value = String> {
    const WORDS: [&str; 36] = [
        "detail-type",
        "alarmData",
        "Records",
        "environments",
        "source",
        "detail",
        "state",
        "value",
        "time",
        "timestamp",
        "alarmName",
        "AlarmName",
        "NewStateValue",
        "Sns",
        "Message",
        "EventSource",
        "dryRun",
        "reason",
        "muteDetail",
        "actionsSuppressedBy",
        "resources",
        "aws.cloudwatch",
        "aws.events",
        "aws.scheduler",
        "aws:sns",
        "Scheduled Event",
        "CloudWatch Alarm State Change",
        "ALARM",
        "alarm",
        "OK",
        "2026-11-23T06:45:12Z",
        "+12026-11-23T06:45:12Z",
        "9999-12-31T23:59:59.999-01:00",
        "0000-01-01T00:00:00+01:00",
        "2026-11-23T06:45:60.999999999+0000",
        "{\"AlarmName\":\"a\",\"NewStateValue\":\"ALARM\"}",
    ];
    prop_oneof![
        4 => select(&WORDS[..]).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => "[0-9A-Za-z_-]{1,8}",
        1 => r"[+-]?[0-9]{4,6}-(0[1-9]|1[0-2])-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:?[0-5][0-9])",
    ]
}

/// Any JSON, some of it with words that the decoder knows.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((words(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The pointers of a value and of every value in it.
fn pointers(value: &Value) -> Vec<String> {
    let below = |step: String, value: &Value| {
        pointers(value)
            .into_iter()
            .map(move |pointer| format!("/{step}{pointer}"))
            .collect::<Vec<_>>()
    };
    let mut all = vec![String::new()];
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                all.extend(below(key.replace('~', "~0").replace('/', "~1"), value));
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                all.extend(below(index.to_string(), value));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    all
}

/// One change to a payload.
#[derive(Clone, Debug)]
enum Change {
    Replace(Value),
    Remove,
    Wrap,
    Add(String, Value),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => json_value().prop_map(Change::Replace),
        1 => Just(Change::Remove),
        1 => Just(Change::Wrap),
        2 => (words(), json_value()).prop_map(|(key, value)| Change::Add(key, value)),
    ]
}

fn apply(payload: &mut Value, at: Index, change: Change) {
    let all = pointers(payload);
    let pointer = at.get(&all);
    match change {
        Change::Replace(value) => *payload.pointer_mut(pointer).unwrap() = value,
        Change::Wrap => {
            let value = payload.pointer_mut(pointer).unwrap();
            *value = Value::Array(vec![value.take()]);
        }
        Change::Add(key, value) => {
            if let Some(members) = payload.pointer_mut(pointer).unwrap().as_object_mut() {
                members.insert(key, value);
            }
        }
        Change::Remove => {
            let Some((parent, member)) = pointer.rsplit_once('/') else {
                return;
            };
            match payload.pointer_mut(parent).unwrap() {
                Value::Object(members) => {
                    members.remove(member);
                }
                Value::Array(values) => {
                    values.remove(member.parse::<usize>().unwrap());
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        hold(&bytes);
    }

    #[test]
    fn any_json_is_answered(value in json_value()) {
        hold(value.to_string().as_bytes());
    }

    #[test]
    fn a_sample_with_any_values_is_answered(
        mut payload in select(json_samples()),
        changes in prop::collection::vec((any::<Index>(), change()), 1..4),
    ) {
        for (at, change) in changes {
            apply(&mut payload, at, change);
        }
        hold(payload.to_string().as_bytes());
    }

    #[test]
    fn an_sns_message_of_anything_is_answered(message in prop_oneof![
        any::<String>(),
        json_value().prop_map(|value| value.to_string()),
        select(json_samples()).prop_map(|value| value.to_string()),
    ]) {
        let record = json!({"EventSource": "aws:sns", "Sns": {"Message": message}});
        hold(json!({"Records": [record]}).to_string().as_bytes());
    }

    #[test]
    fn a_sample_with_damaged_bytes_is_answered(
        sample in 0..SAMPLES.len(),
        damages in prop::collection::vec(
            (any::<Index>(), 0..12_usize, prop::collection::vec(any::<u8>(), 0..6)),
            1..5,
        ),
    ) {
        let mut bytes = SAMPLES[sample].1.clone();
        for (at, cut, new) in damages {
            let start = at.index(bytes.len() + 1);
            let end = (start + cut).min(bytes.len());
            bytes.splice(start..end, new);
        }
        hold(&bytes);
    }

    #[test]
    fn an_alarm_of_any_time_is_reported_or_refused(
        event in words(),
        state in words(),
        sample in select(vec!["alarm.json", "action_metric.json", "sns_alarm.json"]),
    ) {
        let mut payload: Value = serde_json::from_slice(bytes_of(sample)).unwrap();
        for pointer in ["/time", "/Records/0/Sns/Timestamp"] {
            if let Some(time) = payload.pointer_mut(pointer) {
                *time = json!(event);
            }
        }
        for pointer in ["/detail/state/timestamp", "/alarmData/state/timestamp"] {
            if let Some(time) = payload.pointer_mut(pointer) {
                *time = json!(state);
            }
        }
        hold(payload.to_string().as_bytes());
    }

    #[test]
    fn an_alarm_acts_in_the_state_alarm_and_no_other(
        state in prop_oneof![
            select(vec!["ALARM", "OK", "INSUFFICIENT_DATA", "alarm", "ALARM ", "ALARM\0", "ＡＬＡＲＭ"])
                .prop_map(str::to_owned),
            any::<String>(),
        ],
        sample in select(vec!["alarm.json", "alarm_composite.json", "alarm_contributor.json"]),
    ) {
        let mut payload: Value = serde_json::from_slice(bytes_of(sample)).unwrap();
        payload["detail"]["state"]["value"] = json!(state);
        let expected = if state == "ALARM" { Taken::Acts } else { Taken::Ignored };
        prop_assert_eq!(hold(payload.to_string().as_bytes()), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(250))]

    #[test]
    fn a_request_is_taken_if_each_of_its_names_can_be_one(
        names in prop::collection::vec(
            prop_oneof![
                6 => "[0-9A-Za-z][0-9A-Za-z_-]{0,20}",
                1 => "[ -~]{0,4}",
                1 => any::<String>(),
                1 => "[a-z]{99,102}",
            ],
            0..104,
        ),
    ) {
        let can_be = |name: &String| EnvironmentName::parse(name, NameRule::Proton).is_ok();
        let is_good = (1..=100).contains(&names.len()) && names.iter().all(can_be);
        let expected = if is_good { Taken::Acts } else { Taken::Refused };
        let payload = json!({ "environments": names });
        prop_assert_eq!(hold(payload.to_string().as_bytes()), expected);
    }
}

fn bytes_of(sample: &str) -> &'static [u8] {
    let mut samples = SAMPLES.iter();
    let (_, bytes) = samples.find(|(name, _)| name == sample).unwrap();
    bytes
}

/// Bytes to put, unescaped, in place of every value of a sample.
fn extremes() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |open: &str, close: &str| {
        let depth = 2_000;
        format!("{}0{}", open.repeat(depth), close.repeat(depth)).into_bytes()
    };
    vec![
        ("deep arrays", nested("[", "]")),
        ("deep objects", nested("{\"a\":", "}")),
        ("arrays without an end", b"[".repeat(2_000)),
        ("a huge number", b"9".repeat(2_000)),
        ("a huge exponent", b"-1e999999999999".to_vec()),
        ("a tiny number", b"1e-999999999999".to_vec()),
        ("no UTF-8", b"\"\xff\xfe\"".to_vec()),
        ("half a character", b"\"\xf0\x9f\"".to_vec()),
        ("half a surrogate pair", b"\"\\ud800\"".to_vec()),
        ("a nul", b"\"\\u0000\"".to_vec()),
        ("a raw control character", b"\"\x01\"".to_vec()),
        ("no value", Vec::new()),
    ]
}

#[test]
fn endless_nesting_anywhere_in_an_alarm_is_answered() {
    let deep = [("[", "]"), ("{\"a\":", "}")];
    for (open, close) in deep {
        let nested = format!("{}0{}", open.repeat(200_000), close.repeat(200_000));
        for place in [
            "\"checkout-5xx\"",
            "\"ALARM\"",
            "\"aws.cloudwatch\"",
            "\"eu-west-1\"",
        ] {
            let sample = std::str::from_utf8(bytes_of("alarm.json")).unwrap();
            hold(sample.replacen(place, &nested, 1).as_bytes());
        }
        hold(nested.as_bytes());
    }
}

#[test]
fn extreme_values_everywhere_in_every_kind_are_answered() {
    const MARK: &str = "\"a-mark-that-nobody-else-writes\"";
    let kinds = [
        "alarm.json",
        "action_metric.json",
        "sns_alarm.json",
        "schedule_scheduler.json",
        "request_dry_run.json",
    ];
    for sample in kinds {
        let sample: Value = serde_json::from_slice(bytes_of(sample)).unwrap();
        for pointer in pointers(&sample) {
            let mut marked = sample.clone();
            *marked.pointer_mut(&pointer).unwrap() = serde_json::from_str(MARK).unwrap();
            let marked = marked.to_string();
            let (before, after) = marked.split_once(MARK).unwrap();
            for (_, extreme) in extremes() {
                hold(&[before.as_bytes(), &extreme, after.as_bytes()].concat());
            }
        }
    }
}

#[test]
fn the_largest_payload_is_answered() {
    const SIX_MEGABYTES: usize = 6 * 1024 * 1024;
    // A letter, a character of six escaped bytes, and a character of three bytes.
    for (text, place) in [
        ("x", "checkout-5xx"),
        ("\\u0001", "Threshold Crossed"),
        ("\u{2028}", "arn:aws:cloudwatch"),
    ] {
        let long = text.repeat(SIX_MEGABYTES / text.len());
        let sample = std::str::from_utf8(bytes_of("alarm.json")).unwrap();
        let payload = sample.replacen(place, &long, 1);
        assert!(payload.len() > SIX_MEGABYTES - 10);
        assert_eq!(hold(payload.as_bytes()), Taken::Acts, "{place}");
    }
    let quotes = "\\\"".repeat(SIX_MEGABYTES / 2);
    let request = format!("{{\"environments\":[\"net\"],\"reason\":\"{quotes}\"}}");
    assert_eq!(hold(request.as_bytes()), Taken::Acts);
    let name = format!("{{\"environments\":[\"{quotes}\"]}}");
    assert_eq!(hold(name.as_bytes()), Taken::Refused);
    for bytes in [b" ", b"[", b"{", b"\"", b"0", b"\0", b"\xff"] {
        assert_eq!(hold(&bytes.repeat(SIX_MEGABYTES)), Taken::Refused);
    }
}
