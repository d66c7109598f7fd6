"""The follower: what its rule takes, how its queue waits, what it answers to."""

import copy
import itertools
import json

import pytest
from conftest import runs, samples
from ruler import matches
from test_schema import OUTCOMES, VALID, event

ARN = {
    "proton": "arn:aws:proton:us-east-1:123456789012:environment/prod-net",
    "cloudformation": "arn:aws:cloudformation:us-east-1:123456789012:stack/prod-net/aaaaaaaa-0000-1111-2222-333333333333",
}


def takes(stack, event, engine="proton", **parameters):
    return matches(stack(Engine=engine, **parameters).resources["FollowRule"]["Properties"]["EventPattern"], event)


def cancelling(engine="proton"):
    followed = copy.deepcopy(event(VALID["CANCELLING"]))
    followed["detail"]["environment"]["arn"] = ARN[engine]
    return followed


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize(("chosen", "published"), list(itertools.product(ARN, ARN)))
def test_the_rule_takes_what_is_being_cancelled_by_the_chosen_engine(stack, outcome, chosen, published):
    one = cancelling(published)
    one["detail"]["outcome"] = outcome
    assert takes(stack, one, chosen) is (outcome == "CANCELLING" and chosen == published)


def changed(path, value):
    one = cancelling()
    *way, last = path
    place = one
    for step in way:
        place = place[step]
    place[last] = value
    return one


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["source"], "somebody-else"),
        (["detail-type"], "Something Else"),
        (["account"], "210987654321"),
        (["region"], "eu-west-1"),
        (["detail", "version"], "2"),
        (["detail", "version"], 1),
        (["detail", "dryRun"], True),
        (["detail", "environment", "arn"], None),
        (["detail", "environment", "arn"], ARN["proton"].replace("123456789012", "210987654321")),
        (["detail", "environment", "arn"], ARN["proton"].replace("us-east-1", "eu-west-1")),
        (["detail", "environment", "arn"], ARN["proton"].replace(":environment/", ":service/")),
    ],
)
def test_the_rule_takes_nothing_else(stack, path, value):
    assert takes(stack, cancelling())
    assert not takes(stack, changed(path, value))


@pytest.mark.parametrize("name", ["events/", "published"])
def test_the_rule_takes_exactly_what_was_published_and_is_being_cancelled(stack, name):
    """The samples, and every event that a run of the built function published."""
    if name == "published":
        for detail in json.loads(runs("published.json")):
            engine = (detail["environment"]["arn"] or "arn:aws:proton").split(":")[2]
            wanted = detail["outcome"] == "CANCELLING" and not detail["dryRun"] and detail["environment"]["arn"] is not None
            assert takes(stack, event(detail), engine) is wanted, detail
    else:
        sample = samples()["follow.json"]
        assert takes(stack, json.loads(sample["Records"][0]["body"]))
        assert not any(takes(stack, each) for each in samples().values())


def test_the_sample_is_what_eventbridge_and_sqs_make_of_an_outcome(stack):
    """https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html"""
    (record,) = samples()["follow.json"]["Records"]
    assert (record["eventSource"], record["awsRegion"]) == ("aws:sqs", "us-east-1")
    assert record["messageId"] and record["attributes"]["ApproximateReceiveCount"] == "1"
    body = json.loads(record["body"])
    assert body.keys() == event({}).keys()
    assert (body["detail"]["id"][31], body["detail"]["outcome"]) == ("0", "CANCELLING")


def test_there_is_a_follower_only_where_the_bus_is_of_this_account(stack):
    names = {"FollowRule", "FollowQueue", "FollowQueuePolicy", "UnfollowedQueue", "UnfollowedQueuePolicy", "Follower", "FollowerRole"}
    names |= {"FollowerQueue", "FollowerErrorsAlarm", "FollowerStoppedAlarm", "UnfollowedAlarm"}
    assert names <= stack().resources.keys()
    assert names <= stack(EventBusAccountId="123456789012", EventBusName="ops", Enabled="false").resources.keys()
    assert not names & stack(EventBusAccountId="210987654321").resources.keys()
    assert stack(EventBusName="ops").resources["FollowRule"]["Properties"]["EventBusName"] == "ops"


def test_the_queue_waits_90_seconds_for_a_day(stack):
    made = stack().resources
    queue, mapping = made["FollowQueue"]["Properties"], made["FollowerQueue"]["Properties"]
    timeout = made["Follower"]["Properties"]["Timeout"]
    assert (queue["DelaySeconds"], queue["VisibilityTimeout"], timeout) == (30, 90, 30)
    # Lambda refuses less: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    assert queue["VisibilityTimeout"] >= timeout
    redrive = queue["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"].endswith(":UnfollowedQueue-name")
    # 1 to 1,000: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
    assert redrive["maxReceiveCount"] == 960 <= 1000
    day = redrive["maxReceiveCount"] * queue["VisibilityTimeout"]
    assert day == 24 * 60 * 60
    assert queue["MessageRetentionPeriod"] > queue["DelaySeconds"] + day
    # A message keeps its first time stamp in the dead-letter queue, where a person must still find it.
    assert made["UnfollowedQueue"]["Properties"]["MessageRetentionPeriod"] >= day + 10 * 24 * 60 * 60
    assert mapping["EventSourceArn"].endswith(":FollowQueue-name") and mapping["FunctionName"] == "Follower-name"
    assert (mapping["BatchSize"], mapping["FunctionResponseTypes"]) == (1, ["ReportBatchItemFailures"])
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 5}
    assert mapping.get("Enabled", True) is True


def test_only_the_rule_may_fill_the_queue(stack):
    (allowed,) = (
        each
        for each in stack(EventBusName="ops").resources["FollowQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
        if each["Effect"] == "Allow"
    )
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"} and allowed["Action"] == "sqs:SendMessage"
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": "arn:aws:events:us-east-1:123456789012:rule/ops/FollowRule-name"}}


def test_what_is_not_followed_can_be_followed_again(stack):
    """The command works for a queue that a redrive fills: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html"""
    made = stack()
    command = made.outputs["FollowAgain"]
    (source,) = (word for word in command.split() if word.startswith("arn:"))
    redriven = [queue["RedrivePolicy"]["deadLetterTargetArn"] for queue in made.of_type("AWS::SQS::Queue").values() if "RedrivePolicy" in queue]
    assert command.startswith("aws sqs start-message-move-task ") and redriven == [source]
