"""The rules take what they should and nothing else, by EventBridge's own matching."""

import copy
import fnmatch
import json

import pytest
from conftest import samples
from ruler import matches
from stack import EVERYTHING, Stack, accepts

SAMPLES = samples()
ALARMS = {name: event for name, event in SAMPLES.items() if name.startswith("alarm")}


@pytest.mark.parametrize(
    ("pattern", "event", "expected"),
    [
        ({"a": ["x"]}, {"a": "x"}, True),
        ({"a": ["x", "y"]}, {"a": "y"}, True),
        ({"a": ["x"], "b": ["x"]}, {"a": "x", "b": "y"}, False),
        ({"a": ["x"]}, {"a": ["w", "x"]}, True),
        ({"a": [{"prefix": "x"}]}, {"a": "xy"}, True),
        ({"a": [{"prefix": "x"}]}, {"a": "yx"}, False),
        ({"a": [{"anything-but": ["x"]}]}, {"a": "y"}, True),
        ({"a": [{"anything-but": ["x"]}]}, {"a": "x"}, False),
        ({"a": [{"anything-but": {"prefix": "x"}}]}, {"a": ["yx"]}, True),
        ({"a": [{"anything-but": {"prefix": "x"}}]}, {"a": ["xy"]}, False),
        ({"a": {"$or": [{"b": ["x"]}, {"c": ["y"]}]}}, {"a": {"b": "z", "c": "y"}}, True),
        ({"a": {"$or": [{"b": ["x"]}, {"c": ["y"]}]}}, {"a": {"b": "y", "c": "x"}}, False),
        ({"a": [False]}, {"a": False}, True),
        ({"a": [False]}, {"a": True}, False),
        ({"a": {"b": [{"exists": False}]}}, {"a": {}}, True),
        ({"a": {"b": [{"exists": False}]}}, {}, True),
        ({"a": {"b": [{"exists": False}]}}, {"a": {"b": None}}, False),
        # `exists` looks at leaves: an object is none.
        ({"a": [{"exists": False}]}, {"a": {"b": "x"}}, True),
    ],
)
def test_the_engines_match_as_eventbridge_documents(pattern, event, expected):
    assert matches(pattern, event) is expected


def alarm_pattern(stack, **parameters):
    return stack(**parameters).resources["AlarmRule"]["Properties"]["EventPattern"]


def test_there_are_samples_of_every_kind():
    kinds = {"alarm", "action", "sns", "schedule", "request", "follow", "ignored", "refused"}
    assert {name.replace(".", "_").split("_")[0] for name in SAMPLES} == kinds


@pytest.mark.parametrize("prefix", ["checkout-", "checkout-5xx", "invoices-", "c", "nothing-"])
@pytest.mark.parametrize("name", SAMPLES)
def test_the_alarm_rule_takes_alarms_of_the_prefix_and_nothing_else(stack, name, prefix):
    wanted = name in ALARMS and ALARMS[name]["detail"]["alarmName"].startswith(prefix)
    assert matches(alarm_pattern(stack, AlarmNamePrefix=prefix), SAMPLES[name]) is wanted


@pytest.mark.parametrize("name", ALARMS)
def test_the_alarm_rule_leaves_what_is_not_burning(stack, name):
    pattern = alarm_pattern(stack, AlarmNamePrefix=ALARMS[name]["detail"]["alarmName"])
    assert matches(pattern, ALARMS[name])

    def changed(change):
        event = copy.deepcopy(ALARMS[name])
        change(event)
        return matches(pattern, event)

    assert not changed(lambda event: event["detail"]["state"].update(value="OK"))
    assert not changed(lambda event: event["detail"]["state"].update(value="INSUFFICIENT_DATA"))
    assert not changed(lambda event: event["detail"]["state"].update(value="ALARMED"))
    assert not changed(lambda event: event["detail"]["state"].update(actionsSuppressedBy="WaitPeriod"))
    assert not changed(lambda event: event["detail"].update(muteDetail={"mutedByArn": "arn:aws:cloudwatch:a:b:c"}))
    assert not changed(lambda event: event.update(source="aws.proton"))
    assert not changed(lambda event: event.update({"detail-type": "CloudWatch Alarm Configuration Change"}))


def test_the_stacks_own_alarms_never_stop_a_deployment(any_stack):
    """Even where the prefix lets them in; by the rule, and in the function, whatever way they come."""
    pattern = copy.deepcopy(any_stack.resources["AlarmRule"]["Properties"]["EventPattern"])
    pattern["detail"]["alarmName"] = [{"prefix": "proton-"}]
    ignored = any_stack.resources["Function"]["Properties"]["Environment"]["Variables"]["IGNORED_ALARMS"]
    own = [alarm["AlarmName"] for alarm in any_stack.of_type("AWS::CloudWatch::Alarm").values()]
    assert len(own) >= 7

    def taken(name):
        event = copy.deepcopy(SAMPLES["alarm.json"])
        event["detail"]["alarmName"] = name
        event["resources"] = [f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}"]
        assert matches(pattern, event) is not fnmatch.fnmatchcase(name, ignored)
        return matches(pattern, event)

    assert not any(map(taken, own))
    for name in own:
        # Another stack's, and everybody's.
        assert taken(name.replace("proton-canceller/proton-canceller/", "proton-canceller/proton-canceller-2/"))
        assert taken("proton-canceller-" + name.rsplit("/", 1)[1])


def test_the_same_topic_cannot_be_both(stack):
    """The stack's own alarms would invoke the function."""
    topic = EVERYTHING["AlarmTopicArn"]
    with pytest.raises(AssertionError, match="OwnAlarmsAreNoTriggers"):
        stack(AlarmTopicArn=topic, OperationsTopicArn=topic)
    stack(AlarmTopicArn=topic)
    stack(OperationsTopicArn=topic)


