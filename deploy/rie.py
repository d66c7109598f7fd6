#!/usr/bin/env python3
"""Runs the artefact that `sam build` made under Lambda's runtime interface emulator against the local
AWS, with each engine and the settings that the template gives it: once for each sample in `events/`,
once with the schedule's input from the template, and in the variants that need other settings. Checks
what each answers and leaves behind what the later checks read: the calls made, the events published,
the lines logged.

    deploy/rie.py --bootstrap FILE --rie FILE --local-aws FILE --template FILE --out FOLDER
"""

import argparse
import concurrent.futures
import contextlib
import copy
import datetime
import json
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "deploy" / "tests"))
from stack import Stack, transformed  # noqa: E402

PATIENCE = 60
# By engine: its cancel, how its environments are named in the local AWS's own world, and how an alarm ends there.
CANCEL = {"proton": "CancelEnvironmentDeployment", "cloudformation": "CancelUpdateStack"}
NAMED = {"proton": "", "cloudformation": "AWSProton-"}
ENDS = {
    "proton": {"prod-net": "CANCELLED", "prod-data": "FAILED", "stage-net": "SUCCEEDED", "shared-dns": "ERROR"},
    "cloudformation": {
        "prod-net": "CANCELLED",
        "prod-data": "FAILED",
        "dev-data": "SUCCEEDED",
        "stage-net": "CANCELLED",
        "stage-edge": "FAILED",
        "shared-dns": "ERROR",
    },
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?(?:Z|\+0000)")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def process(command, port, environment, log):
    """A process that listens on a port when it is ready; it ends with the block."""
    with open(log, "wb") as output:
        running = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not listen:\n{pathlib.Path(log).read_text()}")
            time.sleep(0.02)
        yield
    finally:
        running.terminate()
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def fetch(address, body=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data=body), timeout=PATIENCE) as reply:
            return json.loads(reply.read() or b"null")
    except urllib.error.HTTPError as error:
        return json.loads(error.read() or b"null")


def a_minute_ago(payload):
    """Moves all times in a payload by the same, so that its latest is a minute ago: the samples are
    older than the deployments in the world, and those started after the alarm spoke."""
    text = payload.decode()

    def read(stamp):
        return datetime.datetime.strptime(re.sub(r"Z$", "+0000", stamp)[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.UTC)

    stamps = TIME.findall(text)
    if not stamps:
        return payload
    move = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1) - max(map(read, stamps))
    return TIME.sub(lambda match: (read(match[0]) + move).strftime("%Y-%m-%dT%H:%M:%S") + match[0][19:], text).encode()


@contextlib.contextmanager
def function(tools, settings, aws, log):
    """The artefact under the emulator, with these settings; gives the address that invokes it."""
    api, rie = free_port(), free_port()
    emulator = [
        tools.rie,
        "--runtime-interface-emulator-address", f"127.0.0.1:{rie}",
        "--runtime-api-address", f"127.0.0.1:{api}",
        tools.bootstrap,
    ]  # fmt: skip
    environment = {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws}",
        "AWS_LAMBDA_FUNCTION_NAME": "proton-canceller",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "900",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_LAMBDA_LOG_LEVEL": "INFO",
        **settings,
    }
    with process(emulator, rie, environment, log):
        yield f"http://127.0.0.1:{rie}/2015-03-31/functions/function/invocations"


# By https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]


def kept(line, level):
    """Whether Lambda keeps a line of JSON: one without a level, or without an RFC 3339 timestamp, counts as INFO."""
    try:
        datetime.datetime.fromisoformat(line["timestamp"])
        own = LEVELS.index(line["level"])
    except (KeyError, TypeError, ValueError):
        own = LEVELS.index("INFO")
    return own >= LEVELS.index(level)


def lines_of(log, level):
    """The lines of a log that reach CloudWatch Logs; the emulator's own are no JSON."""
    for line in log.read_text().splitlines():
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict) and kept(value, level):
                yield value


