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


def test_every_line_is_json_and_the_functions_lines_have_a_level(logs):
    for lines in logs.values():
        for line in lines:
            assert "_aws" in line or {"timestamp", "level", "message"} <= line.keys(), line


def test_the_limits_metric_counts_spared_deployments_and_nothing_else(stack, logs):
    for name, lines in logs.items():
        count = counted(stack, "OverLimitMetric", lines)
        assert (count > 1) if "over_the_limit" in name else (count == 0), name


def test_the_sweeps_metric_counts_each_sweep_once_and_nothing_else(stack, logs):
    for name, lines in logs.items():
        assert counted(stack, "SweepMetric", lines) == name.startswith("schedule"), name
    assert any(name.startswith("schedule") for name in logs)


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
    # `why` stands in lines about events that EventBridge refuses, which no sample brings about.
    assert never_logged <= {"why"}


def test_nothing_secret_is_logged(logs):
    text = json.dumps(logs)
    assert "AWS_SECRET" not in text and "Authorization" not in text and "X-Amz-" not in text
