"""The mails: which outcomes they tell of, and how they read."""

import json
import re

import pytest
from stack import EVERYTHING, EVERYTHING_ON_STACKS
from ruler import matches
from test_schema import OUTCOMES, VALID, event

RULES = {"OutcomeRule": {"CANCELLED", "FAILED", "SUCCEEDED", "CANCELLING", "DRY_RUN"}, "ErrorOutcomeRule": {"ERROR"}}


@pytest.fixture(scope="module")
def mailing(stack):
    return stack(**EVERYTHING)


def render(rule, event):
    """EventBridge's input transformer, as far as these templates use it."""
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


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_mailed_once_but_for_the_spared(mailing, outcome):
    taking = [name for name in RULES if matches(mailing.resources[name]["Properties"]["EventPattern"], event(VALID[outcome]))]
    assert taking == [name for name, outcomes in RULES.items() if outcome in outcomes]
    assert bool(taking) == (outcome != "SKIPPED")


@pytest.mark.parametrize("outcome", sorted(set(OUTCOMES) - {"SKIPPED"}))
def test_a_mail_says_what_happened_where_and_why(mailing, outcome):
    name = next(name for name, outcomes in RULES.items() if outcome in outcomes)
    mail = render(mailing.resources[name]["Properties"], event(VALID[outcome]))
    first = mail.splitlines()[0]
    assert "prod-net" in first and "123456789012" in first
    assert (outcome in first) or (outcome == "ERROR" and "NOT CANCELLED" in first)
    assert "alarm prod-5xx" in mail
    assert "Threshold Crossed" in mail
    assert "8f507cfc-xmpl-4697-b07a-ac58fc914c95" in mail
    if outcome == "ERROR":
        assert "AccessDeniedException: no" in mail


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
