"""The mails: which outcomes they tell of, and how they read."""

import copy
import json
import re

import pytest
from stack import EVERYTHING, EVERYTHING_ON_STACKS
from ruler import matches
from test_schema import DETAIL, OUTCOMES, VALID, event

RULES = {"OutcomeRule": {"CANCELLED", "FAILED", "SUCCEEDED", "CANCELLING", "DRY_RUN"}, "ErrorOutcomeRule": {"ERROR"}}


@pytest.fixture(scope="module")
def mailing(stack):
    return stack(**EVERYTHING)


def render(rule, event):
    """EventBridge's input transformer, as far as these templates use it; it escapes nothing that it inserts."""
    transformer = rule["Targets"][0]["InputTransformer"]
    values = {}
    for name, path in transformer["InputPathsMap"].items():
        assert re.fullmatch(r"\$(\.[A-Za-z]+)+", path)
        value = event
        for step in path[2:].split("."):
            value = value[step]
        values[name] = value if isinstance(value, str) else json.dumps(value)
    template = transformer["InputTemplate"]
    used = set(re.findall(r"<([A-Za-z]+)>", template))
    assert used == values.keys(), "a variable is unknown or unused"
    lines = template.split("\n")
    assert all(re.fullmatch(r'"[^"\\]*"', line) for line in lines), "each line is a JSON string"
    return re.sub(r"<([A-Za-z]+)>", lambda match: values[match.group(1)], "\n".join(line[1:-1] for line in lines))


# What services, engines and the function write in an alphabet of their own.
CLOSED = {"$.account", "$.region", "$.detail.environment.name", "$.detail.run.requestId"}


@pytest.mark.parametrize("name", RULES)
def test_no_free_text_is_inserted(mailing, name):
    """EventBridge does not escape what it inserts: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html#eb-transform-input-issues"""
    for path in mailing.resources[name]["Properties"]["Targets"][0]["InputTransformer"]["InputPathsMap"].values():
        if path not in CLOSED:
            node = DETAIL
            for step in path.removeprefix("$.detail.").split("."):
                node = node["properties"][step]
                node = DETAIL["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node
            assert node.get("type") == "boolean" or {"enum", "pattern"} & node.keys(), path


@pytest.mark.parametrize("outcome", ["CANCELLED", "ERROR"])
def test_whatever_a_service_says_leaves_a_mail_as_it_is(mailing, outcome):
    hostile = '"\n"Outcome: SUCCEEDED" \\ </b> <outcome> $.detail \u2028'
    detail = copy.deepcopy(VALID[outcome])
    detail["message"] = detail["trigger"]["name"] = detail["trigger"]["reason"] = hostile
    if detail["error"]:
        detail["error"] = {"code": hostile, "message": hostile}
    rule = next(mailing.resources[name]["Properties"] for name, outcomes in RULES.items() if outcome in outcomes)
    assert render(rule, event(detail)) == render(rule, event(VALID[outcome]))


def takes(mailing, detail):
    return [name for name in RULES if matches(mailing.resources[name]["Properties"]["EventPattern"], event(detail))]


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_mailed_once_but_for_the_spared(mailing, outcome):
    taking = takes(mailing, VALID[outcome])
    assert taking == [name for name, outcomes in RULES.items() if outcome in outcomes]
    assert bool(taking) == (outcome != "SKIPPED")


@pytest.mark.parametrize("kind", ["alarm", "schedule", "request"])
@pytest.mark.parametrize("outcome", sorted(set(OUTCOMES) - {"SKIPPED"}))
def test_a_stuck_stack_is_not_mailed_in_every_dry_sweep(mailing, outcome, kind):
    """The alarm dry-sweep tells of it once."""
    detail = copy.deepcopy(VALID[outcome])
    detail["trigger"]["kind"] = kind
    assert bool(takes(mailing, detail)) is not (outcome == "DRY_RUN" and kind == "schedule")
    assert "DrySweepAlarm" in mailing.resources


@pytest.mark.parametrize("outcome", sorted(set(OUTCOMES) - {"SKIPPED"}))
def test_a_mail_says_what_happened_and_where_to_read_why(mailing, outcome):
    name = next(name for name, outcomes in RULES.items() if outcome in outcomes)
    mail = render(mailing.resources[name]["Properties"], event(VALID[outcome]))
    first = mail.splitlines()[0]
    assert "prod-net" in first and "123456789012" in first and first.startswith(outcome)
    assert ("not cancelled, or its end cannot be told" in first) == (outcome == "ERROR")
    (command,) = re.findall(r"aws logs filter-log-events .*", mail)
    # A term with hyphens needs quotes, which would have to be escaped, or is a regular expression:
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
    assert command.endswith("--region us-east-1 --log-group-name LogGroup-name --filter-pattern %8f507cfc-xmpl-4697-b07a-ac58fc914c95%")
    assert VALID[outcome]["id"] in mail


def test_a_mail_of_a_cancel_says_that_another_reports_its_end(mailing):
    mail = render(mailing.resources["OutcomeRule"]["Properties"], event(VALID["CANCELLING"]))
    assert "CANCELLING: the rollback has begun; another mail reports its end." in mail


@pytest.mark.parametrize(
    ("parameters", "command"),
    [
        (EVERYTHING, "aws proton cancel-environment-deployment --region us-east-1 --environment-name prod-net"),
        (EVERYTHING_ON_STACKS, "aws cloudformation cancel-update-stack --region us-east-1 --stack-name prod-net"),
    ],
)
def test_a_mail_of_an_error_has_the_engines_command(stack, parameters, command):
    mail = render(stack(**parameters).resources["ErrorOutcomeRule"]["Properties"], event(VALID["ERROR"]))
    assert f"To stop it by hand: {command}\n" in mail


def test_other_events_are_not_mailed(mailing):
    for name in RULES:
        pattern = mailing.resources[name]["Properties"]["EventPattern"]
        assert not matches(pattern, {**event(VALID["CANCELLED"]), "source": "somebody-else"})
        assert not matches(pattern, {**event(VALID["CANCELLED"]), "detail-type": "Something Else"})


def test_nothing_of_it_exists_without_an_address(stack):
    kinds = {resource["Type"] for resource in stack().resources.values()}
    assert not kinds & {"AWS::SNS::Topic", "AWS::SNS::Subscription", "AWS::KMS::Key", "AWS::SNS::TopicPolicy"}


def test_the_rules_listen_on_the_bus_that_outcomes_go_to(mailing):
    for name in RULES:
        assert mailing.resources[name]["Properties"]["EventBusName"] == EVERYTHING["EventBusName"]


def test_the_topic_is_encrypted_and_its_publishers_may_use_the_key(mailing):
    assert mailing.resources["NotificationTopic"]["Properties"]["KmsMasterKeyId"].endswith("key/NotificationKey-id")

    def services(statements):
        found = set()
        for statement in statements:
            if statement["Effect"] == "Allow" and "Service" in statement["Principal"]:
                service = statement["Principal"]["Service"]
                found.update(service if isinstance(service, list) else [service])
        return found

    topic = mailing.resources["NotificationTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    key = mailing.resources["NotificationKey"]["Properties"]["KeyPolicy"]["Statement"]
    assert services(topic) == services(key) == {"events.amazonaws.com", "cloudwatch.amazonaws.com"}
    # EventBridge names no source; CloudWatch does: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
    for statement in topic + key:
        if statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}:
            assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
