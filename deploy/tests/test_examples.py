"""The example templates for more than one account or Region."""

import pytest
from conftest import samples
from ruler import matches
from stack import PSEUDO, ROOT, Stack, written
from test_schema import VALID, event

PARAMETERS = {
    "central-bus": {"OrganizationId": "o-a1b2c3d4e5"},
    "forward-outcomes": {"CentralBusArn": "arn:aws:events:eu-west-1:210987654321:event-bus/proton-canceller-outcomes"},
}


@pytest.fixture(scope="module")
def examples():
    return {name: Stack(written(ROOT / "deploy" / "examples" / f"{name}.yaml"), **given) for name, given in PARAMETERS.items()}


def properties(examples, name, resource):
    return examples[name].resources[resource]["Properties"]


@pytest.mark.parametrize("outcome", VALID)
def test_every_outcome_is_forwarded_and_kept(examples, outcome):
    one = event(VALID[outcome])
    assert matches(properties(examples, "forward-outcomes", "ForwardRule")["EventPattern"], one)
    assert matches(properties(examples, "central-bus", "OutcomeRule")["EventPattern"], one)


def test_nothing_else_is_forwarded_and_nothing_goes_round(examples):
    pattern = properties(examples, "forward-outcomes", "ForwardRule")["EventPattern"]
    one = event(VALID["CANCELLED"])
    for name, value in {"account": "210987654321", "region": "eu-west-1", "source": "x", "detail-type": "x"}.items():
        assert not matches(pattern, {**one, name: value})
    assert not any(matches(pattern, each) for each in samples().values())


def test_only_the_organization_may_put_events_on_the_central_bus(examples):
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-bus-permissions-manage.html"""
    statement = properties(examples, "central-bus", "EventBusPolicy")["Statement"]
    assert statement["Action"] == "events:PutEvents"
    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": PARAMETERS["central-bus"]["OrganizationId"]}}


def test_the_forwarding_role_puts_events_on_the_central_bus_and_nothing_else(examples):
    """A target in another account or Region needs a role: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-account.html"""
    role = properties(examples, "forward-outcomes", "ForwardRole")
    (policy,) = role["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    (target,) = properties(examples, "forward-outcomes", "ForwardRule")["Targets"]
    assert (statement["Effect"], statement["Action"]) == ("Allow", "events:PutEvents")
    assert statement["Resource"] == target["Arn"] == PARAMETERS["forward-outcomes"]["CentralBusArn"]
    assert target["RoleArn"].endswith("role/ForwardRole-name")
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": PSEUDO["AWS::AccountId"]}}
    (allowed,) = properties(examples, "forward-outcomes", "UnforwardedQueuePolicy")["PolicyDocument"]["Statement"]
    assert target["DeadLetterConfig"]["Arn"] == allowed["Resource"]


def test_the_page_names_what_the_templates_take(examples):
    page = (ROOT / "docs" / "multiple-accounts.md").read_text()
    for name, stack in examples.items():
        assert f"deploy/examples/{name}.yaml" in page
        assert all(parameter in page for parameter in PARAMETERS[name])
        assert set(PARAMETERS[name]) == {each for each, value in stack.transformed["Parameters"].items() if "Default" not in value}
