"""The template as a whole: what outlives it, what it excuses, what it tells."""

import functools
import html
import json
import os
import re
import shutil
import subprocess

import botocore.session
import pytest
from stack import ROOT, Stack


def test_what_is_kept_and_what_goes_is_decided(transformed):
    kept = {name for name, each in transformed["Resources"].items() if each.get("DeletionPolicy", "Delete") != "Delete"}
    assert kept == {"LogGroup"}
    for name, each in transformed["Resources"].items():
        if each["Type"] in ("AWS::SQS::Queue", "AWS::KMS::Key", "AWS::Logs::LogGroup"):
            assert {"DeletionPolicy", "UpdateReplacePolicy"} <= each.keys(), name


def test_every_suppression_has_a_reason(template):
    """And stands where a reader of the resource sees it."""
    suppressed = [
        (name, skip)
        for name, each in template["Resources"].items()
        for skip in each.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]
    assert suppressed
    for name, skip in suppressed:
        assert len(skip["comment"]) > 60, (name, skip["id"])
    assert not [name for name, each in template["Resources"].items() if "cfn-lint" in each.get("Metadata", {})]


def test_the_repository_metadata_is_what_the_service_takes(template):
    """By the words of the Serverless Application Repository's own model."""
    metadata = template["Metadata"]["AWS::ServerlessRepo::Application"]
    for name in ("LicenseUrl", "ReadmeUrl"):
        assert (ROOT / metadata[name]).is_file()
    assert f'version = "{metadata["SemanticVersion"]}"' in (ROOT / "Cargo.toml").read_text()
    model = botocore.session.get_session().get_service_model("serverlessrepo")
    members = model.shape_for("CreateApplicationRequest").members
    for name in ("Author", "Description", "Labels", "Name"):
        said = html.unescape(members[name].documentation)
        longest = int(re.search(r"Maximum length=(\d+)", said, re.I)[1])
        pattern = re.search(r"Pattern:? \"(.+?)\"", said)
        # The model escapes some backslashes twice.
        pattern = re.compile(re.sub(r"\\+", r"\\", pattern[1]) if pattern else ".*")
        for value in [metadata[name]] if isinstance(metadata[name], str) else metadata[name]:
            assert 1 <= len(value) <= longest, name
            assert pattern.fullmatch(value), (name, value)
    assert len(metadata["Labels"]) <= int(re.search(r"Maximum number of labels: (\d+)", members["Labels"].documentation)[1])


def test_the_outputs_are_there_in_every_shape(any_stack):
    always = {
        "FunctionName", "FunctionArn", "LogGroupName", "AlarmRuleName", "DashboardUrl", "UndeliveredQueueUrl",
        "UndoneQueueUrl", "TurnOffNow", "TurnOnAgain", "SendUndoneAgain", "TestOwnAlarms",
    }  # fmt: skip
    of_the_follower = {"FollowerName", "UnfollowedQueueUrl", "FollowAgain"} if "Follower" in any_stack.resources else set()
    assert always | of_the_follower <= any_stack.outputs.keys() <= always | of_the_follower | {"NotificationTopicArn"}
    assert any_stack.outputs["TurnOffNow"].endswith("--function-name Function-name --reserved-concurrent-executions 0")


