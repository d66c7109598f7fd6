//! The function in this process: the shipped code with the local AWS's in-process client.

use std::time::{Duration, SystemTime};

use aws_sdk_eventbridge::config::StalledStreamProtectionConfig;
use aws_sdk_eventbridge::config::retry::RetryConfig;
use aws_sdk_eventbridge::config::timeout::TimeoutConfig;
use aws_sdk_eventbridge::config::{
    BehaviorVersion, Credentials, Region, SharedCredentialsProvider,
};
use aws_types::SdkConfig;
use local_aws::{Clock, LocalAws, World};
use proton_canceller::engine::{CloudFormation, Engine, EngineKind, Proton};
use proton_canceller::handler::{Handler, Invocation};
use proton_canceller::invocation_error::InvocationError;
use proton_canceller::report::event_bridge::EventBridge;
use proton_canceller::settings::Settings;
use proton_canceller::timestamp::Timestamp;
use serde_json::{Value, json};

/// The start of every simulated world.
pub(crate) fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_mins(29_923_585)
}

/// The summary, or the invocation error.
pub(crate) type Answer = Result<Value, InvocationError>;

/// A world and the function's settings.
pub(crate) struct Simulated {
    /// The world.
    pub(crate) local: LocalAws,
    settings: Settings,
}

impl Simulated {
    /// A function in a world. Requires a runtime whose time is paused.
    pub(crate) fn new(world: World, variables: &[(&str, String)]) -> Self {
        let local = LocalAws::new(world, Clock::paused(start()));
        let settings = Settings::read(|name| {
            let given = variables.iter().find(|(variable, _)| *variable == name);
            given.map(|(_, value)| value.clone())
        })
        .expect("the settings are good");
        Self { local, settings }
    }

    /// The world's time.
    pub(crate) fn now(&self) -> Timestamp {
        self.local.clock().now().into()
    }

    /// Invokes the function with a payload and this timeout. Each invocation has an instance of its
    /// own, as in Lambda. The instance signs its calls with the request ID as access key, so that
    /// the record of calls names the caller.
    pub(crate) async fn invoke(&self, request_id: &str, payload: &Value, time: Duration) -> Answer {
        let now = self.now();
        let payload = payload.to_string();
        let invocation = Invocation {
            payload: payload.as_bytes(),
            request_id,
            function_name: "proton-canceller",
            deadline: now + time,
            now,
        };
        let summary = self.instance(request_id).handle(invocation).await?;
        Ok(serde_json::from_str(summary.get()).expect("the summary is JSON"))
    }

    /// Invokes the function with a schedule. Returns the summary.
    pub(crate) async fn sweep(&self) -> Value {
        let schedule = json!({"detail-type": "Scheduled Event", "source": "aws.events"});
        let time = Duration::from_mins(15);
        self.invoke("r-1", &schedule, time).await.unwrap()
    }

    fn instance(&self, access_key: &str) -> Handler {
        let config = sdk_config(&self.local, access_key);
        let settings = self.settings.clone();
        Handler {
            engine: match settings.engine {
                EngineKind::Proton => Engine::Proton(Proton::new(&config)),
                EngineKind::CloudFormation => Engine::CloudFormation(CloudFormation::new(&config)),
            },
            event_bridge: EventBridge::new(&config, &settings.event_bus),
            metrics: |_| {},
            settings,
        }
    }
}

fn sdk_config(local: &LocalAws, access_key: &str) -> SdkConfig {
    let credentials = Credentials::new(access_key, "simulated", None, None, "simulation");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(local.http_client())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}
