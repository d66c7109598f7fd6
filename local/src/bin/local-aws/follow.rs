//! The follower: a second process of the same binary, behind a queue.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use local_aws::{
    Clock, FunctionProcess, Invocation, InvocationResult, LocalAws, Queue, QueueSettings, Server,
    World,
};
use tokio::net::TcpListener;

use crate::arguments::Engine;
use crate::failure::Failure;

/// The follower's timeout for one delivery, as in the template.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The time between two reads of the bus for events that the rule takes.
const POLL: Duration = Duration::from_millis(50);

/// The follower and its queue, beside a local AWS.
pub(crate) struct Follower {
    local: LocalAws,
    queue: Queue,
    /// How many events of the bus were offered to the rule.
    offered: usize,
    /// The Runtime API of the second function.
    runtime: LocalAws,
    runtime_server: Server,
    process: FunctionProcess,
}

impl Follower {
    /// Starts the binary as the follower of events that are published on a local AWS. The time between
    /// two deliveries of a message is `every` in place of 90 seconds.
    pub(crate) async fn start(
        local: &LocalAws,
        server: &Server,
        engine: Engine,
        binary: &Path,
        every: Duration,
    ) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::Trial(format!("the follower cannot be started: {error}"))
        };
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(|error| failed(&error))?;
        let runtime = LocalAws::new(World::new(), Clock::system());
        let runtime_server = runtime.serve(listener);
        let variables = [
            ("AWS_ENDPOINT_URL", server.endpoint_url()),
            (
                "AWS_LAMBDA_FUNCTION_NAME",
                "proton-canceller-follower".to_owned(),
            ),
            ("DRY_RUN", "true".to_owned()),
            ("ENGINE", engine.as_str().to_owned()),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value));
        let process = FunctionProcess::start(binary, &runtime_server, variables)
            .map_err(|error| failed(&error))?;
        let settings = QueueSettings {
            delay: every.min(QueueSettings::FOLLOW.delay),
            visibility: every,
            ..QueueSettings::FOLLOW
        };
        Ok(Self {
            local: local.clone(),
            queue: Queue::new(settings),
            offered: 0,
            runtime,
            runtime_server,
            process,
        })
    }

    /// Follows published events until every message is deleted, or the time is over. Returns the number
    /// of deliveries.
    pub(crate) async fn follow(&mut self, most: Duration) -> usize {
        let until = tokio::time::Instant::now() + most;
        let mut deliveries = 0;
        self.take_events();
        while self.queue.next().is_some() && tokio::time::Instant::now() < until {
            deliveries += usize::from(self.deliver().await);
        }
        deliveries
    }

    /// Follows published events without end.
    pub(crate) async fn go_on(&mut self) -> std::convert::Infallible {
        loop {
            self.take_events();
            self.deliver().await;
        }
    }

    /// Offers new events to the rule.
    fn take_events(&mut self) {
        let events = self.local.events();
        for event in events.iter().skip(self.offered) {
            self.queue.offer(event, self.local.clock().now());
        }
        self.offered = events.len();
    }

    /// Delivers the next message that is visible, or waits a moment. Returns true if it delivered one.
    async fn deliver(&mut self) -> bool {
        let Some(delivery) = self.queue.receive(self.local.clock().now()) else {
            tokio::time::sleep(POLL).await;
            return false;
        };
        let invocation = Invocation {
            timeout: Some(TIMEOUT),
            ..Invocation::default()
        };
        let result = self
            .runtime
            .invoke(Bytes::from(delivery.payload), invocation)
            .await;
        let answer = match &result {
            InvocationResult::Response(body) => Some(&body[..]),
            InvocationResult::Error { .. } => None,
        };
        self.queue.answered(&delivery.message_id, answer);
        true
    }

    /// Ends the process.
    pub(crate) async fn end(mut self) {
        self.process.kill().await;
        self.runtime_server.shut_down().await;
    }
}
