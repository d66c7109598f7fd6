"""The function's own alarms and its dashboard: they look at what exists, and tell who should hear."""

import json
import re

import pytest
from stack import EVERYTHING, ROOT

METRICS = {"InProgress", "Cancelled", "Failed", "Succeeded", "Cancelling", "Skipped", "Errors", "TimeToFirstCancel"}
OWN = "proton-canceller/proton-canceller"


def known_metrics(stack):
    """Namespace, name and dimensions of every metric there is."""
    function = ("FunctionName", "Function-name")
    known = {("proton-canceller", name, function) for name in METRICS}
    known |= {("AWS/Lambda", name, function) for name in ("Invocations", "Errors", "Throttles", "Duration")}
    for queue in stack.of_type("AWS::SQS::Queue"):
        known.add(("AWS/SQS", "ApproximateNumberOfMessagesVisible", ("QueueName", f"{queue}-QueueName")))
    for each in stack.of_type("AWS::Logs::MetricFilter").values():
        (transformation,) = each["MetricTransformations"]
        known.add((transformation["MetricNamespace"], transformation["MetricName"]))
    return known


def test_each_alarm_watches_a_metric_that_exists(any_stack):
    alarms = any_stack.of_type("AWS::CloudWatch::Alarm")
    watched = set()
    for alarm in alarms.values():
        dimensions = [(each["Name"], each["Value"]) for each in alarm.get("Dimensions", [])]
        watched.add((alarm["Namespace"], alarm["MetricName"], *dimensions))
        assert len(alarm["AlarmDescription"]) > 60
        assert alarm["AlarmName"].startswith("proton-canceller-")
    assert len(watched) == len(alarms)
    assert watched <= known_metrics(any_stack)


def test_there_is_an_alarm_for_each_way_to_fail(stack):
    def watched(stack):
        return {(alarm["Namespace"], alarm["MetricName"]) for alarm in stack.of_type("AWS::CloudWatch::Alarm").values()}

    always = {
        ("AWS/Lambda", "Errors"),
        ("AWS/Lambda", "Throttles"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("proton-canceller", "Errors"),
        (OWN, "OverLimit"),
    }
    assert watched(stack()) == always | {(OWN, "Sweeps")}
    assert watched(stack(SweepEveryMinutes="0")) == always
    assert watched(stack(Enabled="false")) == always


@pytest.mark.parametrize("minutes", ["5", "10", "15", "30", "60"])
def test_the_sweeps_alarm_follows_its_interval(stack, minutes):
    made = stack(SweepEveryMinutes=minutes)
    assert made.resources["FunctionSweep"]["Properties"]["ScheduleExpression"] == f"rate({minutes} minutes)"
    alarm = made.resources["SweepStoppedAlarm"]["Properties"]
    assert alarm["Period"] == int(minutes) * 60
    assert alarm["EvaluationPeriods"] == 3
    assert (alarm["ComparisonOperator"], alarm["TreatMissingData"]) == ("LessThanThreshold", "breaching")


def test_alarms_tell_whoever_wants_to_hear(stack):
    pager = EVERYTHING["OperationsTopicArn"]
    mail = "arn:aws:sns:us-east-1:123456789012:NotificationTopic-name"
    for parameters, expected in [
        ({}, []),
        ({"OperationsTopicArn": pager}, [pager]),
        ({"NotificationEmail": "ops@example.com"}, [mail]),
        (EVERYTHING, [mail, pager]),
    ]:
        for alarm in stack(**parameters).of_type("AWS::CloudWatch::Alarm").values():
            assert alarm["AlarmActions"] == alarm["OKActions"] == expected


def test_the_readme_says_of_each_alarm_what_it_means(stack):
    readme = ROOT / "README.md"
    for alarm in stack().of_type("AWS::CloudWatch::Alarm").values():
        assert f"`{alarm['AlarmName'].removeprefix('proton-canceller-')}`" in readme.read_text(), alarm["AlarmName"]


def widgets(stack):
    return json.loads(stack.resources["Dashboard"]["Properties"]["DashboardBody"])["widgets"]


def test_the_dashboard_shows_metrics_that_exist(any_stack):
    shown = set()
    for widget in widgets(any_stack):
        previous = []
        for row in widget["properties"].get("metrics", []):
            row = [part for part in row if not isinstance(part, dict)]
            if row and row[0] == "...":
                row = previous[: len(previous) - (len(row) - 1)] + row[1:]
            else:
                row = [previous[index] if part == "." else part for index, part in enumerate(row)]
            previous = row
            shown.add((row[0], row[1], *zip(row[2::2], row[3::2])))
    known = known_metrics(any_stack)
    assert shown <= known
    # Every metric of the function's own but the skips, which the log tells with their reasons.
    own = {name for namespace, name, *_ in shown if namespace == "proton-canceller"}
    assert own == METRICS - {"Skipped"}


def test_the_dashboard_says_whether_it_is_on(stack):
    text = widgets(stack(Enabled="false", DryRun="true"))[0]["properties"]["markdown"]
    assert "| Enabled | **false** |" in text
    assert "| Dry run | **true** |" in text
    assert "`prod-...`" in text


@pytest.mark.parametrize(
    ("parameters", "shown"),
    [
        ({}, "proton: `*`"),
        ({"Engine": "cloudformation"}, "cloudformation: `AWSProton-*`"),
        ({"Engine": "cloudformation", "Environments": "shop-*"}, "cloudformation: `shop-*`"),
    ],
)
def test_the_dashboard_says_what_may_be_touched(stack, parameters, shown):
    text = widgets(stack(**parameters))[0]["properties"]["markdown"]
    assert f"| Environments | {shown} |" in text


def test_the_dashboard_shows_every_alarm(any_stack):
    (shown,) = (widget["properties"]["alarms"] for widget in widgets(any_stack) if widget["type"] == "alarm")
    names = [alarm["AlarmName"] for alarm in any_stack.of_type("AWS::CloudWatch::Alarm").values()]
    assert sorted(arn.rsplit(":", 1)[1] for arn in shown) == sorted(names)


def test_no_two_widgets_lie_on_one_another(stack):
    taken = set()
    for widget in widgets(stack()):
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert not cells & taken and max(x for x, _ in cells) < 24
        taken |= cells


def test_logs_go_where_the_widgets_and_filters_look(any_stack):
    function = any_stack.resources["Function"]["Properties"]
    assert function["LoggingConfig"]["LogGroup"] == "LogGroup-name"
    assert function["LoggingConfig"]["LogFormat"] == "JSON"
    for widget in widgets(any_stack):
        if widget["type"] == "log":
            assert widget["properties"]["query"].startswith("SOURCE 'LogGroup-name' | ")
    for each in any_stack.of_type("AWS::Logs::MetricFilter").values():
        assert each["LogGroupName"] == "LogGroup-name"
