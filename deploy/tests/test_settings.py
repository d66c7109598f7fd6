"""The template's variables are the binary's, and its parameters accept what the binary accepts."""

import collections
import json
import os
import pathlib
import re
import shlex
import subprocess
import tomllib
from random import Random

import pytest
from stack import EVERYTHING, ROOT, Stack, accepts

# Variables of the AWS SDK: known to the binary, and none of its settings.
OF_THE_SDK = {"AWS_ENDPOINT_URL"}


@pytest.fixture(scope="module")
def known():
    """The settings that the binary knows, from the one place where it names them."""
    source = (ROOT / "src" / "settings.rs").read_text()
    names = dict(re.findall(r'const ([A-Z_]+): &str = "([A-Z_]+)";', source))
    listed = re.search(r"pub const VARIABLES: \[&str; \d+\] = \[(.*?)\];", source, re.S).group(1)
    return {names[each] for each in re.findall(r"[A-Z_]+", listed)} | {"IGNORED_ALARMS"}


def variables(stack, function="Function"):
    return stack.resources[function]["Properties"]["Environment"]["Variables"]


def test_every_variable_is_known_and_every_known_one_is_set(any_stack, known):
    assert variables(any_stack).keys() == known
    if "Follower" in any_stack.resources:
        assert variables(any_stack, "Follower").keys() == {"ENGINE", "EVENT_BUS_NAME", "CONCURRENCY", "DRY_RUN"}
        assert variables(any_stack, "Follower")["DRY_RUN"] == "true"


def test_what_is_named_for_sam_local_is_never_deployed(any_stack, transformed, known):
    for function in ("Function", "Follower"):
        written = transformed["Resources"][function]["Properties"]["Environment"]["Variables"]
        assert written.keys() - known == OF_THE_SDK
        if function in any_stack.resources:
            assert not OF_THE_SDK & variables(any_stack, function).keys()


def test_every_setting_is_a_parameter(transformed, known):
    written = transformed["Resources"]["Function"]["Properties"]["Environment"]["Variables"]
    referred = {name: written[name]["Ref"] for name in known if "Ref" in written[name]}
    assert {name: to_pascal(name) for name in known - MADE} == referred
    assert {to_pascal(name) for name in MADE - {"IGNORED_ALARMS"}} <= transformed["Parameters"].keys()


# What the template makes of parameters and of its own names.
MADE = {"IGNORED_ALARMS", "SETTLE_TIMEOUT_SECONDS", "EVENT_BUS_NAME"}


def to_pascal(name):
    return "".join(part.capitalize() for part in name.split("_"))


def test_a_run_waits_only_where_nothing_follows(stack):
    def waits(**parameters):
        return variables(stack(**parameters))["SETTLE_TIMEOUT_SECONDS"]

    elsewhere = {"EventBusAccountId": "210987654321"}
    assert (waits(), waits(EventBusAccountId="123456789012"), waits(**elsewhere)) == ("0", "0", "")
    assert (waits(SettleTimeoutSeconds="300"), waits(SettleTimeoutSeconds="0", **elsewhere)) == ("300", "0")


def test_the_bus_is_of_this_region(stack):
    """PutEvents reaches no other; a rule does: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-cross-region.html"""
    assert variables(stack(EventBusName="ops"))["EVENT_BUS_NAME"] == "ops"
    elsewhere = stack(EventBusName="ops", EventBusAccountId="210987654321")
    assert variables(elsewhere)["EVENT_BUS_NAME"] == "arn:aws:events:us-east-1:210987654321:event-bus/ops"
    with pytest.raises(AssertionError, match="MailNeedsOwnBus"):
        stack(EventBusAccountId="210987654321", NotificationEmail="ops@example.com")
    stack(EventBusAccountId="123456789012", NotificationEmail="ops@example.com")


@pytest.mark.parametrize("engine", ["proton", "cloudformation"])
def test_the_defaults_are_the_binarys_but_for_what_makes_an_install_safe(stack, settings_table, engine):
    defaults = {name: default.strip("`") if default.startswith("`") else "" for name, default in settings_table.items()}
    # ENVIRONMENTS is empty, so that the engine's own default holds.
    expected = {
        **defaults,
        "ENGINE": engine,
        "ENVIRONMENTS": "",
        "DRY_RUN": "true",
        "SETTLE_TIMEOUT_SECONDS": "0",
        "IGNORED_ALARMS": "proton-canceller/proton-canceller/*",
    }
    assert variables(stack(Engine=engine)) == expected


def test_what_is_said_of_the_engines_defaults_is_what_the_binary_has(template, settings_table):
    source = (ROOT / "src" / "engine.rs").read_text()
    body = re.search(r"fn usual_environments\(self\) -> &'static str \{(.*?)\n    \}", source, re.S).group(1)
    defaults = {engine.lower(): default for engine, default in re.findall(r'Self::(\w+) => "([^"]+)"', body)}
    assert defaults == {name: each["Environments"] for name, each in template["Mappings"]["Engines"].items()}
    assert defaults.keys() == set(template["Parameters"]["Engine"]["AllowedValues"])
    for engine, default in defaults.items():
        assert f"{default} with {engine}" in template["Parameters"]["Environments"]["Description"].replace("\n", " ")
    # What is allowed by default is what is touched by default.
    assert template["Parameters"]["StackNamePattern"]["Default"] == defaults["cloudformation"]
    assert settings_table["ENVIRONMENTS"] == f"`{defaults['proton']}`"


