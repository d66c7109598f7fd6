"""The function's own alarms and its dashboard: they look at what exists, and tell who should hear."""

import json
import re

import pytest
from stack import EVERYTHING, ROOT

METRICS = {"InProgress", "Cancelled", "Failed", "Succeeded", "Cancelling", "Skipped", "Errors", "TimeToFirstCancel"}
OWN = "proton-canceller/proton-canceller"


def known_metrics(stack):
    """Namespace, name and dimensions of every metric there is."""
    known = set()
    for function in stack.of_type("AWS::Lambda::Function"):
        dimension = ("FunctionName", f"{function}-name")
        # What a follow writes: the end, and no other metric.
        written = METRICS if function == "Function" else {"Cancelled", "Failed", "Succeeded", "Errors"}
        known |= {("proton-canceller", name, dimension) for name in written}
        # https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
        known |= {("AWS/Lambda", name, dimension) for name in ("Invocations", "Errors", "Throttles", "Duration")}
    known.add(("AWS/Lambda", "DestinationDeliveryFailures", ("FunctionName", "Function-name")))
    # https://docs.aws.amazon.com/scheduler/latest/UserGuide/monitoring-cloudwatch.html
    known.add(("AWS/Scheduler", "InvocationsFailedToBeSentToDeadLetterCount", ("ScheduleGroup", "SweepGroup-name")))
    for subscription in stack.of_type("AWS::SNS::Subscription").values():
        if "RedrivePolicy" in subscription:
            # https://docs.aws.amazon.com/sns/latest/dg/sns-monitoring-using-cloudwatch.html
            topic = subscription["TopicArn"].rsplit(":", 1)[1]
            known.add(("AWS/SNS", "NumberOfNotificationsFailedToRedriveToDlq", ("TopicName", topic)))
    for name, rule in stack.of_type("AWS::Events::Rule").items():
        # Of a custom bus, a rule's metrics have both dimensions: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
        bus = rule.get("EventBusName", "default")
        dimensions = [("RuleName", f"{name}-name")] if bus == "default" else [("EventBusName", bus), ("RuleName", f"{name}-name")]
        known.add(("AWS/Events", "InvocationsFailedToBeSentToDlq", *dimensions))
    for queue in stack.of_type("AWS::SQS::Queue"):
        known.add(("AWS/SQS", "ApproximateNumberOfMessagesVisible", ("QueueName", f"{queue}-QueueName")))
    for each in stack.of_type("AWS::Logs::MetricFilter").values():
        (transformation,) = each["MetricTransformations"]
        known.add((transformation["MetricNamespace"], transformation["MetricName"]))
    return known


def metrics_of(alarm):
    """Namespace, name and dimensions of what an alarm watches, and the seconds of a period."""
    sources = [each["MetricStat"] for each in alarm.get("Metrics", []) if "MetricStat" in each]
    for source in sources or [{"Metric": alarm, "Period": alarm["Period"]}]:
        metric = source["Metric"]
        dimensions = [(each["Name"], each["Value"]) for each in metric.get("Dimensions", [])]
        yield (metric["Namespace"], metric["MetricName"], *dimensions), source["Period"]


def test_each_alarm_watches_metrics_that_exist(any_stack):
    alarms = any_stack.of_type("AWS::CloudWatch::Alarm")
    watched = [metric for alarm in alarms.values() for metric, _ in metrics_of(alarm)]
    assert len(watched) == len(set(watched))
    assert set(watched) <= known_metrics(any_stack)
    for alarm in alarms.values():
        assert len(alarm["AlarmDescription"]) > 60
        assert alarm["AlarmName"].startswith("proton-canceller/proton-canceller/")
        for math in alarm.get("Metrics", []):
            if "Expression" in math:
                # It sums whatever metrics the stack has.
                assert (math["Expression"], math["ReturnData"]) == ("SUM(METRICS())", True)
            else:
                assert math["ReturnData"] is False


