//! The process's resident memory, threads and descriptors, from `/proc`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use local_aws::{
    Deployment, Ending, Environment, FunctionProcess, Invocation, InvocationResult, World,
};
use serde_json::{Value, json};
use test_support::function::Aws;
use test_support::payloads::{alarm, fresh_json, request, schedule};

/// A trace ID for several invocations.
const ONE_TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0";

/// The bytes that glibc keeps of each trace ID ("Memory" in `docs/reliability.md`): 80 for the
/// variable with the local AWS's 50 bytes, and 32 for a node of its tree.
const KEPT_OF_A_TRACE: usize = 80 + 32;

/// An environment whose cancel leads to `CANCELLED` at once.
fn quick(name: String) -> Environment {
    let cancellation = Ending::cancelled().rollback(Duration::ZERO);
    Environment::new(name).deployment(Deployment::in_progress().when_cancelled(cancellation))
}

/// The resources of a process.
#[derive(Clone, Copy, Debug)]
struct Held {
    resident_kib: u64,
    peak_kib: u64,
    threads: u64,
    descriptors: usize,
}

/// The function's process in a world.
struct Function {
    aws: Aws,
    process: FunctionProcess,
    /// The trace ID of all invocations. `None`: each has its own.
    trace_id: Option<String>,
}

impl Function {
    async fn start(world: World) -> Self {
        Self::start_with(world, []).await
    }

    /// Starts the function with more environment variables.
    async fn start_with<const N: usize>(
        world: World,
        more: [(&'static str, &'static str); N],
    ) -> Self {
        let aws = Aws::start(world).await;
        let variables = [
            ("MAX_CANCELLATIONS", "100000"),
            ("SETTLE_TIMEOUT_SECONDS", "0"),
            ("STUCK_AFTER_MINUTES", "0"),
            ("CONCURRENCY", "20"),
            ("AWS_LAMBDA_LOG_LEVEL", "ERROR"),
        ];
        let given = std::env::var("PROTON_CANCELLER_FUNCTION");
        let program = given.as_deref();
        let program = program.unwrap_or(env!("CARGO_BIN_EXE_proton-canceller"));
        let process = aws.start_function(program, variables.into_iter().chain(more));
        Self {
            aws,
            process,
            trace_id: None,
        }
    }

    async fn invoke(&self, payload: &Value) -> InvocationResult {
        let payload = Bytes::from(payload.to_string());
        let invocation = Invocation {
            trace_id: self.trace_id.clone(),
            ..Invocation::default()
        };
        self.aws.local.invoke(payload, invocation).await
    }

    async fn summary(&self, payload: &Value) -> Value {
        match self.invoke(payload).await {
            InvocationResult::Response(body) => serde_json::from_slice(&body).unwrap(),
            failure @ InvocationResult::Error { .. } => panic!("{failure:?}"),
        }
    }

    fn held(&self) -> Held {
        let process = format!("/proc/{}", self.process.id().expect("the process runs"));
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let number = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        Held {
            resident_kib: number("VmRSS:"),
            peak_kib: number("VmHWM:"),
            threads: number("Threads:"),
            descriptors: std::fs::read_dir(format!("{process}/fd")).unwrap().count(),
        }
    }
}

/// Invokes one process so many times: nine of ten invocations cancel and publish, the others are
/// refused or ignored. Returns the process's resources after the first tenth, and at the end.
async fn serve(invocations: usize, trace_id: Option<&str>) -> [Held; 2] {
    let world = (0..invocations)
        .map(|number| quick(format!("net-{number:05}")))
        .fold(World::new(), World::with);
    let mut function = Function::start(world).await;
    function.trace_id = trace_id.map(str::to_owned);
    let ignored = fresh_json("ignored_alarm_ok.json");
    let begun = Instant::now();
    let mut early = None;
    for number in 0..invocations {
        match number % 20 {
            9 => {
                let refused = function.invoke(&json!({ "environment": [number] })).await;
                assert!(matches!(refused, InvocationResult::Error { .. }));
            }
            19 => {
                let summary = function.summary(&ignored).await;
                assert!(summary["ignored"].is_string(), "{summary}");
            }
            _ => {
                let name = format!("net-{number:05}");
                let summary = function.summary(&request([name.as_str()])).await;
                let ends = &summary["counts"];
                let done = ends["CANCELLED"] == 1 || ends["CANCELLING"] == 1;
                assert!(done, "{summary}");
            }
        }
        if number + 1 == invocations / 10 {
            early = Some(function.held());
        }
    }
    let [early, late] = [early.expect("at least ten invocations"), function.held()];
    println!("{invocations} invocations in {:.1?}", begun.elapsed());
    println!("after a tenth of them: {early:?}");
    println!("after the last of them: {late:?}");
    [early, late]
}

