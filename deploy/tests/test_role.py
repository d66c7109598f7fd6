"""The role allows the calls that the function makes, and no other.

The calls come from logs that are written while the binary runs through its scenarios, one JSON line
a call with `service` and `operation`: by the test suites in the file that PROTON_CANCELLER_CALL_LOG
names, and by the runs under the runtime interface emulator.
"""

import fnmatch
import json
import os
import pathlib

import pytest
from conftest import runs
from stack import EVERYTHING, EVERYTHING_ON_STACKS

# What Lambda does on the function's behalf; no scenario can show it outside of AWS.
BY_LAMBDA = {
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "sqs:SendMessage",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
ENGINES = ("proton", "cloudformation")
ENVIRONMENT = "arn:aws:proton:us-east-1:123456789012:environment/prod-net"
DEPLOYMENT = "arn:aws:proton:us-east-1:123456789012:deployment/11111111-2222-3333-4444-555555555555"
STACK = "arn:aws:cloudformation:us-east-1:123456789012:stack/AWSProton-prod-net/aaaaaaaa-0000-1111-2222-333333333333"
BUS = "arn:aws:events:us-east-1:123456789012:event-bus/default"
# What each call is about, by the service authorization reference, for each engine.
ABOUT = {
    "proton": {
        "proton:ListEnvironments": "*",
        "proton:GetEnvironment": ENVIRONMENT,
        "proton:ListTagsForResource": ENVIRONMENT,
        "proton:CancelEnvironmentDeployment": ENVIRONMENT,
        "proton:GetDeployment": DEPLOYMENT,
        "events:PutEvents": BUS,
    },
    "cloudformation": {
        "cloudformation:ListStacks": "*",
        "cloudformation:DescribeStacks": STACK,
        "cloudformation:DescribeStackEvents": STACK,
        "cloudformation:CancelUpdateStack": STACK,
        "events:PutEvents": BUS,
    },
}
# These take no resource, so that only `*` allows them.
TAKES_NONE = {"proton:ListEnvironments", "cloudformation:ListStacks", "xray:PutTelemetryRecords", "xray:PutTraceSegments"}
# What no statement may reach.
OUT_OF_REACH = {
    "arn:aws:proton:us-east-1:123456789012:service/prod-net",
    "arn:aws:cloudformation:us-east-1:123456789012:changeSet/AWSProton-prod-net/aaaaaaaa-0000-1111-2222-333333333333",
    "arn:aws:cloudformation:us-east-1:123456789012:stackset/AWSProton-prod-net:aaaaaaaa-0000-1111-2222-333333333333",
    STACK.replace("AWSProton-prod-net", "billing"),
    STACK.replace("AWSProton-prod-net", "not-AWSProton-prod-net"),
}
OUTCOME = {
    "events:source": "proton-canceller",
    "events:detail-type": "Environment Deployment Cancellation",
}


@pytest.fixture(scope="module")
def called():
    """Every call that the binary made, over all scenarios."""
    lines = runs("calls.jsonl").splitlines()
    if name := os.environ.get("PROTON_CANCELLER_CALL_LOG"):
        of_the_suites = pathlib.Path(name).read_text().splitlines()
        assert of_the_suites, f"{name} is empty: the test suites wrote no call"
        lines += of_the_suites
    return {f"{line['service']}:{line['operation']}" for line in map(json.loads, lines)}


@pytest.fixture(scope="module")
def called_to_follow():
    """Every call that the binary made in the runs that follow."""
    lines = map(json.loads, runs("calls.jsonl").splitlines())
    return {f"{line['service']}:{line['operation']}" for line in lines if line["run"].startswith("follow")}


def listed(value):
    return value if isinstance(value, list) else [value]


def statements(stack, role="FunctionRole", *, own=True):
    """The statements for the function's own calls, or those for Lambda's."""
    policies = stack.resources[role]["Properties"]["Policies"]
    return [
        statement
        for policy in policies
        if (policy["PolicyName"] != "lambda") == own
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def actions(stack, role="FunctionRole", **which):
    allowed = [each for each in statements(stack, role, **which) if each["Effect"] == "Allow"]
    return [action for statement in allowed for action in listed(statement["Action"])]


def allows(stack, action, resource, context, role="FunctionRole"):
    """IAM's decision, as far as these policies use its language: a denial outranks what is allowed."""
    decisions = set()
    for statement in statements(stack, role):
        condition = statement.get("Condition", {})
        assert condition.keys() <= {"StringEquals"}
        if (
            action in listed(statement["Action"])
            and any(fnmatch.fnmatchcase(resource, pattern) for pattern in listed(statement["Resource"]))
            and all(context.get(key) in listed(value) for key, value in condition.get("StringEquals", {}).items())
        ):
            decisions.add(statement["Effect"])
    return decisions == {"Allow"}


def test_every_call_is_allowed_and_every_allowed_call_is_made(any_stack, called):
    allowed = actions(any_stack)
    assert len(allowed) == len(set(allowed)), "an action is allowed twice"
    services = (any_stack.parameters["Engine"] + ":", "events:")
    assert set(allowed) == {call for call in called if call.startswith(services)}


def test_the_follower_may_do_what_it_is_seen_to_do_and_no_more(any_stack, called_to_follow):
    if "FollowerRole" in any_stack.resources:
        services = (any_stack.parameters["Engine"] + ":", "events:")
        assert set(actions(any_stack, "FollowerRole")) == {call for call in called_to_follow if call.startswith(services)}


def test_the_follower_can_cancel_nothing(any_stack):
    if "FollowerRole" in any_stack.resources:
        allowed = actions(any_stack, "FollowerRole")
        assert allowed and not [action for action in allowed if "Cancel" in action or "List" in action]
        assert set(allowed) < set(actions(any_stack))
        for action in allowed:
            about = ABOUT[any_stack.parameters["Engine"]][action]
            if action != "events:PutEvents":
                assert allows(any_stack, action, about, {}, "FollowerRole"), action
            for resource in OUT_OF_REACH:
                assert not allows(any_stack, action, resource, OUTCOME, "FollowerRole")


def test_what_lambda_may_do_is_what_is_listed_here(any_stack):
    assert sorted(actions(any_stack, own=False)) == sorted(BY_LAMBDA)
    if "FollowerRole" in any_stack.resources:
        queue = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
        assert set(actions(any_stack, "FollowerRole", own=False)) == BY_LAMBDA - {"sqs:SendMessage"} | queue


def test_nothing_comes_from_managed_policies_or_wildcards(any_stack):
    for role in any_stack.of_type("AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                for action in listed(statement["Action"]):
                    assert "*" not in action
                if "*" in listed(statement["Resource"]):
                    assert set(listed(statement["Action"])) <= TAKES_NONE


@pytest.mark.parametrize(("engine", "action"), [(engine, action) for engine in ENGINES for action in ABOUT[engine]])
def test_a_call_is_allowed_on_its_own_kind_of_resource_only(stack, engine, action):
    made = stack(Engine=engine)
    about = ABOUT[engine][action]
    context = OUTCOME if action == "events:PutEvents" else {}
    assert allows(made, action, about, context)
    if action in TAKES_NONE:
        return
    resources = OUT_OF_REACH.union(*(each.values() for each in ABOUT.values()))
    for resource in resources - {"*", about}:
        assert not allows(made, action, resource, context), resource
    elsewhere = {about.replace("123456789012", "210987654321"), about.replace("us-east-1", "eu-west-1")}
    for resource in elsewhere:
        assert not allows(made, action, resource, context), resource


@pytest.mark.parametrize("engine", ENGINES)
def test_only_the_chosen_engines_calls_are_allowed(stack, engine):
    for everything in ({"Engine": engine}, {"proton": EVERYTHING, "cloudformation": EVERYTHING_ON_STACKS}[engine]):
        assert set(actions(stack(**everything))) == ABOUT[engine].keys()


def test_only_outcomes_may_be_published_and_only_to_the_one_bus(stack):
    def may(stack, bus, **changed):
        return allows(stack, "events:PutEvents", bus, {**OUTCOME, **changed})

    assert may(stack(), BUS)
    assert not may(stack(), BUS, **{"events:source": "aws.cloudwatch"})
    assert not may(stack(), BUS, **{"events:detail-type": "CloudWatch Alarm State Change"})
    assert not may(stack(), BUS.replace("default", "ops"))
    assert may(stack(EventBusName="ops"), BUS.replace("default", "ops"))
    foreign = "arn:aws:events:us-east-1:210987654321:event-bus/ops"
    assert may(stack(EventBusName="ops", EventBusAccountId="210987654321"), foreign)
    assert not may(stack(EventBusName="ops", EventBusAccountId="210987654321"), foreign.replace("210987654321", "123456789012"))


def test_the_boundary_of_the_template_binds_cancelling(stack):
    cancel = "proton:CancelEnvironmentDeployment"
    template = "arn:aws:proton:us-east-1:123456789012:environment-template/"
    bounded = stack(EnvironmentTemplateName="net")
    assert allows(bounded, cancel, ENVIRONMENT, {"proton:EnvironmentTemplate": template + "net"})
    assert not allows(bounded, cancel, ENVIRONMENT, {"proton:EnvironmentTemplate": template + "database"})
    assert not allows(bounded, cancel, ENVIRONMENT, {})
    assert allows(stack(), cancel, ENVIRONMENT, {})


@pytest.mark.parametrize("action", [action for action, about in ABOUT["cloudformation"].items() if about == STACK])
def test_the_boundary_of_stack_names_binds_reading_and_cancelling(stack, action):
    def may(pattern, name, id="aaaaaaaa-0000-1111-2222-333333333333"):
        made = stack(Engine="cloudformation", **({"StackNamePattern": pattern} if pattern else {}))
        return allows(made, action, f"arn:aws:cloudformation:us-east-1:123456789012:stack/{name}/{id}", {})

    assert may(None, "AWSProton-prod-net")
    # A call that names the stack, not its id, is about this resource.
    assert may(None, "AWSProton-prod-net", "*")
    assert not may(None, "*", "*")
    assert not may(None, "proton-canceller")
    assert may("shop-*", "shop-prod") and not may("shop-*", "AWSProton-prod-net")
    assert may("shop-prod", "shop-prod") and not may("shop-prod", "shop-prod-2")
    assert may("shop-?", "shop-1") and not may("shop-?", "shop-10")
    assert may("*", "anything")
    several = "a-*,b-*,c-*,d-*,e-*"
    for count in range(1, 6):
        some = ",".join(several.split(",")[:count])
        assert [may(some, name + "-net") for name in "abcdef"] == [index < count for index in range(6)]


@pytest.mark.parametrize("parameters", [{"StackNamePattern": "*"}, {"StackNamePattern": "proton-*,AWSProton-*"}])
def test_the_functions_own_stack_is_never_cancelled(stack, parameters):
    """Its update would be rolled back by the function that the update replaces."""
    made = stack(Engine="cloudformation", **parameters)
    cancel = "cloudformation:CancelUpdateStack"
    own = STACK.replace("AWSProton-prod-net", "proton-canceller")
    assert not allows(made, cancel, own, {})
    assert allows(made, cancel, own.replace("proton-canceller", "proton-canceller-2"), {})
    assert allows(made, "cloudformation:DescribeStacks", own, {})


def test_a_boundary_of_the_other_engine_is_refused(stack):
    """Somebody who sets it counts on it."""
    with pytest.raises(AssertionError, match="TemplateBoundary"):
        stack(Engine="cloudformation", EnvironmentTemplateName="net")
    # Its pattern has a default, so that it cannot be told whether somebody set it.
    assert actions(stack(StackNamePattern="shop-*")) == actions(stack())


def test_only_the_named_services_take_the_roles(stack):
    roles = stack(**EVERYTHING).of_type("AWS::IAM::Role")
    trust = {name: role["AssumeRolePolicyDocument"]["Statement"] for name, role in roles.items()}
    assert {name: [each["Principal"] for each in statements] for name, statements in trust.items()} == {
        "FunctionRole": [{"Service": "lambda.amazonaws.com"}],
        "FollowerRole": [{"Service": "lambda.amazonaws.com"}],
        "SweepRole": [{"Service": "scheduler.amazonaws.com"}],
    }
    assert trust["SweepRole"][0]["Condition"]["StringEquals"]["aws:SourceAccount"] == "123456789012"


def test_no_scenario_calls_what_the_table_above_does_not_know(called):
    assert called == set().union(*ABOUT.values())
