"""The same job in Python with boto3: a yardstick of the benchmarks.

The script lists the environments, decides, cancels with ten threads, follows what was cancelled,
publishes each outcome, writes metrics and returns a summary. Like AWS's own Python runtime, the
script serves the Lambda Runtime API one event after the other.
"""

import fnmatch
import http.client
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import boto3
from botocore.config import Config

THREADS = 10
SETTLED = {"CANCELLED", "FAILED", "SUCCEEDED"}
LIMIT = int(os.environ.get("MAX_CANCELLATIONS", "10"))
SETTLE_TIMEOUT = float(os.environ.get("SETTLE_TIMEOUT_SECONDS", "600"))

config = Config(max_pool_connections=THREADS, retries={"mode": "standard", "max_attempts": 5})
proton = boto3.client("proton", config=config)
events = boto3.client("events", config=config)


def listed():
    for page in proton.get_paginator("list_environments").paginate(PaginationConfig={"PageSize": 100}):
        yield from page["environments"]


def decide(environment, spoke):
    return (
        environment["deploymentStatus"] == "IN_PROGRESS"
        and fnmatch.fnmatchcase(environment["name"], os.environ.get("ENVIRONMENTS") or "*")
        and environment["lastDeploymentAttemptedAt"] <= spoke
    )


def cancel(environment):
    answer = proton.cancel_environment_deployment(environmentName=environment["name"])
    return answer["environment"]


def entry(environment, event, request_id):
    detail = {
        "version": "1",
        "outcome": environment["deploymentStatus"],
        "message": environment.get("deploymentStatusMessage"),
        "environment": {"name": environment["name"], "arn": environment["arn"]},
        "deployment": {
            "id": environment.get("lastAttemptedDeploymentId"),
            "startedAt": environment["lastDeploymentAttemptedAt"].isoformat(),
            "settledAt": datetime.now(timezone.utc).isoformat(),
        },
        "trigger": {"kind": "alarm", "id": event["id"], "name": event["detail"]["alarmName"]},
        "run": {"requestId": request_id},
    }
    return {
        "Source": "proton-canceller",
        "DetailType": "Environment Deployment Cancellation",
        "Resources": [environment["arn"], *event["resources"]],
        "Detail": json.dumps(detail),
    }


def publish(done, event, request_id):
    entries = [entry(environment, event, request_id) for environment in done]
    for start in range(0, len(entries), 10):
        answer = events.put_events(Entries=entries[start : start + 10])
        if answer["FailedEntryCount"]:
            raise RuntimeError(f"PutEvents failed: {answer['FailedEntryCount']} entries rejected")


def handle(event, request_id):
    state = event["detail"]["state"]
    if state["value"] != "ALARM":
        return {"ignored": f"the state is {state['value']}"}
    spoke = datetime.strptime(state["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z")
    environments = list(listed())
    selected = sorted(
        (environment for environment in environments if decide(environment, spoke)),
        key=lambda environment: environment["lastDeploymentAttemptedAt"],
    )
    if len(selected) > LIMIT:
        return {"listed": len(environments), "skipped": len(selected)}
    with ThreadPoolExecutor(THREADS) as pool:
        accepted = list(pool.map(cancel, selected))
    publish(accepted, event, request_id)
    following = {environment["lastAttemptedDeploymentId"]: environment for environment in accepted}
    outcomes = []
    wait, until = 0.25, time.monotonic() + SETTLE_TIMEOUT
    while following and time.monotonic() < until:
        time.sleep(wait)
        wait = min(wait * 1.5, 10)
        done = []
        for environment in listed():
            deployment = environment.get("lastAttemptedDeploymentId")
            if deployment in following and environment["deploymentStatus"] in SETTLED:
                del following[deployment]
                done.append(environment)
        publish(done, event, request_id)
        outcomes += done
    outcomes += following.values()
    print(json.dumps({"Cancelled": len(outcomes), "requestId": request_id, "_aws": {}}), flush=True)
    return {
        "listed": len(environments),
        "environments": [
            {"name": environment["name"], "outcome": environment["deploymentStatus"]}
            for environment in outcomes
        ],
    }


def serve():
    runtime = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        runtime.request("GET", "/2018-06-01/runtime/invocation/next")
        answer = runtime.getresponse()
        event = json.loads(answer.read())
        request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        body = json.dumps(handle(event, request_id))
        runtime.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", body)
        runtime.getresponse().read()


serve()
