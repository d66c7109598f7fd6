//! Amazon EventBridge: the only place that names its SDK.
//!
//! Follows [PutEvents](https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html).

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_types::SdkConfig;

use crate::aws::call_error::CallError;
use crate::aws::endpoint;
use crate::report::detail::{DETAIL_TYPE, Entry, SOURCE};
use crate::text;

/// A client of EventBridge that puts events on one bus.
#[derive(Clone, Debug)]
pub struct EventBridge {
    client: Client,
    bus: String,
}

/// The code for an entry that has neither an ID nor a code in EventBridge's response.
const NO_EVENT_ID: &str = "NoEventId";

/// The code for an entry that EventBridge's response lacks.
const NO_RECEIPT: &str = "NoReceipt";

/// EventBridge's response to one entry.
pub(crate) type Receipt = Result<(), Refusal>;

/// The reason why EventBridge rejected an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct Refusal {
    /// EventBridge's code.
    pub(crate) code: String,
    /// EventBridge's message.
    pub(crate) message: String,
}

impl Refusal {
    /// True if the same entry may be accepted later: `ThrottlingException` and `InternalFailure` of
    /// [PutEventsResultEntry], and a response that does not say what became of the entry.
    ///
    /// [PutEventsResultEntry]: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsResultEntry.html
    #[must_use]
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self.code.as_str(),
            "ThrottlingException"
                | "InternalFailure"
                | "InternalException"
                | NO_EVENT_ID
                | NO_RECEIPT
        )
    }

    /// Takes EventBridge's code and message, cut to fit a log line.
    fn of(code: &str, message: &str) -> Self {
        Self {
            code: text::cut(code, 255).into_owned(),
            message: text::cut(message, 1000).into_owned(),
        }
    }
}

impl EventBridge {
    /// Makes a client that shares the configuration's HTTP client, for a bus by name or ARN.
    #[must_use]
    pub fn new(config: &SdkConfig, bus: &str) -> Self {
        Self {
            client: Client::new(config),
            bus: bus.to_owned(),
        }
    }

    /// Returns the endpoint, if it is known before the first call.
    pub(crate) async fn endpoint(config: &SdkConfig) -> Option<String> {
        endpoint::of!(config, "EventBridge", aws_sdk_eventbridge)
    }

    /// Returns the event bus, by name or ARN.
    #[must_use]
    pub(crate) fn bus(&self) -> &str {
        &self.bus
    }

    /// Puts at most 10 events of at most 1 MiB together. Returns a receipt for each, in the same order.
    pub(crate) async fn put(&self, entries: &[&Entry]) -> Result<Vec<Receipt>, CallError> {
        let request = entries.iter().map(|entry| {
            PutEventsRequestEntry::builder()
                .event_bus_name(&self.bus)
                .source(SOURCE)
                .detail_type(DETAIL_TYPE)
                .detail(&entry.detail)
                .set_resources(Some(entry.resources.clone()))
                .build()
        });
        let call = self
            .client
            .put_events()
            .set_entries(Some(request.collect()));
        // Boxed: the SDK's future is large, and several are alive at once.
        let output = Box::pin(call.send())
            .await
            .map_err(|error| CallError::from_sdk(&error))?;
        let mut results = output.entries.unwrap_or_default().into_iter();
        let receipts = entries.iter().map(|_| match results.next() {
            Some(result) => match (result.event_id, result.error_code) {
                (Some(_), None) => Ok(()),
                (_, code) => Err(Refusal::of(
                    code.as_deref().unwrap_or(NO_EVENT_ID),
                    result.error_message.as_deref().unwrap_or_default(),
                )),
            },
            None => Err(Refusal {
                code: NO_RECEIPT.to_owned(),
                message: "EventBridge's response lacks the entry".to_owned(),
            }),
        });
        Ok(receipts.collect())
    }
}

#[cfg(test)]
mod tests {
    use aws_types::region::Region;

    use super::*;

    #[test]
    fn an_entry_may_be_accepted_later_unless_event_bridge_refuses_it_for_what_it_is() {
        for (code, is_transient) in [
            ("ThrottlingException", true),
            ("InternalFailure", true),
            (NO_EVENT_ID, true),
            (NO_RECEIPT, true),
            ("MalformedDetail", false),
            ("AccessDeniedException", false),
        ] {
            let refusal = Refusal::of(code, "");
            assert_eq!(refusal.is_transient(), is_transient, "{code}");
        }
    }

    #[tokio::test]
    async fn the_endpoint_is_the_configured_one_or_that_of_the_region() {
        let region = || SdkConfig::builder().region(Region::new("eu-west-1"));
        for (config, expected) in [
            (region(), "https://events.eu-west-1.amazonaws.com"),
            (
                region().use_fips(true),
                "https://events-fips.eu-west-1.amazonaws.com",
            ),
            (
                region().use_dual_stack(true),
                "https://events.eu-west-1.api.aws",
            ),
            (
                region().endpoint_url("http://127.0.0.1:4566"),
                "http://127.0.0.1:4566",
            ),
        ] {
            let endpoint = EventBridge::endpoint(&config.build()).await;
            assert_eq!(endpoint.as_deref(), Some(expected));
        }
        assert_eq!(
            EventBridge::endpoint(&SdkConfig::builder().build()).await,
            None
        );
    }
}