@pytest.mark.parametrize(
    ("partition", "region", "console"),
    [
        ("aws", "eu-west-1", "eu-west-1.console.aws.amazon.com"),
        # https://docs.aws.amazon.com/govcloud-us/latest/UserGuide/getting-started-sign-in.html
        ("aws-us-gov", "us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
        # https://docs.amazonaws.cn/en_us/aws/latest/userguide/getting-started.html
        ("aws-cn", "cn-north-1", "cn-north-1.console.amazonaws.cn"),
    ],
)
def test_the_dashboard_is_found_in_every_partition(transformed, partition, region, console):
    made = Stack(transformed, {"AWS::Partition": partition, "AWS::Region": region}, Engine="proton", AlarmNamePrefix="p")
    address = made.outputs["DashboardUrl"]
    assert address == f"https://{console}/cloudwatch/home?region={region}#dashboards:name=proton-canceller-{region}"


def test_a_second_region_has_a_dashboard_of_its_own(transformed):
    """They are global to an account: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-cloudwatch-dashboard.html"""
    names = {
        Stack(transformed, {"AWS::Region": region}, Engine="proton", AlarmNamePrefix="p").resources["Dashboard"]["Properties"]["DashboardName"]
        for region in ("us-east-1", "eu-west-1")
    }
    assert len(names) == 2 and all(re.fullmatch(r"[0-9A-Za-z_\-]{1,255}", name) for name in names)


@pytest.mark.skipif(shutil.which("jq") is None, reason="the command needs jq, as it does where people run it")
def test_the_command_for_undone_events_sends_the_event_and_not_the_record(stack, tmp_path):
    """The record: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"""
    event = json.loads((ROOT / "events" / "alarm.json").read_text())
    event["detail"]["state"]["reason"] = "it's \"quoted\" \\ and\nlong"
    record = {
        "version": "1.0",
        "timestamp": "2026-11-23T06:50:12.321Z",
        "requestContext": {"requestId": "1", "functionArn": "arn", "condition": "RetriesExhausted", "approximateInvokeCount": 3},
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorType": "ListFailed", "errorMessage": "no"},
    }
    (tmp_path / "body").write_text(json.dumps(record))
    aws = tmp_path / "aws"
    aws.write_text('#!/bin/sh\ncase "$1 $2" in\n"sqs receive-message") cat body ;;\n"lambda invoke") echo "$@" >invoked ;;\n*) exit 9 ;;\nesac\n')
    aws.chmod(0o755)
    command = stack().outputs["SendUndoneAgain"]
    run = functools.partial(subprocess.run, command, shell=True, cwd=tmp_path, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    run(check=True)
    assert json.loads((tmp_path / "event.json").read_text()) == event
    assert "--function-name Function-name --invocation-type Event" in (tmp_path / "invoked").read_text()
    (tmp_path / "invoked").unlink()
    # The queue is empty.
    (tmp_path / "body").write_text("None\n")
    assert run(capture_output=True).returncode != 0
    assert not (tmp_path / "invoked").exists()


def test_nothing_promises_that_events_wait_while_it_is_turned_off(template):
    """With a reserved concurrency of 0 they go to the destination at once, without retries:
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-configuring.html"""
    for name in ("TurnOffNow", "TurnOnAgain"):
        assert "undone queue" in template["Outputs"][name]["Description"], name
    for name in ("UndoneAlarm", "ThrottlesAlarm"):
        assert "reserved concurrency of 0" in template["Resources"][name]["Properties"]["AlarmDescription"].replace("\n", " "), name
    for page in [ROOT / "template.yaml", *(ROOT / "docs").glob("*.md")]:
        assert not re.search(r"wait (for )?up to an hour", page.read_text()), page


def test_the_template_is_what_cloudformation_reads_and_grows_by_the_follower_only(template):
    """No aliases: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-formats.html"""
    text = (ROOT / "template.yaml").read_text()
    assert not re.search(r"(: |- |<<: *)[&*][A-Za-z]+$", text, re.M)
    # It had 1,233 lines beside the schema; the follower is some 310.
    assert len(text.splitlines()) <= 1233 + 310
    assert "AWS::EventSchemas" not in text


def test_turning_it_on_again_restores_what_was_reserved(stack):
    assert "delete-function-concurrency" in stack().outputs["TurnOnAgain"]
    assert stack(ReservedConcurrency="7").outputs["TurnOnAgain"].endswith("--reserved-concurrent-executions 7")


def test_sam_builds_one_binary_for_both_functions(template, transformed):
    """It does if everything is equal that FunctionBuildDefinition of aws-sam-cli compares."""
    one, other = (template["Resources"][name] for name in ("Function", "Follower"))
    assert one["Metadata"] == other["Metadata"]
    assert one["Metadata"]["BuildMethod"] == "rust-cargolambda"
    assert one["Metadata"]["BuildProperties"]["Binary"] == "proton-canceller"
    shared = {"CodeUri", "Handler", "Runtime", "Architectures", "MemorySize", "Tracing", "LoggingConfig"}
    assert shared <= template["Globals"]["Function"].keys()
    assert not shared & (one["Properties"].keys() | other["Properties"].keys())
    for name, timeout in {"Function": 900, "Follower": 30}.items():
        properties = transformed["Resources"][name]["Properties"]
        assert (properties["Runtime"], properties["Timeout"]) == ("provided.al2023", timeout)
        assert properties["TracingConfig"] == {"Mode": "Active"}
    defaults = {name: each.get("Default") for name, each in template["Parameters"].items()}
    assert (defaults["Architecture"], defaults["MemorySize"]) == ("arm64", "256")


def test_a_default_install_cancels_nothing_and_is_told_what_deploys(template):
    """Installers from the console never see samconfig.toml."""
    assert template["Parameters"]["DryRun"]["Default"] == "true"
    assert {name for name, each in template["Parameters"].items() if "Default" not in each} == {"Engine", "AlarmNamePrefix"}


def test_queues_are_encrypted_at_rest_and_in_transit(any_stack):
    queues = any_stack.of_type("AWS::SQS::Queue")
    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues.values())
    denying = {
        queue
        for policy in any_stack.of_type("AWS::SQS::QueuePolicy").values()
        for queue in policy["Queues"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    }
    assert denying == {f"{name}-name" for name in queues}
