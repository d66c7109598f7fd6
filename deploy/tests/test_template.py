"""The template as a whole: what outlives it, what it excuses, what it tells."""

from stack import ROOT


def test_what_is_kept_and_what_goes_is_decided(transformed):
    kept = {name for name, each in transformed["Resources"].items() if each.get("DeletionPolicy", "Delete") != "Delete"}
    assert kept == {"LogGroup"}
    for name, each in transformed["Resources"].items():
        if each["Type"] in ("AWS::SQS::Queue", "AWS::KMS::Key", "AWS::Logs::LogGroup"):
            assert {"DeletionPolicy", "UpdateReplacePolicy"} <= each.keys(), name


def test_every_suppression_has_a_reason(template):
    """And stands where a reader of the resource sees it."""
    suppressed = [
        (name, skip)
        for name, each in template["Resources"].items()
        for skip in each.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]
    assert suppressed
    for name, skip in suppressed:
        assert len(skip["comment"]) > 60, (name, skip["id"])
    assert not [name for name, each in template["Resources"].items() if "cfn-lint" in each.get("Metadata", {})]


def test_the_repository_metadata_names_files_that_exist(template):
    metadata = template["Metadata"]["AWS::ServerlessRepo::Application"]
    for name in ("LicenseUrl", "ReadmeUrl"):
        assert (ROOT / metadata[name]).is_file()
    assert f'version = "{metadata["SemanticVersion"]}"' in (ROOT / "Cargo.toml").read_text()


def test_the_outputs_are_there_in_every_shape(any_stack):
    always = {
        "FunctionName", "FunctionArn", "LogGroupName", "AlarmRuleName", "DashboardUrl", "UndeliveredQueueUrl",
        "UndoneQueueUrl", "OutcomeSchemaArn", "TurnOffNow", "TurnOnAgain",
    }  # fmt: skip
    assert always <= any_stack.outputs.keys() <= always | {"NotificationTopicArn"}
    assert any_stack.outputs["TurnOffNow"].endswith("--function-name Function-name --reserved-concurrent-executions 0")


def test_turning_it_on_again_restores_what_was_reserved(stack):
    assert "delete-function-concurrency" in stack().outputs["TurnOnAgain"]
    assert stack(ReservedConcurrency="7").outputs["TurnOnAgain"].endswith("--reserved-concurrent-executions 7")


def test_the_function_is_what_sam_builds(template):
    function = template["Resources"]["Function"]
    assert function["Metadata"]["BuildMethod"] == "rust-cargolambda"
    assert function["Metadata"]["BuildProperties"]["Binary"] == "proton-canceller"
    properties = function["Properties"]
    assert (properties["Runtime"], properties["Timeout"], properties["Tracing"]) == ("provided.al2023", 900, "Active")
    defaults = {name: each.get("Default") for name, each in template["Parameters"].items()}
    assert (defaults["Architecture"], defaults["MemorySize"]) == ("arm64", 256)


def test_queues_are_encrypted_at_rest_and_in_transit(any_stack):
    queues = any_stack.of_type("AWS::SQS::Queue")
    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues.values())
    denying = {
        queue
        for policy in any_stack.of_type("AWS::SQS::QueuePolicy").values()
        for queue in policy["Queues"]
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    }
    assert denying == {f"{name}-name" for name in queues}
