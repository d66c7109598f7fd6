//! What the process holds: resident memory, threads and descriptors, as Linux tells them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use local_aws::{
    Clock, Deployment, Ending, Environment, FunctionProcess, Invocation, InvocationResult,
    LocalAws, Server, World,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A trace that several invocations may belong to.
const ONE_TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0";

/// What glibc keeps of each trace's id ("Memory" in `docs/reliability.md`): the variable's
/// name, `=`, the 50 bytes that the local AWS gives and the end take 80 bytes of its heap, the place
/// in its tree 32.
const KEPT_OF_A_TRACE: usize = 80 + 32;

/// An environment whose deployment is cancelled at once.
fn quick(name: String) -> Environment {
    let cancellation = Ending::cancelled().rollback(Duration::ZERO);
    Environment::new(name).deployment(Deployment::in_progress().when_cancelled(cancellation))
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    resident_kib: u64,
    peak_kib: u64,
    threads: u64,
    descriptors: usize,
}

/// The function's process in a world.
struct Function {
    local: LocalAws,
    process: FunctionProcess,
    /// The trace of all its invocations; without one, each has its own.
    trace_id: Option<String>,
    /// It serves for as long as it is held.
    _server: Server,
}

impl Function {
    async fn start(world: World) -> Self {
        Self::start_with(world, []).await
    }

    /// With more variables of its environment.
    async fn start_with<const N: usize>(world: World, more: [(&str, &str); N]) -> Self {
        let local = LocalAws::new(world, Clock::system());
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let server = local.serve(listener);
        let variables = [
            ("MAX_CANCELLATIONS", "100000"),
            ("SETTLE_TIMEOUT_SECONDS", "0"),
            ("STUCK_AFTER_MINUTES", "0"),
            ("CONCURRENCY", "20"),
            ("AWS_LAMBDA_LOG_LEVEL", "ERROR"),
        ];
        let variables = variables
            .into_iter()
            .chain(more)
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let given = std::env::var("PROTON_CANCELLER_FUNCTION");
        let program = given.as_deref();
        let program = program.unwrap_or(env!("CARGO_BIN_EXE_proton-canceller"));
        let process = FunctionProcess::start(program, &server, variables).unwrap();
        Self {
            local,
            process,
            trace_id: None,
            _server: server,
        }
    }

    async fn invoke(&self, payload: &Value) -> InvocationResult {
        let payload = Bytes::from(payload.to_string());
        let invocation = Invocation {
            trace_id: self.trace_id.clone(),
            ..Invocation::default()
        };
        self.local.invoke(payload, invocation).await
    }

    async fn summary(&self, payload: &Value) -> Value {
        match self.invoke(payload).await {
            InvocationResult::Response(body) => serde_json::from_slice(&body).unwrap(),
            failure @ InvocationResult::Error { .. } => panic!("{failure:?}"),
        }
    }

    fn held(&self) -> Held {
        let process = format!("/proc/{}", self.process.id().expect("it runs"));
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

/// Serves so many invocations in a row: nine of ten cancel, follow and publish, the others are
/// refused or ignored. They are of one trace, or each of its own. Tells what the process held after
/// the first tenth, and at the end.
async fn serve(invocations: usize, trace_id: Option<&str>) -> [Held; 2] {
    let world = (0..invocations)
        .map(|number| quick(format!("net-{number:05}")))
        .fold(World::new(), World::with);
    let mut function = Function::start(world).await;
    function.trace_id = trace_id.map(str::to_owned);
    let ignored: Value = {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/events/ignored_alarm_ok.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
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
                let summary = function.summary(&json!({ "environments": [name] })).await;
                let ends = &summary["counts"];
                let done = ends["CANCELLED"] == 1 || ends["CANCELLING"] == 1;
                assert!(done, "{summary}");
            }
        }
        if number + 1 == invocations / 10 {
            early = Some(function.held());
        }
    }
    let [early, late] = [early.expect("there are tens of them"), function.held()];
    println!("{invocations} invocations in {:.1?}", begun.elapsed());
    println!("after a tenth of them: {early:?}");
    println!("after the last of them: {late:?}");
    [early, late]
}

