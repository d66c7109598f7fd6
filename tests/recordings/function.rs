//! The built binary as the function and the follower, in one process.

use bytes::Bytes;
use local_aws::{FunctionProcess, Invocation, InvocationResult, World};
use serde_json::Value;
use test_support::function::Aws;
use test_support::payloads::{alarm, delivery};

use crate::recording::Recording;
use crate::replay::Replay;

/// The function with a replay in place of CloudFormation. The local AWS is the Runtime API and
/// EventBridge.
pub(crate) struct Function {
    pub(crate) replay: Replay,
    aws: Aws,
    process: FunctionProcess,
}

impl Function {
    pub(crate) async fn start() -> Self {
        let aws = Aws::start(World::new()).await;
        let replay = Replay::open().await;
        let variables = [
            ("ENGINE", "cloudformation"),
            ("ENVIRONMENTS", "*"),
            // The follower reports the ends.
            ("SETTLE_TIMEOUT_SECONDS", "0"),
            ("AWS_ENDPOINT_URL_CLOUDFORMATION", replay.url()),
        ];
        let process = aws.start_function(env!("CARGO_BIN_EXE_proton-canceller"), variables);
        Self {
            replay,
            aws,
            process,
        }
    }

    /// Invokes the function with an alarm. Returns the response and the details of the published
    /// events.
    pub(crate) async fn run(&mut self) -> (Value, Vec<Value>) {
        self.invoke(&alarm()).await
    }

    /// Delivers a `CANCELLING` event to the follower. Returns the same as `run`.
    pub(crate) async fn follow(
        &mut self,
        recording: &Recording,
        cancelling: &Value,
    ) -> (Value, Vec<Value>) {
        let resources = [recording.stack_id.clone()];
        self.invoke(&delivery(&cancelling.to_string(), &resources))
            .await
    }

    async fn invoke(&mut self, payload: &Value) -> (Value, Vec<Value>) {
        let payload = Bytes::from(payload.to_string());
        let before = self.aws.local.events().len();
        let result = tokio::select! {
            result = self.aws.local.invoke(payload, Invocation::default()) => result,
            status = self.process.ended() => panic!("the function ended: {status:?}\n{}", self.log()),
        };
        let answer = match result {
            InvocationResult::Response(answer) => serde_json::from_slice(&answer).unwrap(),
            InvocationResult::Error { raw, .. } => {
                panic!("{}\n{}", String::from_utf8_lossy(&raw), self.log())
            }
        };
        let events = self.aws.local.events().split_off(before);
        let details = events.iter().map(|event| &event.detail);
        let details = details.map(|detail| serde_json::from_str(detail).unwrap());
        (answer, details.collect())
    }

    /// The newest lines of the function's log.
    pub(crate) fn log(&self) -> String {
        let lines = self.process.lines();
        let newest = lines.iter().rev().take(12).rev();
        let newest: Vec<_> = newest.map(|line| line.text.as_str()).collect();
        newest.join("\n")
    }
}