def message(entry, number):
    """An outcome as EventBridge and SQS hand it to the follower."""
    event = {
        "version": "0",
        "id": f"c2f7f0de-5c0e-4d0b-8c1e-{number:012}",
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": "123456789012",
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "us-east-1",
        "resources": entry.get("Resources", []),
        "detail": json.loads(entry["Detail"]),
    }
    return {
        "messageId": f"2e1424d4-f796-459a-8184-{number:012}",
        "receiptHandle": "AQEB",
        "body": json.dumps(event),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:follow",
        "awsRegion": "us-east-1",
    }


class Run:
    """One event, its world, and what came of it."""

    def __init__(self, engine, name, payload, template, world=None, **settings):
        self.engine, self.name, self.payload, self.world = engine, f"{name}@{engine}", payload, world
        self.kind = name.replace(".", "_").split("_")[0]
        self.follower = template.resources["Follower"]["Properties"]["Environment"]["Variables"]
        own = template.resources["Function"]["Properties"]["Environment"]["Variables"]
        # Nothing follows but where a run's name says so: the run waits itself.
        self.settings = self.follower if self.kind == "follow" else {**own, "SETTLE_TIMEOUT_SECONDS": "60", **settings}
        self.calls, self.calls_to_follow = [], []

    def go(self, tools, folder):
        aws = free_port()
        local = f"http://127.0.0.1:{aws}/_local"
        world = [tools.local_aws, "serve", "--engine", self.engine, "--port", str(aws)]
        if self.world:
            world += ["--world", str(ROOT / self.world)]
        log = folder / "function.log"
        with process(world, aws, {"PATH": "/usr/bin:/bin"}, folder / "aws.log"):
            with function(tools, self.settings, aws, log) as address:
                self.answer = fetch(address, self.payload)
            self.calls = fetch(f"{local}/calls")
            self.events = fetch(f"{local}/events")
            if "followed" in self.name:
                with function(tools, self.follower, aws, folder / "follower.log") as address:
                    self.follow(address)
                self.calls_to_follow = fetch(f"{local}/calls")[len(self.calls) :]
                self.events = fetch(f"{local}/events")
            elif self.kind == "follow":
                self.calls, self.calls_to_follow = [], self.calls
        level = self.settings.get("AWS_LAMBDA_LOG_LEVEL", "INFO")
        self.lines = [line for path in sorted(folder.glob("f*.log")) for line in lines_of(path, level)]
        return self

    def follow(self, address):
        """Hands every cancel that was published to the follower, again and again, until each has its end."""
        entries = [entry for entry in self.events if json.loads(entry["Detail"])["outcome"] == "CANCELLING"]
        waiting = [message(entry, number) for number, entry in enumerate(entries, 1)]
        self.followed = len(waiting)
        deadline = time.monotonic() + PATIENCE
        while waiting:
            assert time.monotonic() < deadline, f"no end of {waiting}"
            record = waiting.pop(0)
            answer = fetch(address, json.dumps({"Records": [record]}).encode())
            again = {"batchItemFailures": [{"itemIdentifier": record["messageId"]}]}
            assert answer in ({"batchItemFailures": []}, again), answer
            if answer == again:
                record["attributes"]["ApproximateReceiveCount"] = str(int(record["attributes"]["ApproximateReceiveCount"]) + 1)
                waiting.append(record)
                time.sleep(0.5)

    def operations(self):
        return [call["operation"] for call in self.calls]

    def called(self, name):
        """What the environment of this name is called where the run is."""
        return NAMED[self.engine] + name

    def outcomes(self):
        return {each["name"]: each["outcome"] for each in self.answer["environments"]}

    def details(self):
        return [json.loads(each["Detail"]) for each in self.events]