@pytest.fixture(scope="module")
def settings_table(known):
    """The documentation's table of settings: name to default."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    table = {
        name: default
        for page in pages
        for name, default in re.findall(r"^\| `([A-Z_]+)` \| ([^|]+?) \|", page.read_text(), re.M)
        if name in known
    }
    assert table.keys() >= known - {"IGNORED_ALARMS"}, "the table of settings is not complete"
    return table


def test_the_env_vars_file_names_only_variables_that_the_template_has(transformed):
    file = json.loads((ROOT / "deploy" / "local-env.json").read_text())
    assert file.keys() == {"Function", "Follower"}
    for function, values in file.items():
        written = transformed["Resources"][function]["Properties"]["Environment"]["Variables"]
        assert values.keys() <= written.keys()
        assert "AWS_ENDPOINT_URL" in values


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("Engine", ["proton", "cloudformation"], ["", "Proton", "ecs"]),
        ("Environments", ["", "*", "prod-*", "prod-*, {a,b}", "p[a-c]?", "[!x]*", "a,b,"], [" ", ",", "prod/*", "a$", "é"]),
        ("StackNamePattern", ["*", "AWSProton-*", "shop-?", "A" * 128, "a,b", "a*,b-?,c,d,e"], ["", " ", "a, b", "a,", ",a", "a/*", "[ab]", "1a", "-a", "a_b", "${x}", "A" * 129, "a,b,c,d,e,f"]),
        ("ProtectedEnvironments", ["", "prod-core", "{a,b}-?"], [" ", ",", "a/b", '"']),
        ("EventBusName", ["default", "ops-eu.1_", "a" * 256], ["", "a b", "a/b", "a" * 257, "arn:aws:events:us-east-1:123456789012:event-bus/ops"]),
        ("EventBusAccountId", ["", "123456789012"], ["1", "self", "12345678901a"]),
        ("StuckAfterMinutes", ["0", "60", "99999"], ["-1", "1.5", "", "1e3"]),
        ("MaxCancellations", ["0", "10000"], ["-1", "10001", "1.0"]),
        ("SettleTimeoutSeconds", ["", "0", "99", "100", "899", "900"], ["-1", "901", "0.5"]),
        ("Concurrency", ["1", "99", "100"], ["0", "101", "1.5"]),
        ("MemorySize", ["128", "256"], ["127", "256.5"]),
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
        if "Default" in declaration:
            assert accepts(declaration, str(declaration["Default"])), name
        if "AllowedPattern" in declaration:
            assert declaration["ConstraintDescription"], name


OF_GLOBS = "ab-z09AZ_*?!^[]{}, "
EVERYTHING_DRAWN = {
    # Each shape: what is drawn, piece by piece.
    "Environments": ("prod-*", "{a,b}", "[a-f]", "[!x]", "[z-a]", "[", "]", "{", "}", "{{a},b}", ",", " ", "?", "*", "**", "a", "-", "[]", "{}", "!", "^", "[a-]", "[0-9]"),
    "MaxCancellations": ("0", "1", "9", "10", "00", ".", ".0", "5", "e3", "-", "+", " "),
    "EventBusName": ("a", "default", "ops.eu", "_", "-", "/", ":", " ", "x" * 100, "x" * 57, "arn:aws:events:us-east-1:123456789012:event-bus/"),
    "EventBusAccountId": ("123456789012", "1", "210987654321"),
    "DryRun": ("true", "false", "T", " "),
    "AlarmScope": ("all", "tagged", "A"),
    "Engine": ("proton", "cloudformation", "P"),
}
EVERYTHING_DRAWN |= {
    "ProtectedEnvironments": EVERYTHING_DRAWN["Environments"],
    **dict.fromkeys(("StuckAfterMinutes", "SettleTimeoutSeconds", "Concurrency"), EVERYTHING_DRAWN["MaxCancellations"]),
}


def drawn(random, name):
    """A value that somebody may give, right or wrong."""
    if "Environments" in name and random.random() < 0.4:
        return "".join(random.choices(OF_GLOBS, k=random.randrange(12)))
    return "".join(random.choices(EVERYTHING_DRAWN[name], k=random.choice((1, 1, 1, 2, 3, 4))))


def complaints(settings):
    """What the binary says of these variables, before it asks for Lambda."""
    run = subprocess.run([binary()], env={**settings, "AWS_LAMBDA_LOG_FORMAT": "JSON"}, capture_output=True, text=True, timeout=60)
    assert run.returncode != 0
    return [name for name in settings if f"{name} is `" in run.stdout]


def binary():
    path = pathlib.Path(os.environ.get("PROTON_CANCELLER_BINARY", ROOT / "target" / "debug" / "proton-canceller"))
    if not path.is_file():
        pytest.skip(f"{path} is not built: `cargo build`")
    return path


def test_the_binary_starts_with_every_value_that_a_parameter_takes(transformed, template):
    """Draws values, asks both: what the template takes, the binary takes, and each parameter takes and refuses some."""
    assert complaints({"MAX_CANCELLATIONS": "1.5", "ENVIRONMENTS": "{a", "CONCURRENCY": "1"}) == ["MAX_CANCELLATIONS", "ENVIRONMENTS"]
    random = Random(20261127)
    taken, refused = collections.Counter(), collections.Counter()
    for _ in range(400):
        parameters = {}
        for name in EVERYTHING_DRAWN:
            value = drawn(random, name)
            if accepts(template["Parameters"][name], value):
                parameters[name] = value
                taken[name] += 1
            else:
                refused[name] += 1
        made = Stack(transformed, **{"Engine": "proton", "AlarmNamePrefix": "prod-", **parameters})
        assert complaints(variables(made)) == [], variables(made)
    assert taken.keys() == refused.keys() == EVERYTHING_DRAWN.keys()
    assert min(*taken.values(), *refused.values()) > 10, (taken, refused)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # As long as they may be.
        ("Environments", "?" * 1000),
        ("Environments", "[!a-z0-9]" * 100),
        ("Environments", ",".join(["{a,b,c}*"] * 100)),
        ("MaxCancellations", "10000"),
        ("StuckAfterMinutes", "99999"),
        ("EventBusName", "x" * 256),
    ],
)
def test_the_binary_starts_with_the_longest_values(stack, name, value):
    assert complaints(variables(stack(**{name: value}))) == []


@pytest.mark.parametrize(
    "value",
    # The long ones take ages where two ways through the pattern mean the same.
    ["prod-{a", "prod-a}", "prod-[a", "[z-a]", "{{a},b}", " , ", "{a}, {b", "[" + "a-z0-9" * 166, "{" + "a,[0-9]" * 142, ", " * 499 + "/"],
)
def test_globs_that_cannot_be_read_are_refused_before_anything_is_deployed(template, value):
    assert not accepts(template["Parameters"]["Environments"], value)


def test_samconfig_is_one_list_for_build_and_deploy(template):
    """`sam build` reads no list that is `sam deploy`'s own, and would build for another processor than is deployed."""
    configuration = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]
    assert {command for command, each in configuration.items() if "parameter_overrides" in each["parameters"]} == {"global"}
    given = dict(pair.split("=", 1) for pair in configuration["global"]["parameters"]["parameter_overrides"])
    assert given == {"Architecture": "arm64", "DryRun": "true"}
    assert given.keys() <= template["Parameters"].keys()


