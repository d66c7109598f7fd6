"""The schema in the registry says what `schema/outcome-detail.json` says."""

import copy
import json
import sys

import pytest
from conftest import runs
from stack import ROOT, written
from jsonschema import Draft4Validator, Draft202012Validator

sys.path.insert(0, str(ROOT / "deploy"))
import schema as derivation  # noqa: E402

DETAIL = json.loads((ROOT / "schema" / "outcome-detail.json").read_text())
OUTCOMES = DETAIL["properties"]["outcome"]["enum"]


def detail(**changed):
    time = "2026-11-23T06:45:12Z"
    example = {
        "version": "1",
        "id": "0123456789abcdef0123456789abcde1",
        "outcome": "CANCELLED",
        "reason": None,
        "message": "User initiated cancellation.",
        "dryRun": False,
        "environment": {
            "name": "prod-net",
            "arn": "arn:aws:proton:us-east-1:123456789012:environment/prod-net",
            "accountId": None,
            "templateName": "net",
            "templateVersion": "1.0",
        },
        "deployment": {
            "id": "11111111-2222-3333-4444-555555555555",
            "startedAt": time,
            "status": "CANCELLED",
            "cancelRequestedAt": time,
            "settledAt": None,
        },
        "error": None,
        "trigger": {"kind": "alarm", "id": "1", "name": "prod-5xx", "arn": None, "time": time, "reason": "Threshold Crossed"},
        "run": {"requestId": "8f507cfc-xmpl-4697-b07a-ac58fc914c95"},
    }
    return {**example, **changed}


def event(detail):
    return {
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Environment Deployment Cancellation",
        "source": "proton-canceller",
        "account": "123456789012",
        "time": "2026-11-23T06:45:13Z",
        "region": "us-east-1",
        "resources": ["arn:aws:proton:us-east-1:123456789012:environment/prod-net"],
        "detail": detail,
    }


VALID = {
    **{outcome: detail(outcome=outcome) for outcome in ("CANCELLED", "FAILED", "SUCCEEDED")},
    "CANCELLING": detail(outcome="CANCELLING", id="0123456789abcdef0123456789abcde0"),
    "DRY_RUN": detail(outcome="DRY_RUN", dryRun=True),
    "ERROR": detail(outcome="ERROR", error={"code": "AccessDeniedException", "message": "no"}),
    "SKIPPED": detail(outcome="SKIPPED", reason="OVER_LIMIT"),
}


def damaged():
    """Valid details, each with one thing wrong."""
    for name in DETAIL["required"]:
        without = detail()
        del without[name]
        yield f"no {name}", without
        yield f"{name} is a number", detail(**{name: 7})
    for outer in ("environment", "deployment", "trigger", "run"):
        for name in DETAIL["properties"][outer]["required"]:
            without = copy.deepcopy(detail())
            del without[outer][name]
            yield f"no {outer}.{name}", without
        yield f"more in {outer}", detail(**{outer: {**detail()[outer], "more": 1}})
    yield "more", detail(more=1)
    yield "the id of an end that is none", detail(outcome="CANCELLING")
    yield "the id of no end", detail(id="0123456789abcdef0123456789abcde0")
    yield "an id of another last digit", detail(id="0123456789abcdef0123456789abcdef")
    yield "a dry cancel", {**VALID["CANCELLING"], "dryRun": True}
    yield "unknown outcome", detail(outcome="STOPPED")
    yield "error without an error", detail(outcome="ERROR")
    yield "an error that is none", detail(error={"code": "X", "message": ""})
    yield "skipped without a reason", detail(outcome="SKIPPED")
    yield "a reason without a skip", detail(reason="OVER_LIMIT")
    yield "unknown reason", detail(outcome="SKIPPED", reason="NOT_STUCK")
    yield "unknown trigger", detail(trigger={**detail()["trigger"], "kind": "whim"})


@pytest.fixture(scope="module")
def registered():
    properties = written(derivation.TEMPLATE)["Resources"]["OutcomeSchema"]["Properties"]
    assert properties["Type"] == "JSONSchemaDraft4"
    return json.loads(properties["Content"])


@pytest.fixture(scope="module")
def validators(registered):
    Draft4Validator.check_schema(registered)
    Draft202012Validator.check_schema(DETAIL)
    ours = Draft202012Validator(DETAIL, format_checker=Draft202012Validator.FORMAT_CHECKER)
    theirs = Draft4Validator(registered, format_checker=Draft4Validator.FORMAT_CHECKER)
    return ours.is_valid, lambda value: theirs.is_valid(event(value))


def test_the_registrys_template_holds_what_is_derived(registered):
    assert registered == derivation.registry_document(), "run deploy/schema.py --write"


def test_members_requirements_and_enumerations_are_the_same(registered):
    def skeleton(node, definitions):
        if "$ref" in node:
            node = definitions[node["$ref"].rsplit("/", 1)[1]]
        return {
            "type": node.get("type"),
            "enum": node.get("enum", [node["const"]] if "const" in node else None),
            "required": node.get("required"),
            "properties": {name: skeleton(inner, definitions) for name, inner in node.get("properties", {}).items()},
            "closed": node.get("additionalProperties"),
        }

    definitions = registered["definitions"]
    assert skeleton(definitions[derivation.NAME], definitions) == skeleton(DETAIL, DETAIL["$defs"])


@pytest.mark.parametrize("name", VALID)
def test_both_take_every_outcome(validators, name):
    assert [valid(VALID[name]) for valid in validators] == [True, True]


@pytest.mark.parametrize(("wrong", "value"), list(damaged()))
def test_both_refuse_what_is_wrong(validators, wrong, value):
    assert [valid(value) for valid in validators] == [False, False]


def test_both_take_everything_that_a_run_published(validators):
    """Outcomes that the built function published, where a run left them."""
    published = json.loads(runs("published.json"))
    assert {value["outcome"] for value in published} >= {"CANCELLED", "FAILED", "SUCCEEDED", "DRY_RUN", "SKIPPED", "ERROR"}
    for value in published:
        assert [valid(value) for valid in validators] == [True, True], value


def test_the_envelope_is_what_the_function_publishes(registered):
    source = (ROOT / "src" / "trigger" / "sqs.rs").read_text()
    assert f'pub const SOURCE: &str = "{derivation.SOURCE}";' in source
    assert f'pub const DETAIL_TYPE: &str = "{derivation.DETAIL_TYPE}";' in source
    assert registered["x-amazon-events-source"] == derivation.SOURCE
    assert registered["x-amazon-events-detail-type"] == derivation.DETAIL_TYPE