#[track_caller]
fn nothing_grew([early, late]: [Held; 2], most_kib: u64) {
    assert_eq!(late.threads, early.threads);
    // Connections are kept for a while; each invocation adds none.
    assert!(late.descriptors <= early.descriptors + 20, "{late:?}");
    let grown = late.resident_kib.saturating_sub(early.resident_kib);
    assert!(grown <= most_kib, "{grown} KiB: {early:?} {late:?}");
}

#[tokio::test]
async fn invocations_in_a_row_leave_nothing_open() {
    nothing_grew(serve(200, None).await, 64 * 1024);
}

#[tokio::test]
#[ignore = "takes a minute; see the head of main.rs"]
async fn ten_thousand_invocations_in_a_row_grow_nothing() {
    // The smallest piece of glibc's heap has 32 bytes: one left by every second of them is too much.
    nothing_grew(serve(10_000, Some(ONE_TRACE)).await, 128);
}

#[tokio::test]
#[ignore = "takes a minute; see the head of main.rs"]
async fn ten_thousand_traces_leave_no_more_than_the_c_library_keeps() {
    let invocations = 10_000;
    let counted = invocations - invocations / 10;
    let kept = (counted * KEPT_OF_A_TRACE).div_ceil(1024);
    let held = serve(invocations, None).await;
    // What stays lies between what goes, which leaves gaps.
    nothing_grew(held, kept as u64 + 256);
}

#[tokio::test]
#[ignore = "takes half a minute; see the head of main.rs"]
async fn memory_stays_flat_in_what_is_listed_and_cancelled() {
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
        // It has started when it has answered.
        let _ = function.invoke(&json!({})).await;
        let before = function.held();
        let begun = Instant::now();
        let schedule = json!({"detail-type": "Scheduled Event", "source": "aws.scheduler"});
        let summary = function.summary(&schedule).await;
        let took = begun.elapsed();
        assert_eq!(summary["listed"], listed);
        assert_eq!(summary["inProgress"], cancelled);
        assert_eq!(function.local.events().len(), cancelled);
        let after = function.held();
        println!(
            "{listed} listed, {cancelled} cancelled in {took:.1?}: {} KiB at rest, {} KiB at the most",
            before.resident_kib, after.peak_kib
        );
        assert!(after.peak_kib < 128 * 1024, "{after:?}");
    }
}

/// The most that the function may hold, whatever it is told and has to tell: well below the 256 MB
/// that the template gives it.
const MOST_KIB: u64 = 160 * 1024;

/// A payload may have 256 KB, which each event repeats.
#[tokio::test]
async fn memory_stays_flat_in_what_is_published() {
    let mut peaks = Vec::new();
    for count in [100, 1_000] {
        let world = (0..count)
            .map(|number| quick(format!("net-{number:05}")))
            .fold(World::new(), World::with);
        let function = Function::start_with(world, [("MAX_CANCELLATIONS", "10")]).await;
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/events/alarm.json");
        let mut alarm: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        alarm["time"] = json!("2100-01-01T00:00:00Z");
        alarm["detail"]["state"]["timestamp"] = json!("2100-01-01T00:00:00.000+0000");
        alarm["detail"]["state"]["reason"] = json!("r".repeat(240_000));
        let summary = function.summary(&alarm).await;
        assert_eq!(summary["counts"]["SKIPPED"], count);
        assert_eq!(function.local.events().len(), count);
        let held = function.held();
        println!("{count} events of 240 kB: {held:?}");
        peaks.push(held.peak_kib);
    }
    assert!(peaks.iter().all(|peak| *peak < MOST_KIB), "{peaks:?} KiB");
}