def check(run):
    """Whether a run's answer is what its name asks for."""
    kind = run.kind
    cancel = CANCEL[run.engine]
    answer = run.answer
    assert isinstance(answer, dict), answer
    if kind == "refused":
        assert answer.get("errorType") == "UnsupportedPayload", answer
        assert answer["errorMessage"]
        assert run.operations() == []
        return "refused"
    assert "errorType" not in answer, answer
    if kind == "follow":
        assert answer == {"batchItemFailures": []}, answer
        (detail,) = run.details()
        if "without" not in run.name:
            assert (detail["outcome"], detail["id"][31]) == ("CANCELLED", "1"), detail
        return f"followed: {detail['outcome']}"
    if kind == "ignored":
        assert isinstance(answer["ignored"], str) and answer["listed"] == 0
        assert run.operations() == [] and run.events == []
        return f"ignored: {answer['ignored']}"
    assert answer["ignored"] is None
    outcomes = run.outcomes()
    # An end outranks a CANCELLING.
    details = sorted(run.details(), key=lambda each: each["outcome"] != "CANCELLING")
    published = {each["environment"]["name"]: each["outcome"] for each in details}
    reasons = {each["name"]: each["reason"] for each in answer["environments"]}
    if "followed" in run.name:
        assert run.followed > 0 and cancel not in [call["operation"] for call in run.calls_to_follow]
        assert "CANCELLING" in outcomes.values() and "CANCELLING" not in published.values(), published
        outcomes = published
    else:
        assert published == {name: outcome for name, outcome in outcomes.items() if reasons[name] in (None, "OVER_LIMIT")}
    if "dry" in run.name:
        assert answer["dryRun"] is True
        assert cancel not in run.operations()
    if kind == "request":
        assert answer["trigger"]["kind"] == "request"
        asked = set(json.loads(run.payload)["environments"])
        assert outcomes.keys() == asked
        if "reach" in run.name:
            assert set(outcomes.values()) == {"CANCELLED"}
            assert run.operations().count(cancel) == 1
        if "next" in run.name:
            # The service's own word on the update that was cancelled, not on the one that followed.
            assert [each["message"] for each in details if each["outcome"] != "CANCELLING"] == ["User Initiated"], details
            assert "DescribeStackEvents" in run.operations()
    elif kind == "schedule":
        assert answer["trigger"]["kind"] == "schedule"
        assert answer["listed"] > 0
        assert outcomes[run.called("prod-data")] == ("DRY_RUN" if "dry" in run.name else "FAILED"), outcomes
        assert reasons[run.called("prod-net")] == "NOT_STUCK", reasons
    else:
        assert answer["trigger"]["kind"] == "alarm"
        assert answer["listed"] > 0
        assert reasons[run.called("prod-edge")] == "STARTED_AFTER_ALARM"
        if run.engine == "cloudformation":
            # Nobody said which environments: the engine's own default holds.
            assert reasons["billing"] == "NOT_INCLUDED"
        if "limit" in run.name:
            assert "OVER_LIMIT" in reasons.values() and cancel not in run.operations()
        elif "tagged" in run.name:
            assert reasons[run.called("prod-data")] == "NOT_TAGGED"
        elif "dry" in run.name:
            assert outcomes[run.called("prod-net")] == "DRY_RUN"
        else:
            expected = {run.called(name): outcome for name, outcome in ENDS[run.engine].items()}
            assert {name: outcomes[name] for name in expected} == expected
    return ", ".join(f"{count} {outcome}" for outcome, count in answer["counts"].items() if count)


def schedule_input(template):
    """The schedule's input, with what Scheduler fills in."""
    text = template.resources["FunctionSweep"]["Properties"]["Target"]["Input"]
    schedule = "arn:aws:scheduler:us-east-1:123456789012:schedule/proton-canceller-SweepGroup/sweep"
    text = text.replace("<aws.scheduler.schedule-arn>", schedule)
    return text.replace("<aws.scheduler.scheduled-time>", "2026-11-23T06:45:00Z").encode()


def without_an_id(payload):
    """A message of a deployment that the service gave no id."""
    payload = copy.deepcopy(payload)
    (record,) = payload["Records"]
    event = json.loads(record["body"])
    event["detail"]["deployment"]["id"] = None
    record["body"] = json.dumps(event)
    return json.dumps(payload).encode()


