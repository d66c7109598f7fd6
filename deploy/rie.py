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


class Run:
    """One event, its world, and what came of it."""

    def __init__(self, engine, name, payload, template, world=None, **settings):
        self.engine, self.name, self.payload, self.world = engine, f"{name}@{engine}", payload, world
        self.settings = {**template.resources["Function"]["Properties"]["Environment"]["Variables"], **settings}

    def go(self, tools, folder):
        aws, api, rie = free_port(), free_port(), free_port()
        world = [tools.local_aws, "serve", "--engine", self.engine, "--port", str(aws)]
        if self.world:
            world += ["--world", str(ROOT / self.world)]
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
            **self.settings,
        }
        log = folder / "function.log"
        with process(world, aws, {"PATH": "/usr/bin:/bin"}, folder / "aws.log"), process(emulator, rie, environment, log):
            self.answer = fetch(f"http://127.0.0.1:{rie}/2015-03-31/functions/function/invocations", self.payload)
            self.calls = fetch(f"http://127.0.0.1:{aws}/_local/calls")
            self.events = fetch(f"http://127.0.0.1:{aws}/_local/events")
        self.lines = []
        for line in log.read_text().splitlines():
            # The emulator's own lines are no JSON.
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict):
                    self.lines.append(value)
        return self

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
    kind = run.name.replace(".", "_").split("_")[0]
    cancel = CANCEL[run.engine]
    answer = run.answer
    assert isinstance(answer, dict), answer
    if kind == "refused":
        assert answer.get("errorType") == "UnsupportedPayload", answer
        assert answer["errorMessage"]
        assert run.operations() == []
        return "refused"
    assert "errorType" not in answer, answer
    if kind == "ignored":
        assert isinstance(answer["ignored"], str) and answer["listed"] == 0
        assert run.operations() == [] and run.events == []
        return f"ignored: {answer['ignored']}"
    assert answer["ignored"] is None
    outcomes = run.outcomes()
    published = {each["environment"]["name"]: each["outcome"] for each in run.details()}
    reasons = {each["name"]: each["reason"] for each in answer["environments"]}
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
            assert [each["message"] for each in run.details()] == ["User Initiated"], run.details()
            assert "DescribeStackEvents" in run.operations()
    elif kind == "schedule":
        assert answer["trigger"]["kind"] == "schedule"
        assert answer["listed"] > 0
        assert outcomes[run.called("prod-data")] == "FAILED", outcomes
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
    for engine in CANCEL:
        template = Stack(built, AlarmNamePrefix="prod-", Engine=engine)
        within_reach = json.dumps({"environments": [NAMED[engine] + "prod-net"]}).encode()
        payloads = {path.name: path.read_bytes() for path in sorted((ROOT / "events").iterdir()) if path.suffix != ".md"}
        payloads |= {"schedule_of_the_template": schedule_input(template), "request_within_reach": within_reach}
        runs += [Run(engine, name, payload, template) for name, payload in payloads.items()]
        runs += [
            Run(engine, "alarm_over_the_limit", alarm, template, MAX_CANCELLATIONS="1"),
            Run(engine, "alarm_tagged", alarm, template, ALARM_SCOPE="tagged"),
            Run(engine, "alarm_dry", alarm, template, DRY_RUN="true"),
        ]
        if engine == "cloudformation":
            runs.append(Run(engine, "request_within_reach_and_the_next_update", within_reach, template, "deploy/second-update.toml"))
    for run in runs:
        if not run.name.startswith("refused"):
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
    calls = [call for run in done for call in run.calls]
    (out / "calls.jsonl").write_text("".join(json.dumps({"service": c["service"], "operation": c["operation"]}) + "\n" for c in calls))
    (out / "published.json").write_text(json.dumps([detail for run in done for detail in run.details()]))
    (out / "logs.json").write_text(json.dumps({run.name: run.lines for run in done}))
    print(f"{len(runs) + 1 - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
