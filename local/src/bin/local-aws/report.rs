//! The report of a trial: text for a person, JSON for a script.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use anstyle::{AnsiColor, Style};
use local_aws::{Call, Event, InvocationResult, Stream, rfc3339};
use serde_json::{Value, json};

use crate::arguments::Engine;
use crate::trial::Trial;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Returns the report for a person. Colours are escape sequences; the printer keeps or strips them.
pub(crate) fn text(trial: &Trial) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_text(&mut text, trial);
    text
}

fn write_text(out: &mut String, trial: &Trial) -> std::fmt::Result {
    write_event(out, trial)?;
    write_standings(out, trial)?;
    match &trial.result {
        InvocationResult::Response(body) => write_answer(out, trial.engine, body)?,
        InvocationResult::Error {
            error_type,
            error_message,
            ..
        } => {
            let red = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();
            heading(out, "What was decided")?;
            writeln!(out, "  {red}the invocation failed: {error_type}{red:#}")?;
            for line in error_message.lines() {
                writeln!(out, "  {line}")?;
            }
            write_errors(out, trial)?;
        }
    }
    write_events(out, trial)
}

fn heading(out: &mut String, title: &str) -> std::fmt::Result {
    writeln!(out, "\n{BOLD}{title}{BOLD:#}")
}

fn write_event(out: &mut String, trial: &Trial) -> std::fmt::Result {
    writeln!(out, "{BOLD}Event{BOLD:#} {}", trial.event.display())?;
    match &trial.moved {
        Some(moved) => writeln!(
            out,
            "  {DIM}its times are moved, all by the same, so that it happened at {}, a minute before this run; --as-is leaves them{DIM:#}",
            moved.to.format("%H:%M:%S")
        ),
        None => writeln!(out, "  {DIM}handed over as it is{DIM:#}"),
    }
}

fn write_standings(out: &mut String, trial: &Trial) -> std::fmt::Result {
    const LEAST_STATUS: usize = 18;
    let (title, message) = match trial.engine {
        Engine::Proton => ("Environments before and after", "message"),
        Engine::CloudFormation => ("Stacks before and after", "status reason"),
    };
    heading(out, title)?;
    let statuses = trial.before.iter().chain(&trial.after);
    let wide = column(statuses.map(|standing| standing.status.len())).max(LEAST_STATUS);
    let width = column(
        trial
            .before
            .iter()
            .map(|environment| environment.name.len()),
    );
    writeln!(
        out,
        "  {DIM}{:width$}  {:wide$}  {:wide$}  {:>12}  {message}{DIM:#}",
        "", "before", "after", "started"
    )?;
    for before in &trial.before {
        let after = trial.after.iter().find(|after| after.name == before.name);
        let started = ago(trial.started, before.started_at);
        write!(out, "  {:width$}  ", before.name)?;
        status(out, before.status, wide)?;
        status(out, after.map_or("gone", |after| after.status), wide)?;
        let message = after.and_then(|after| after.message.as_deref());
        writeln!(
            out,
            "{started:>12}  {}",
            shortened(message.unwrap_or_default())
        )?;
    }
    Ok(())
}

fn status(out: &mut String, status: &str, wide: usize) -> std::fmt::Result {
    let style = colour(status);
    write!(out, "{style}{status:wide$}{style:#}  ")
}