def known_settings(tools, template):
    """Every variable in the template is one that the binary reads: given a bad value, it names it."""
    written = template.resources["Function"]["Properties"]["Environment"]["Variables"]
    bad = {name: "[" for name in written}
    started = subprocess.run([tools.bootstrap], env=bad, capture_output=True, text=True, timeout=PATIENCE)
    complaint = started.stdout + started.stderr
    assert started.returncode != 0, "it starts with bad settings"
    unknown = [name for name in written if f"{name} is `[`" not in complaint]
    assert not unknown, f"the binary does not read {unknown}:\n{complaint}"
    return f"all {len(written)} variables of the template are read"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bootstrap", "rie", "local-aws", "template", "out"):
        parser.add_argument(f"--{name}", required=True)
    tools = parser.parse_args()
    built = transformed(tools.template)
    alarm = (ROOT / "events" / "alarm.json").read_bytes()
    runs = []
    follow = json.loads((ROOT / "events" / "follow.json").read_text())
    for engine in CANCEL:
        template = Stack(built, AlarmNamePrefix="prod-", Engine=engine, DryRun="false")
        within_reach = json.dumps({"environments": [NAMED[engine] + "prod-net"]}).encode()
        payloads = {path.name: path.read_bytes() for path in sorted((ROOT / "events").iterdir()) if path.suffix != ".md"}
        payloads |= {"schedule_of_the_template": schedule_input(template), "request_within_reach": within_reach}
        if engine == "proton":
            payloads["follow_without_an_id"] = without_an_id(follow)
        else:
            # It names an environment of the other engine.
            payloads["refused_follow.json"] = payloads.pop("follow.json")
        runs += [Run(engine, name, payload, template) for name, payload in payloads.items()]
        runs += [
            Run(engine, "alarm_over_the_limit", alarm, template, MAX_CANCELLATIONS="1"),
            Run(engine, "alarm_tagged", alarm, template, ALARM_SCOPE="tagged"),
            Run(engine, "alarm_dry", alarm, template, DRY_RUN="true"),
            Run(engine, "alarm_at_warn", alarm, template, AWS_LAMBDA_LOG_LEVEL="WARN"),
            Run(engine, "alarm_followed", alarm, template, SETTLE_TIMEOUT_SECONDS="0"),
            Run(engine, "schedule_dry", schedule_input(template), template, DRY_RUN="true"),
        ]
        if engine == "cloudformation":
            runs.append(Run(engine, "request_within_reach_and_the_next_update", within_reach, template, "deploy/second-update.toml"))
    for run in runs:
        if run.kind not in ("refused", "follow"):
            run.payload = a_minute_ago(run.payload)
    failed = 0
    print(f"passed {'settings':<50} {known_settings(tools, template)}")
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(4) as pool:

        def go(run):
            place = pathlib.Path(folder) / run.name
            place.mkdir()
            try:
                return check(run.go(tools, place)), None
            except Exception as error:  # Each run stands for itself; all are shown.
                logs = "\n".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(place.iterdir()))
                return None, f"{type(error).__name__}: {error}\n{getattr(run, 'answer', None)}\n{logs}"

        for run, (said, wrong) in zip(runs, pool.map(go, runs), strict=True):
            failed += wrong is not None
            print(f"{'FAILED' if wrong else 'passed'} {run.name:<50} {said or wrong}", flush=True)
    out = pathlib.Path(tools.out)
    out.mkdir(parents=True, exist_ok=True)
    done = [run for run in runs if hasattr(run, "lines")]
    calls = [(run.name, call) for run in done for call in run.calls]
    calls += [(f"follow of {run.name}", call) for run in done for call in run.calls_to_follow]
    lines = [{"run": name, "service": call["service"], "operation": call["operation"]} for name, call in calls]
    (out / "calls.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (out / "published.json").write_text(json.dumps([detail for run in done for detail in run.details()]))
    (out / "logs.json").write_text(json.dumps({run.name: run.lines for run in done}))
    print(f"{len(runs) + 1 - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