#[track_caller]
fn nothing_grew([early, late]: [Held; 2], most_kib: u64) {
    assert_eq!(late.threads, early.threads);
    // Connections are kept for a while, but no invocation adds one.
    assert!(late.descriptors <= early.descriptors + 20, "{late:?}");
    let grown = late.resident_kib.saturating_sub(early.resident_kib);
    assert!(grown <= most_kib, "{grown} KiB: {early:?} {late:?}");
}

#[tokio::test]
async fn consecutive_invocations_leave_nothing_open() {
    nothing_grew(serve(200, None).await, 64 * 1024);
}

#[tokio::test]
#[ignore = "takes a minute; see the head of main.rs"]
async fn ten_thousand_invocations_do_not_grow_the_process() {
    // The smallest block of glibc's heap has 32 bytes: one block for every second invocation is too
    // much.
    nothing_grew(serve(10_000, Some(ONE_TRACE)).await, 128);
}

#[tokio::test]
#[ignore = "takes a minute; see the head of main.rs"]
async fn ten_thousand_trace_ids_leave_only_what_glibc_keeps() {
    let invocations = 10_000;
    let counted = invocations - invocations / 10;
    let kept = (counted * KEPT_OF_A_TRACE).div_ceil(1024);
    let held = serve(invocations, None).await;
    // Blocks that stay leave gaps in the heap.
    nothing_grew(held, kept as u64 + 256);
}

#[tokio::test]
#[ignore = "takes half a minute; see the head of main.rs"]
async fn memory_does_not_grow_with_listed_or_cancelled_environments() {
    for (listed, cancelled) in [(100, 10), (10_000, 10), (1_000, 1_000), (10_000, 1_000)] {
        let world = (0..listed)
            .map(|number| {
                let name = format!("net-{number:05}");
                if number * cancelled % listed < cancelled {
                    quick(name)
                } else {
                    Environment::new(name)
                }
            })
            .fold(World::new(), World::with);
        let function = Function::start(world).await;
        // The function has started once it has responded.
        let _ = function.invoke(&json!({})).await;
        let before = function.held();
        let begun = Instant::now();
        let summary = function.summary(&schedule()).await;
        let took = begun.elapsed();
        assert_eq!(summary["listed"], listed);
        assert_eq!(summary["inProgress"], cancelled);
        assert_eq!(function.aws.local.events().len(), cancelled);
        let after = function.held();
        println!(
            "{listed} listed, {cancelled} cancelled in {took:.1?}: {} KiB at rest, {} KiB at the most",
            before.resident_kib, after.peak_kib
        );
        assert!(after.peak_kib < 128 * 1024, "{after:?}");
    }
}

/// The maximum of resident memory with large payloads and many events, well below the template's
/// 256 MB.
const MOST_KIB: u64 = 160 * 1024;

/// Each event repeats the reason of a payload of up to 256 KB.
#[tokio::test]
async fn memory_does_not_grow_with_published_events() {
    let mut peaks = Vec::new();
    for count in [100, 1_000] {
        let world = (0..count)
            .map(|number| quick(format!("net-{number:05}")))
            .fold(World::new(), World::with);
        let function = Function::start_with(world, [("MAX_CANCELLATIONS", "10")]).await;
        let mut alarm = alarm();
        alarm["detail"]["state"]["reason"] = json!("r".repeat(240_000));
        let summary = function.summary(&alarm).await;
        assert_eq!(summary["counts"]["SKIPPED"], count);
        assert_eq!(function.aws.local.events().len(), count);
        let held = function.held();
        println!("{count} events of 240 kB: {held:?}");
        peaks.push(held.peak_kib);
    }
    assert!(peaks.iter().all(|peak| *peak < MOST_KIB), "{peaks:?} KiB");
}
