"""What the filters and queries look for is what the built function logs.

Held against the lines of the runs under the runtime interface emulator; deploy/check.sh makes them
and names their folder in PROTON_CANCELLER_RUNS.
"""

import json
import re

import pytest
from conftest import runs
from test_watch import METRICS, widgets


@pytest.fixture(scope="module")
def logs():
    """The function's lines, by run."""
    return json.loads(runs("logs.json"))


def member(line, path):
    for step in path.removeprefix("$.").split("."):
        if not isinstance(line, dict) or step not in line:
            return None
        line = line[step]
    return line


def filter_takes(pattern, line):
    """CloudWatch Logs' filter patterns for JSON, as far as the template uses them."""
    terms = re.fullmatch(r"\{ (.+) \}", pattern).group(1).split(" && ")
    for term in terms:
        path, operator, wanted = re.fullmatch(r'(\$[\w.]+) (=|>=) ("[^"]*"|\d+)', term).groups()
        found = member(line, path)
        wanted = json.loads(wanted)
        if operator == "=" and found != wanted:
            return False
        if operator == ">=" and not (isinstance(found, int | float) and not isinstance(found, bool) and found >= wanted):
            return False
    return True


def counted(stack, name, lines):
    (pattern,) = {stack().resources[name]["Properties"]["FilterPattern"]}
    return sum(filter_takes(pattern, line) for line in lines)


def test_every_line_has_what_lambda_filters_by(logs):
    for lines in logs.values():
        for line in lines:
            assert {"timestamp", "level"} <= line.keys(), line
            assert "_aws" in line or "message" in line, line


def test_the_limits_metric_counts_spared_deployments_and_nothing_else(stack, logs):
    for name, lines in logs.items():
        count = counted(stack, "OverLimitMetric", lines)
        assert (count > 1) if "over_the_limit" in name else (count == 0), name


def test_the_sweeps_metric_counts_each_sweep_once_and_nothing_else(stack, logs):
    for name, lines in logs.items():
        assert counted(stack, "SweepMetric", lines) == name.startswith("schedule"), name
    assert any(name.startswith("schedule") for name in logs)


def test_the_dry_sweeps_metric_counts_what_a_dry_sweep_found_and_nothing_else(stack, logs):
    for name, lines in logs.items():
        count = counted(stack, "DrySweepMetric", lines)
        assert (count > 0) if name.startswith("schedule_dry") else (count == 0), name


def test_metrics_come_out_at_warn(logs):
    """The runs' lines are what Lambda keeps of them at the level of the run."""
    for name, lines in logs.items():
        if "at_warn" in name:
            assert sum("_aws" in line for line in lines) == 1, name
            assert not [line for line in lines if line["level"] in ("TRACE", "DEBUG", "INFO")]
    assert any("at_warn" in name for name in logs)


def test_the_function_writes_the_metrics_that_are_watched(logs):
    documents = [line for lines in logs.values() for line in lines if "_aws" in line]
    written = set()
    for document in documents:
        (metrics,) = document["_aws"]["CloudWatchMetrics"]
        assert metrics["Namespace"] == "proton-canceller"
        assert metrics["Dimensions"] == [["FunctionName"]]
        assert document["FunctionName"]
        written |= {each["Name"] for each in metrics["Metrics"]}
    assert written == METRICS


def test_every_field_that_a_query_names_is_logged(stack, logs):
    lines = [line for each in logs.values() for line in each]
    named = set()
    for widget in widgets(stack()):
        for fields in re.findall(r"fields ([^|]+)\|", widget["properties"].get("query", "")):
            named |= {field.strip() for field in fields.split(",")} - {"@timestamp"}
    assert {"outcome", "reason", "span.trigger"} <= named
    never_logged = {field for field in named if not any(member(line, field) is not None for line in lines)}
    # `why` stands in lines about events that EventBridge refuses, which no sample brings about; the emulator writes
    # no lines of the platform.
    assert {field for field in never_logged if not re.match(r"type$|record\.", field)} <= {"why"}


def test_nothing_secret_is_logged(logs):
    text = json.dumps(logs)
    assert "AWS_SECRET" not in text and "Authorization" not in text and "X-Amz-" not in text


def taken(query, line):
    """The filter of a query of Logs Insights, as far as the dashboard uses its language."""
    text = re.search(r"\| filter (.+?) \| sort", query)[1]
    text = re.sub(r"([\w.]+) like /(.+?)/", r"re.search(r'\2', str(get('\1'))) is not None", text)
    text = re.sub(r"ispresent\(([\w.]+)\)", r"(get('\1') is not None)", text)
    text = re.sub(r"([\w.]+) in \[", r"get('\1') in [", text)
    text = re.sub(r"([\w.]+) (!?=) ('\w+')", lambda m: f"get('{m[1]}') {m[2].replace('=', '==') if m[2] == '=' else m[2]} {m[3]}", text)
    return eval(text, {"re": re, "get": lambda path: member(line, path)})


def query_of(stack, title):
    (widget,) = (each for each in widgets(stack()) if each["properties"].get("title", "").startswith(title))
    return widget["properties"]["query"]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ({"level": "ERROR", "message": "x"}, True),
        ({"level": "WARN", "message": "x"}, True),
        ({"level": "INFO", "message": "x"}, False),
        # Metrics are at a level that passes every filter, and no errors.
        ({"level": "ERROR", "FunctionName": "x", "Errors": 0, "_aws": {}}, False),
        ({"level": "FATAL", "FunctionName": "x", "Errors": 0, "_aws": {}}, False),
        # https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
        ({"type": "platform.report", "record": {"requestId": "1", "status": "timeout"}}, True),
        ({"type": "platform.report", "record": {"requestId": "1", "status": "error", "errorType": "Runtime.ExitError"}}, True),
        ({"type": "platform.initReport", "record": {"status": "failure"}}, True),
        ({"type": "platform.report", "record": {"requestId": "1", "status": "success"}}, False),
        ({"type": "platform.start", "record": {"requestId": "1"}}, False),
    ],
)
def test_the_table_of_errors_lists_what_failed_and_nothing_else(stack, line, wanted):
    assert taken(query_of(stack, "Warnings, errors"), line) is wanted


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ({"outcome": "CANCELLED", "reason": None}, True),
        ({"outcome": "SKIPPED", "reason": "OVER_LIMIT"}, True),
        ({"outcome": "SKIPPED", "reason": "NOT_STUCK"}, False),
        ({"message": "x"}, False),
    ],
)
def test_the_table_of_outcomes_is_not_buried_under_skips(stack, line, wanted):
    assert taken(query_of(stack, "How each deployment"), line) is wanted


def test_no_metrics_line_is_listed_as_an_error(stack, logs):
    query = query_of(stack, "Warnings, errors")
    for lines in logs.values():
        assert not [line for line in lines if "_aws" in line and taken(query, line)]