def test_nothing_that_fails_to_reach_a_queue_is_silent(any_stack):
    """Each queue behind a target, a subscription, a schedule and the function."""
    watched = {metric for metric, _ in metrics_of(any_stack.resources["LostAlarm"]["Properties"])}
    assert watched == {metric for metric in known_metrics(any_stack) if "Fail" in metric[1] and metric[0].startswith("AWS/")}
    subscribed = [each for each in any_stack.of_type("AWS::SNS::Subscription").values() if each["Protocol"] == "lambda"]
    assert len(watched) == len(any_stack.of_type("AWS::Events::Rule")) + len(subscribed) + 2


def test_there_is_an_alarm_for_each_way_to_fail(stack):
    def named(**parameters):
        alarms = stack(**parameters).of_type("AWS::CloudWatch::Alarm").values()
        return {alarm["AlarmName"].rsplit("/", 1)[1] for alarm in alarms}

    always = {"invocation-errors", "outcome-errors", "over-limit", "throttles", "undelivered", "undone", "lost"}
    follower = {"follower-errors", "follower-stopped", "unfollowed"}
    assert named() == always | follower | {"sweep-stopped", "dry-sweep"}
    assert named(DryRun="false") == always | follower | {"sweep-stopped"}
    assert named(SweepEveryMinutes="0") == named(Enabled="false") == always | follower
    assert named(EventBusAccountId="210987654321", SweepEveryMinutes="0") == always


def rings(alarm, breaches, minutes):
    """How often an alarm goes to ALARM when its metric breaches in these minutes; what is missing breaches nothing."""
    assert alarm["TreatMissingData"] == "notBreaching"
    ((_, period), *_) = metrics_of(alarm)
    points = [any(start <= 60 * minute < start + period for minute in breaches) for start in range(0, 60 * minutes, period)]
    window, needed = alarm["EvaluationPeriods"], alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"])
    # M out of N: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
    states = [sum(points[max(0, end - window) : end]) >= needed for end in range(1, len(points) + 1)]
    return sum(now and not before for before, now in zip([False, *states], states))


@pytest.mark.parametrize("every", [5, 10, 15, 30, 60])
@pytest.mark.parametrize("name", ["invocation-errors", "outcome-errors", "over-limit", "throttles", "dry-sweep", "follower-errors", "lost"])
def test_what_fails_in_every_sweep_rings_once(stack, name, every):
    (alarm,) = (each for each in stack().of_type("AWS::CloudWatch::Alarm").values() if each["AlarmName"].endswith("/" + name))
    day = 24 * 60
    assert rings(alarm, range(7, day, every), day) == 1
    assert rings(alarm, [], day) == 0
    # And again when it comes again.
    assert rings(alarm, [10, 300], day) == 2
    # An evaluation of a day at the most: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    assert max(period for _, period in metrics_of(alarm)) * alarm["EvaluationPeriods"] <= 86_400


def test_a_follower_that_does_not_read_is_seen(stack):
    """A message that is read is invisible for 90 seconds, so that none is visible for 15 minutes unless nobody reads."""
    made = stack()
    alarm = made.resources["FollowerStoppedAlarm"]["Properties"]
    assert (alarm["Statistic"], alarm["Period"] * alarm["EvaluationPeriods"]) == ("Minimum", 900)
    assert made.resources["FollowQueue"]["Properties"]["VisibilityTimeout"] < 900


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


def test_the_documentation_says_of_each_alarm_what_it_means(stack):
    page = (ROOT / "docs" / "operations.md").read_text()
    told = re.findall(r"^\| `([a-z-]+)` \|", page.split("## When an own alarm rings")[1].split("\n## ")[0], re.M)
    alarms = stack().of_type("AWS::CloudWatch::Alarm").values()
    assert sorted(told) == sorted(alarm["AlarmName"].rsplit("/", 1)[1] for alarm in alarms)


def test_the_cost_of_the_alarms_is_counted(stack):
    """CloudWatch bills an alarm by the metrics that it watches."""

    def watched(**parameters):
        return sum(len(list(metrics_of(alarm))) for alarm in stack(**parameters).of_type("AWS::CloudWatch::Alarm").values())

    live, mailing, dry = watched(DryRun="false"), watched(DryRun="false", NotificationEmail="ops@example.com"), watched()
    page = (ROOT / "docs" / "operations.md").read_text()
    assert f"| {live} × 0.10; with e-mail {mailing}; in a dry run {dry - live} more | {mailing * 0.1:.2f} |" in page


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
