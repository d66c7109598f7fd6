"""The template's variables are the binary's, and its parameters accept what the binary accepts."""

import re

import pytest
from stack import EVERYTHING, ROOT, accepts

# Variables of the AWS SDK: known to the binary, and none of its settings.
OF_THE_SDK = {"AWS_ENDPOINT_URL"}


@pytest.fixture(scope="module")
def known():
    """The settings that the binary knows, from the one place where it names them."""
    source = (ROOT / "src" / "settings.rs").read_text()
    names = dict(re.findall(r'const ([A-Z_]+): &str = "([A-Z_]+)";', source))
    listed = re.search(r"pub const VARIABLES: \[&str; \d+\] = \[(.*?)\];", source, re.S).group(1)
    return {names[each] for each in re.findall(r"[A-Z_]+", listed)}


def variables(stack):
    return stack.resources["Function"]["Properties"]["Environment"]["Variables"]


def test_every_variable_is_known_and_every_known_one_is_set(any_stack, known):
    assert variables(any_stack).keys() == known


def test_what_is_named_for_sam_local_is_never_deployed(any_stack, transformed, known):
    written = transformed["Resources"]["Function"]["Properties"]["Environment"]["Variables"]
    assert written.keys() - known == OF_THE_SDK
    assert not OF_THE_SDK & variables(any_stack).keys()


def test_every_setting_is_a_parameter(transformed, known):
    written = transformed["Resources"]["Function"]["Properties"]["Environment"]["Variables"]
    referred = {name: written[name]["Ref"] for name in known}
    assert {name: to_pascal(name) for name in known} == referred


def to_pascal(name):
    return "".join(part.capitalize() for part in name.split("_"))


@pytest.mark.parametrize("engine", ["proton", "cloudformation"])
def test_the_defaults_are_the_binarys(stack, readme_table, engine):
    defaults = {name: default.strip("`") if default.startswith("`") else "" for name, default in readme_table.items()}
    # Empty, so that the engine's own default holds.
    expected = {**defaults, "ENGINE": engine, "ENVIRONMENTS": ""}
    assert variables(stack(Engine=engine)) == expected
    assert defaults["ENGINE"] == stack().parameters["Engine"]


def test_what_is_said_of_the_engines_defaults_is_what_the_binary_has(template, readme_table):
    source = (ROOT / "src" / "engine.rs").read_text()
    body = re.search(r"fn usual_environments\(self\) -> &'static str \{(.*?)\n    \}", source, re.S).group(1)
    defaults = {engine.lower(): default for engine, default in re.findall(r'Self::(\w+) => "([^"]+)"', body)}
    assert defaults == {name: each["Environments"] for name, each in template["Mappings"]["Engines"].items()}
    assert defaults.keys() == set(template["Parameters"]["Engine"]["AllowedValues"])
    for engine, default in defaults.items():
        assert f"{default} with {engine}" in template["Parameters"]["Environments"]["Description"].replace("\n", " ")
    # What is allowed by default is what is touched by default.
    assert template["Parameters"]["StackNamePattern"]["Default"] == defaults["cloudformation"]
    assert readme_table["ENVIRONMENTS"] == f"`{defaults['proton']}`"


@pytest.fixture(scope="module")
def readme_table(known):
    """The README's table of settings: name to default."""
    (section,) = re.findall(r"^## Settings$(.*?)^## ", (ROOT / "README.md").read_text(), re.M | re.S)
    table = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+?) \|", section, re.M))
    assert table.keys() == known, "the README's table of settings is not complete"
    return table


def test_the_env_vars_file_names_only_variables_that_the_template_has(transformed):
    import json

    written = transformed["Resources"]["Function"]["Properties"]["Environment"]["Variables"]
    (function, values), = json.loads((ROOT / "deploy" / "local-env.json").read_text()).items()
    assert function == "Function"
    assert values.keys() <= written.keys()
    assert "AWS_ENDPOINT_URL" in values


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("Engine", ["proton", "cloudformation"], ["", "Proton", "ecs"]),
        ("Environments", ["", "*", "prod-*", "prod-*, {a,b}", "p[a-c]?", "[!x]*", "a,b,"], [" ", ",", "prod/*", "a$", "é"]),
        ("StackNamePattern", ["*", "AWSProton-*", "shop-?", "A" * 128], ["", " ", "a,b", "a/*", "[ab]", "1a", "-a", "a_b", "${x}", "A" * 129]),
        ("ProtectedEnvironments", ["", "prod-core", "{a,b}-?"], [" ", ",", "a/b", '"']),
        ("EventBusName", ["default", "ops/eu.1", EVERYTHING["EventBusName"]], ["", "a b", "arn:aws:events:us-east-1:1:rule/x", "arn:"]),
        ("StuckAfterMinutes", ["0", "60", "525600"], ["-1"]),
        ("MaxCancellations", ["0", "10000"], ["-1", "10001"]),
        ("SettleTimeoutSeconds", ["0", "900"], ["-1", "901"]),
        ("Concurrency", ["1", "100"], ["0", "101"]),
        ("DryRun", ["true", "false"], ["", "True", "1"]),
        ("AlarmScope", ["all", "tagged"], ["", "ALL"]),
        ("ReservedConcurrency", ["", "1", "1000"], ["0", "-1", "01", "1001"]),
        ("NotificationEmail", ["", "a.b+c@example.co.uk"], ["a", "a@b", "a b@example.com"]),
        ("EnvironmentTemplateName", ["", "net", "Net_1-a"], ["-net", "net*", "arn:aws:proton:::x"]),
        ("AlarmTopicArn", ["", EVERYTHING["AlarmTopicArn"]], ["alarms", EVERYTHING["AlarmTopicArn"] + ".fifo"]),
        ("OperationsTopicArn", ["", EVERYTHING["OperationsTopicArn"]], ["*"]),
        ("LogLevel", ["INFO"], ["ERROR", "info"]),
        ("Architecture", ["arm64", "x86_64"], ["arm"]),
    ],
)
def test_parameters_refuse_what_the_binary_would(template, name, good, bad):
    declaration = template["Parameters"][name]
    assert [value for value in good if not accepts(declaration, value)] == []
    assert [value for value in bad if accepts(declaration, value)] == []


def test_every_parameter_is_described_bounded_grouped_and_labelled(template):
    interface = template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
    parameters = template["Parameters"]
    assert sorted(grouped) == sorted(parameters)
    assert interface["ParameterLabels"].keys() == parameters.keys()
    for name, declaration in parameters.items():
        assert len(declaration["Description"]) > 20, name
        bounded = declaration.keys() & {"AllowedValues", "AllowedPattern"} or {"MinValue", "MaxValue"} <= declaration.keys()
        assert bounded, name
        assert ("Default" in declaration) == (name != "AlarmNamePrefix"), name
        if "Default" in declaration:
            assert accepts(declaration, str(declaration["Default"])), name
        if "AllowedPattern" in declaration:
            assert declaration["ConstraintDescription"], name


def test_samconfig_sets_only_parameters_that_exist(template):
    import tomllib

    configuration = tomllib.loads((ROOT / "samconfig.toml").read_text())
    overrides = configuration["default"]["deploy"]["parameters"]["parameter_overrides"]
    given = dict(pair.split("=", 1) for pair in overrides.split())
    assert given.keys() <= template["Parameters"].keys()
    assert given == {"DryRun": "true"}
