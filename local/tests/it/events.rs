//! EventBridge through the SDK.

use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use local_aws::{Faults, Refusal, World};

use crate::support::{event_bridge, local, start};

fn entry(detail: &str) -> PutEventsRequestEntry {
    PutEventsRequestEntry::builder()
        .source("test")
        .detail_type("kind")
        .detail(detail)
        .build()
}

#[tokio::test(start_paused = true)]
async fn bad_entries_are_refused_and_the_others_are_taken_in_order() {
    let local = local(World::new());
    let nameless = PutEventsRequestEntry::builder()
        .detail_type("kind")
        .detail("{}")
        .build();
    let put = event_bridge(&local)
        .put_events()
        .entries(entry("{\"n\":1}"))
        .entries(entry("[]"))
        .entries(nameless)
        .entries(entry(""))
        .entries(entry("{\"n\":2}"));
    let output = put.send().await.unwrap();
    assert_eq!(output.failed_entry_count, 3);
    let codes: Vec<_> = output
        .entries()
        .iter()
        .map(|one| one.error_code())
        .collect();
    assert_eq!(
        codes,
        [
            None,
            Some("MalformedDetail"),
            Some("InvalidArgument"),
            Some("InvalidArgument"),
            None
        ]
    );
    let events = local.events();
    let details: Vec<_> = events.iter().map(|event| event.detail.as_str()).collect();
    assert_eq!(details, ["{\"n\":1}", "{\"n\":2}"]);
    assert_eq!(output.entries()[4].event_id(), Some(events[1].id.as_str()));
    assert_eq!(
        (events[0].bus.as_str(), events[0].time),
        ("default", start())
    );
}

#[tokio::test(start_paused = true)]
async fn at_most_ten_entries_and_one_mebibyte_are_taken() {
    let local = local(World::new());
    let client = event_bridge(&local);
    let many = client.put_events().set_entries(Some(vec![entry("{}"); 11]));
    assert!(many.send().await.is_err());
    // `test` and `kind` count 8, a time 14, and the quotes and braces of the detail 8.
    let fill = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8 - 8 - 14));
    for (bytes, is_taken) in [(1024 * 1024, true), (1024 * 1024 + 1, false)] {
        let timed = PutEventsRequestEntry::builder()
            .source("test")
            .detail_type("kind")
            .detail(fill(bytes))
            .time(DateTime::from_secs(1))
            .build();
        let put = client.put_events().entries(timed).send().await;
        assert_eq!(put.is_ok(), is_taken, "{bytes}");
    }
    assert_eq!(local.events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn entries_are_refused_as_the_script_says() {
    let refusal = Refusal::new("ThrottlingException", "slow down")
        .containing("prod")
        .entries(1..=2);
    let local = local(World::new().faults(Faults::none().refuse(refusal)));
    let client = event_bridge(&local);
    for failed in [1, 1, 0] {
        let put = client
            .put_events()
            .entries(entry("{\"name\":\"prod\"}"))
            .entries(entry("{}"));
        assert_eq!(put.send().await.unwrap().failed_entry_count, failed);
    }
}
