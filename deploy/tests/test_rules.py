"""The rules take what they should and nothing else, by EventBridge's own matching."""

import copy
import json

import pytest
from conftest import samples
from ruler import matches

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
    kinds = {"alarm", "action", "sns", "schedule", "request", "ignored", "refused"}
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
    """Even where the prefix is the stack's own name."""
    properties = any_stack.resources["AlarmRule"]["Properties"]
    pattern = copy.deepcopy(properties["EventPattern"])
    pattern["detail"]["alarmName"] = [{"prefix": "proton-"}]
    own = any_stack.of_type("AWS::CloudWatch::Alarm")
    assert len(own) >= 6
    for alarm in own.values():
        event = copy.deepcopy(SAMPLES["alarm.json"])
        event["detail"]["alarmName"] = alarm["AlarmName"]
        event["resources"] = [f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{alarm['AlarmName']}"]
        assert not matches(pattern, event), alarm["AlarmName"]
        event["resources"] = [event["resources"][0] + "-of-somebody-else"]
        assert matches(pattern, event)


def test_no_rule_hears_its_own_function_by_way_of_another(any_stack):
    """The outcome rules do not take what comes in, so nothing goes round in circles."""
    for name, rule in any_stack.of_type("AWS::Events::Rule").items():
        if name != "AlarmRule":
            assert not any(matches(rule["EventPattern"], event) for event in SAMPLES.values())


def test_a_prefix_cannot_be_empty_or_a_wildcard(template):
    from stack import accepts

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
    from stack import EVERYTHING

    on, off = stack(**EVERYTHING), stack(**EVERYTHING, Enabled="false")
    assert on.resources["AlarmRule"]["Properties"]["State"] == "ENABLED"
    assert off.resources["AlarmRule"]["Properties"]["State"] == "DISABLED"
    assert on.resources["FunctionSweep"]["Properties"]["State"] == "ENABLED"
    assert off.resources["FunctionSweep"]["Properties"]["State"] == "DISABLED"
    gone = on.resources.keys() - off.resources.keys()
    assert gone == {"AlarmActionPermission", "AlarmTopicPermission", "AlarmTopicSubscription", "SweepStoppedAlarm"}
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
    rules = [f"arn:aws:events:us-east-1:123456789012:rule/{name}-name" for name in any_stack.of_type("AWS::Events::Rule")]
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