@pytest.mark.parametrize("commands", [["build"], ["deploy"], ["local", "invoke"]])
def test_every_command_of_sam_reads_that_list(commands):
    """By the SAM CLI's own reading of the file, twice in a row the same."""
    code = (
        "import json, sys\nfrom samcli.lib.config.samconfig import SamConfig\n"
        "print(json.dumps(SamConfig(sys.argv[1], 'samconfig.toml').get_all(sys.argv[2:], 'parameters')))"
    )
    assert "Architecture=arm64" in by_sam(code, ROOT, *commands)["parameter_overrides"]


EXAMPLES = re.compile(r"^parameter_overrides = \[\n.*?^\]", re.M | re.S)


@pytest.mark.parametrize("page", ["docs/deploy.md", "docs/multiple-accounts.md"])
def test_the_examples_of_parameter_overrides_mean_what_they_say(page, template):
    """By the SAM CLI's own reading: globs with commas, in a file and on a command line."""
    text = (ROOT / page).read_text()
    lists = [tomllib.loads(example)["parameter_overrides"] for example in EXAMPLES.findall(text)]
    lines = [shlex.split(line)[shlex.split(line).index("--parameter-overrides") + 1 :] for line in re.findall(r"^\$ (sam deploy .*--parameter-overrides .*)$", text, re.M)]
    assert lists or page != "docs/deploy.md"
    for given in [*lists, *lines]:
        read = read_by_sam(given)
        assert read == dict(pair.split("=", 1) for pair in given), given
        for name, value in read.items():
            assert accepts(template["Parameters"][name], value), (name, value)


def read_by_sam(given):
    """The parameters as the SAM CLI reads them."""
    code = (
        "import json, sys\nfrom samcli.cli.types import CfnParameterOverridesType\n"
        "print(json.dumps(CfnParameterOverridesType().convert(tuple(sys.argv[1:]), None, None)))"
    )
    return by_sam(code, *given)


def by_sam(code, *arguments):
    """What a program prints in the virtual environment of the SAM CLI."""
    python = ROOT / ".venv" / "sam" / "bin" / "python"
    if not python.is_file():
        pytest.skip("the SAM CLI is not there: deploy/check.sh installs it")
    run = subprocess.run([python, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)