@pytest.mark.parametrize("name", ["AlarmRule", "FollowRule", "OutcomeRule", "ErrorOutcomeRule"])
def test_patterns_are_short_enough(transformed, name):
    """2,048 characters: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html"""
    pseudo = {"AWS::StackName": "s" * 128, "AWS::Region": "ap-southeast-99", "AWS::Partition": "aws-us-gov"}
    longest = {**EVERYTHING, "AlarmNamePrefix": "p" * 200, "EventBusName": "b" * 256}
    made = Stack(transformed, pseudo, **longest)
    assert len(json.dumps(made.resources[name]["Properties"]["EventPattern"])) <= 2048


def test_no_rule_hears_its_own_function_by_way_of_another(any_stack):
    """The outcome rules do not take what comes in, so nothing goes round in circles."""
    for name, rule in any_stack.of_type("AWS::Events::Rule").items():
        if name != "AlarmRule":
            assert not any(matches(rule["EventPattern"], event) for event in SAMPLES.values())


def test_a_prefix_cannot_be_empty_or_a_wildcard(template):
    declaration = template["Parameters"]["AlarmNamePrefix"]
    assert "Default" not in declaration
    for prefix in ["", " ", "*", "prod*", "prod?", "${AWS::StackName}", '"', "\\", "prod-\n"]:
        assert not accepts(declaration, prefix), prefix
    for prefix in ["p", "prod-", "Prod.net/5xx errors (eu)", "TargetTracking-table/orders"]:
        assert accepts(declaration, prefix), prefix


def test_the_alarms_own_action_is_bound_to_account_and_prefix(stack):
    permission = stack(AlarmNamePrefix="prod-").resources["AlarmActionPermission"]["Properties"]
    assert permission["Principal"] == "lambda.alarms.cloudwatch.amazonaws.com"
    assert permission["SourceAccount"] == "123456789012"
    assert permission["SourceArn"] == "arn:aws:cloudwatch:us-east-1:123456789012:alarm:prod-*"


def test_the_kill_switch_closes_every_way_in(stack):
    on, off = stack(**EVERYTHING), stack(**EVERYTHING, Enabled="false")
    assert on.resources["AlarmRule"]["Properties"]["State"] == "ENABLED"
    assert off.resources["AlarmRule"]["Properties"]["State"] == "DISABLED"
    assert on.resources["FunctionSweep"]["Properties"]["State"] == "ENABLED"
    assert off.resources["FunctionSweep"]["Properties"]["State"] == "DISABLED"
    gone = on.resources.keys() - off.resources.keys()
    assert gone == {
        "AlarmActionPermission", "AlarmTopicPermission", "AlarmTopicSubscription", "SweepStoppedAlarm", "DrySweepMetric", "DrySweepAlarm",
    }  # fmt: skip
    assert stack(SweepEveryMinutes="0").resources["FunctionSweep"]["Properties"]["State"] == "DISABLED"


def test_deliveries_are_bounded_and_what_fails_is_kept(any_stack):
    queue = "arn:aws:sqs:us-east-1:123456789012:UndeliveredQueue-name"
    targets = [target for rule in any_stack.of_type("AWS::Events::Rule").values() for target in rule["Targets"]]
    targets.append(any_stack.resources["FunctionSweep"]["Properties"]["Target"])
    for target in targets:
        assert target["DeadLetterConfig"]["Arn"] == queue
        assert 60 <= target["RetryPolicy"]["MaximumEventAgeInSeconds"] <= 3600
    invoke = any_stack.resources["FunctionEventInvokeConfig"]["Properties"]
    assert invoke["DestinationConfig"]["OnFailure"]["Destination"] == queue.replace("Undelivered", "Undone")
    timeout = any_stack.resources["Function"]["Properties"]["Timeout"]
    # Three runs of full length, and Lambda's waits of one and two minutes between them.
    assert 2 * timeout + 180 <= invoke["MaximumEventAgeInSeconds"]


def test_everyone_who_may_put_into_the_queue_is_named(any_stack):
    """Each rule with that queue is let in, and nobody else."""
    statements = any_stack.resources["UndeliveredQueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
    allowed = {
        statement["Principal"]["Service"]: statement["Condition"]["ArnEquals"]["aws:SourceArn"]
        for statement in statements
        if statement["Effect"] == "Allow"
    }
    rules = [any_stack.attribute(name, "Arn") for name in any_stack.of_type("AWS::Events::Rule")]
    assert sorted(allowed.pop("events.amazonaws.com")) == sorted(rules)
    topics = [each["TopicArn"] for each in any_stack.of_type("AWS::SNS::Subscription").values() if each["Protocol"] == "lambda"]
    assert [arn for arn in [allowed.pop("sns.amazonaws.com", None)] if arn] == topics
    assert not allowed


def test_the_schedules_input_is_json_with_every_context_attribute_known(any_stack):
    text = any_stack.resources["FunctionSweep"]["Properties"]["Target"]["Input"]
    attributes = {
        "<aws.scheduler.schedule-arn>": "arn:aws:scheduler:us-east-1:123456789012:schedule/group/sweep",
        "<aws.scheduler.scheduled-time>": "2026-11-23T06:45:00Z",
    }
    for attribute, value in attributes.items():
        assert attribute in text
        text = text.replace(attribute, value)
    assert "<aws." not in text
    event = json.loads(text)
    assert (event["source"], event["detail-type"]) == ("aws.scheduler", "Scheduled Event")
    assert event["id"].endswith("/sweep@2026-11-23T06:45:00Z")
