//! No task outlives an invocation: the function in this process, on a runtime that counts.

use std::time::{Duration, SystemTime};

use aws_sdk_eventbridge::config::retry::RetryConfig;
use aws_sdk_eventbridge::config::timeout::TimeoutConfig;
use aws_sdk_eventbridge::config::{
    BehaviorVersion, Credentials, Region, SharedCredentialsProvider,
};
use aws_types::SdkConfig;
use local_aws::{
    Chances, Clock, Deployment, Environment, Fault, Faults, LocalAws, Operation, Rule, Throttle,
    World,
};
use proton_canceller::engine::{Engine, Proton};
use proton_canceller::handler::{Handler, Invocation};
use proton_canceller::report::event_bridge::EventBridge;
use proton_canceller::settings::Settings;
use proton_canceller::timestamp::Timestamp;
use tokio::runtime::Handle;

fn sdk_config(local: &LocalAws) -> SdkConfig {
    let credentials = Credentials::new("AKIDLOCAL", "local", None, None, "endurance");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(local.http_client())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .build()
}

/// Forty environments in progress, whose cancels take from no time to longer than the invocation.
fn world() -> World {
    (0..40)
        .map(|number| {
            let deployment = Deployment::in_progress();
            Environment::new(format!("net-{number}")).deployment(deployment)
        })
        .fold(World::new(), World::with)
}

/// Hands the function an event of each kind in this world; nothing may run on after any.
async fn nothing_is_left(faults: Faults) {
    let start = SystemTime::UNIX_EPOCH + Duration::from_mins(29_923_585);
    let local = LocalAws::new(world().faults(faults), Clock::paused(start));
    let config = sdk_config(&local);
    let settings = Settings::read(|name| match name {
        "MAX_CANCELLATIONS" => Some("100".to_owned()),
        "STUCK_AFTER_MINUTES" => Some("0".to_owned()),
        _ => None,
    });
    let handler = Handler {
        engine: Engine::Proton(Proton::new(&config)),
        event_bridge: EventBridge::new(&config, "default"),
        metrics: |_| {},
        settings: settings.unwrap(),
    };
    let runtime = Handle::current();
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
    let mut ended = 0;
    for payload in [
        r#"{"environments": ["net-0", "net-1", "missing"]}"#,
        r#"{"detail-type": "Scheduled Event", "source": "aws.scheduler"}"#,
        r#"{"detail-type": "Scheduled Event", "source": "aws.scheduler"}"#,
        "{}",
    ] {
        let now: Timestamp = local.clock().now().into();
        let invocation = Invocation {
            payload: payload.as_bytes(),
            request_id: "8a1c",
            function_name: "proton-canceller",
            deadline: now + Duration::from_mins(1),
            now,
        };
        // Whether it goes well is another test's concern.
        ended += usize::from(handler.handle(invocation).await.is_ok());
        assert_eq!(runtime.metrics().num_alive_tasks(), 0, "{payload}");
    }
    assert!(ended < 4, "`{{}}` is no payload");
}

#[tokio::test(start_paused = true)]
async fn no_task_is_left_behind_however_an_invocation_ends() {
    let on = |fault, operation| Faults::none().rule(Rule::new(fault).operation(operation));
    let lucky = Faults::none();
    let unlucky = Faults::none().chances(Chances {
        error: 0.1,
        drop_before: 0.1,
        drop_after: 0.1,
        never: 0.1,
        refused_entry: 0.1,
    });
    let throttled = Faults::none().throttle(Throttle {
        operation: None,
        per_second: 1.0,
        burst: 1,
    });
    for faults in [
        lucky,
        unlucky,
        throttled,
        on(Fault::Never, Operation::ListEnvironments),
        on(Fault::Never, Operation::GetEnvironment),
        on(Fault::Never, Operation::CancelEnvironmentDeployment),
        on(Fault::Never, Operation::GetDeployment),
        on(Fault::Never, Operation::PutEvents),
        on(Fault::Drop, Operation::CancelEnvironmentDeployment),
        on(
            Fault::error("AccessDeniedException", "no"),
            Operation::PutEvents,
        ),
    ] {
        nothing_is_left(faults).await;
    }
}