fn write_answer(out: &mut String, engine: Engine, body: &[u8]) -> std::fmt::Result {
    heading(out, "What was decided, and why")?;
    let Ok(summary) = serde_json::from_slice::<Value>(body) else {
        return writeln!(out, "  {}", String::from_utf8_lossy(body));
    };
    write_trigger(out, &summary)?;
    if let Some(ignored) = summary.get("ignored").and_then(Value::as_str) {
        return writeln!(out, "  nothing was done: {ignored}");
    }
    let count = |name: &str| {
        summary
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    let dry = match summary.get("dryRun") {
        Some(Value::Bool(true)) => "; a dry run, nothing was cancelled",
        Some(_) | None => "",
    };
    writeln!(
        out,
        "  {} listed, {} in progress, {} already cancelling{dry}\n",
        count("listed"),
        count("inProgress"),
        count("alreadyCancelling")
    )?;
    let decided = summary.get("environments").and_then(Value::as_array);
    let decided = decided.map(Vec::as_slice).unwrap_or_default();
    if decided.is_empty() {
        return writeln!(out, "  no environment was a candidate");
    }
    let width = column(
        decided
            .iter()
            .map(|decided| text_at(decided, "/name").len()),
    );
    for decided in decided {
        let outcome = text_at(decided, "/outcome");
        let style = colour(outcome);
        writeln!(
            out,
            "  {:width$}  {style}{outcome:10}{style:#}  {}",
            text_at(decided, "/name"),
            why(decided, engine)
        )?;
    }
    Ok(())
}

fn write_trigger(out: &mut String, summary: &Value) -> std::fmt::Result {
    let [kind, name, reason] =
        ["kind", "name", "reason"].map(|member| text_at(summary, &format!("/trigger/{member}")));
    if kind.is_empty() {
        return Ok(());
    }
    write!(out, "  {kind}")?;
    if !name.is_empty() {
        write!(out, " `{name}`")?;
    }
    if !reason.is_empty() {
        write!(out, ": {}", shortened(reason))?;
    }
    writeln!(out)
}

/// Returns why an environment of the function's summary has its outcome.
fn why(decided: &Value, engine: Engine) -> String {
    let reason = text_at(decided, "/reason");
    match (reason, text_at(decided, "/outcome")) {
        ("", "ERROR") => format!(
            "{}: {}",
            text_at(decided, "/error/code"),
            shortened(text_at(decided, "/error/message"))
        ),
        ("", "CANCELLED") => match engine {
            Engine::Proton => "the deployment was cancelled",
            Engine::CloudFormation => "the update was rolled back",
        }
        .to_owned(),
        ("", "FAILED") => match engine {
            Engine::Proton => "cancelled, but the deployment failed",
            Engine::CloudFormation => "the update failed and was not rolled back",
        }
        .to_owned(),
        ("", "SUCCEEDED") => "the update finished before the cancel".to_owned(),
        ("", "CANCELLING") => "the cancel was accepted; the run did not see the end".to_owned(),
        ("", "DRY_RUN") => "would have been cancelled".to_owned(),
        (reason, _) => match explanation(reason) {
            Some(explanation) => format!("{reason}: {explanation}"),
            None => reason.to_owned(),
        },
    }
}

fn explanation(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "PROTECTED" => "its name matches PROTECTED_ENVIRONMENTS",
        "NOT_INCLUDED" => "its name matches no glob of ENVIRONMENTS",
        "NOT_IN_PROGRESS" => "it has no deployment in progress",
        "STARTED_AFTER_ALARM" => "the deployment started after the alarm fired and may be the fix",
        "NOT_TAGGED" => "its tag names no glob that matches the alarm",
        "NOT_STUCK" => "the deployment has not been running for long enough",
        "OVER_LIMIT" => "more were selected than MAX_CANCELLATIONS allows",
        "START_UNKNOWN" => "the service does not say when the deployment started",
        _ => return None,
    })
}

fn write_events(out: &mut String, trial: &Trial) -> std::fmt::Result {
    heading(out, "Events published")?;
    if trial.events.is_empty() {
        return writeln!(out, "  none");
    }
    let events = trial.events.iter();
    let details: Vec<_> = events
        .map(|event| (event, from_json(event.detail.as_bytes())))
        .collect();
    let width = column(details.iter().map(|(_, detail)| name_of(detail).len()));
    for (event, detail) in &details {
        let time = rfc3339(event.time);
        let time = time.get(11..23).unwrap_or_default();
        let outcome = text_at(detail, "/outcome");
        let said = text_at(detail, "/message");
        let error = text_at(detail, "/error/message");
        let message = match (trial.engine, outcome) {
            // A stack has a status reason while it is in progress, too.
            (Engine::CloudFormation, "ERROR") => error,
            _ if said.is_empty() => error,
            _ => said,
        };
        let style = colour(outcome);
        writeln!(
            out,
            "  {DIM}{time}{DIM:#}  {:width$}  {style}{outcome:10}{style:#}  {}",
            name_of(detail),
            shortened(message)
        )?;
    }
    if let Some(followed) = &trial.followed {
        writeln!(
            out,
            "  {DIM}the follower published the ends, after {} reads, one every {} s; when deployed, every 90 s{DIM:#}",
            followed.deliveries,
            followed.every.as_secs()
        )?;
    }
    Ok(())
}

fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn name_of(detail: &Value) -> &str {
    text_at(detail, "/environment/name")
}

/// Writes the last lines of a function that failed: they may have the reason.
fn write_errors(out: &mut String, trial: &Trial) -> std::fmt::Result {
    const MOST: usize = 20;
    let skipped = trial.lines.len().saturating_sub(MOST);
    for line in trial.lines.iter().skip(skipped) {
        writeln!(out, "  {DIM}| {}{DIM:#}", line.text)?;
    }
    Ok(())
}

fn colour(word: &str) -> Style {
    let colour = match word {
        "CANCELLED" | "SUCCEEDED" | "UPDATE_COMPLETE" | "UPDATE_ROLLBACK_COMPLETE" => {
            AnsiColor::Green
        }
        "FAILED" | "ERROR" | "DELETE_FAILED" | "UPDATE_FAILED" | "UPDATE_ROLLBACK_FAILED" => {
            AnsiColor::Red
        }
        "IN_PROGRESS"
        | "CANCELLING"
        | "UPDATE_IN_PROGRESS"
        | "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
        | "UPDATE_ROLLBACK_IN_PROGRESS"
        | "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS" => AnsiColor::Yellow,
        _ => return Style::new(),
    };
    Style::new().fg_color(Some(colour.into()))
}

fn column(widths: impl Iterator<Item = usize>) -> usize {
    widths.max().unwrap_or_default()
}

/// Returns the first line of a text, cut if it is long.
fn shortened(text: &str) -> String {
    const MOST: usize = 100;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or(line)),
        None => line.to_owned(),
    }
}

fn ago(now: SystemTime, then: SystemTime) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let (distance, suffix) = match now.duration_since(then) {
        Ok(distance) => (distance, " ago"),
        Err(error) => (error.duration(), " on"),
    };
    let seconds = Duration::as_secs(&distance);
    let text = match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..DAY => format!("{} h", seconds / HOUR),
        DAY.. => format!("{} d", seconds / DAY),
    };
    text + suffix
}

/// Returns the report for a script: one document.
pub(crate) fn json(trial: &Trial) -> Value {
    let (answer, error) = match &trial.result {
        InvocationResult::Response(body) => (from_json(body), Value::Null),
        InvocationResult::Error {
            error_type,
            error_message,
            raw,
        } => (
            Value::Null,
            json!({ "errorType": error_type, "errorMessage": error_message, "raw": from_json(raw) }),
        ),
    };
    json!({
        "event": {
            "file": trial.event.display().to_string(),
            "movedBySeconds": trial.moved.as_ref().map(|moved| moved.by.num_seconds()),
        },
        "before": trial.before.iter().map(|one| &one.json).collect::<Vec<_>>(),
        "after": trial.after.iter().map(|one| &one.json).collect::<Vec<_>>(),
        "answer": answer,
        "followerReads": trial.followed.map(|followed| followed.deliveries),
        "error": error,
        "events": trial.events.iter().map(event).collect::<Vec<_>>(),
        "calls": trial.calls.iter().map(Call::to_json).collect::<Vec<_>>(),
        "log": trial.lines.iter().map(|line| json!({
            "stream": match line.stream { Stream::Stdout => "stdout", Stream::Stderr => "stderr" },
            "text": line.text,
        })).collect::<Vec<_>>(),
    })
}

/// Returns the JSON of these bytes, or else their text.
fn from_json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(bytes).into_owned()))
}

/// Returns an event with its detail as JSON.
fn event(event: &Event) -> Value {
    let mut json = event.to_json();
    if let Some(detail) = json.get_mut("Detail") {
        *detail = from_json(event.detail.as_bytes());
    }
    json
}
