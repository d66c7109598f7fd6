"""The template as the SAM translator transforms it, with its functions resolved as CloudFormation would."""

import json
import pathlib
import re
import sys

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "proton-canceller",
    "AWS::URLSuffix": "amazonaws.com",
}
NO_VALUE = object()
# Where the attribute `Ref` is a name that the template gives.
NAMED_BY = {"AWS::CloudWatch::Alarm": "AlarmName", "AWS::CloudWatch::Dashboard": "DashboardName", "AWS::Events::EventBus": "Name"}
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference-rules.html
OF_RULES = {"Ref", "Fn::And", "Fn::Contains", "Fn::Equals", "Fn::Not", "Fn::Or"}


def functions(node):
    """The names of all functions in a part of the template."""
    if isinstance(node, list):
        return set().union(*map(functions, node))
    if not isinstance(node, dict):
        return set()
    named = {name for name in node if name in ("Ref", "Condition") or name.startswith("Fn::")}
    return named.union(*map(functions, node.values()))


class Stack:
    """The template with parameters applied, as CloudFormation would see it."""

    def __init__(self, transformed, pseudo=None, **parameters):
        self.transformed = transformed
        self.pseudo = {**PSEUDO, **(pseudo or {})}
        declared = transformed["Parameters"]
        unknown = parameters.keys() - declared.keys()
        assert not unknown, f"no such parameters: {unknown}"
        self.parameters = {
            name: str(parameters.get(name, declaration.get("Default", "")))
            for name, declaration in declared.items()
        }
        for name, value in self.parameters.items():
            assert accepts(declared[name], value), f"{name} does not accept {value!r}"
        for name, rule in transformed.get("Rules", {}).items():
            assert functions(rule) <= OF_RULES, f"{name}: CloudFormation takes {OF_RULES} in a rule and nothing else"
            if self.truth(rule["RuleCondition"]):
                for each in rule["Assertions"]:
                    assert self.truth(each["Assert"]), f"{name}: {each['AssertDescription']}"
        self.resources = {
            name: self.resolve(resource)
            for name, resource in transformed["Resources"].items()
            if self.condition(resource.get("Condition"))
        }
        self.outputs = {
            name: self.resolve(output["Value"])
            for name, output in transformed["Outputs"].items()
            if self.condition(output.get("Condition"))
        }

    def of_type(self, kind):
        return {name: each["Properties"] for name, each in self.resources.items() if each["Type"] == kind}

    def condition(self, name):
        return name is None or self.truth(self.transformed["Conditions"][name])

    def truth(self, condition):
        ((function, argument),) = condition.items()
        match function:
            case "Condition":
                return self.condition(argument)
            case "Fn::Equals":
                one, other = map(self.resolve, argument)
                return one == other
            case "Fn::Not":
                return not self.truth(argument[0])
            case "Fn::And":
                return all(map(self.truth, argument))
            case "Fn::Or":
                return any(map(self.truth, argument))
        raise AssertionError(f"unknown condition {function}")

    def ref(self, name):
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        resource = self.transformed["Resources"][name]
        assert self.condition(resource.get("Condition")), f"{name} does not exist with these parameters"
        if resource["Type"] == "AWS::SNS::Topic":
            return self.attribute(name, "TopicArn")
        if resource["Type"] in NAMED_BY:
            return self.resolve(resource["Properties"][NAMED_BY[resource["Type"]]])
        # Of a rule on a custom bus it is `bus|rule`.
        bus = self.bus(resource)
        return f"{bus}|{name}-name" if bus else f"{name}-name"

    def bus(self, resource):
        """The custom bus of a rule."""
        if resource["Type"] != "AWS::Events::Rule":
            return None
        bus = self.resolve(resource["Properties"].get("EventBusName", "default"))
        return None if bus == "default" else bus

    def attribute(self, name, attribute):
        resource = self.transformed["Resources"][name]
        assert self.condition(resource.get("Condition")), f"{name} does not exist with these parameters"
        account = f"{self.pseudo['AWS::Region']}:{self.pseudo['AWS::AccountId']}"
        bus = self.bus(resource)
        arns = {
            "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{account}:alarm:{{AlarmName}}",
            "AWS::Events::EventBus": f"arn:aws:events:{account}:event-bus/{name}-name",
            "AWS::Events::Rule": f"arn:aws:events:{account}:rule/{bus + '/' if bus else ''}{name}-name",
            "AWS::IAM::Role": f"arn:aws:iam::{self.pseudo['AWS::AccountId']}:role/{name}-name",
            "AWS::KMS::Key": f"arn:aws:kms:{account}:key/{name}-id",
            "AWS::Lambda::Function": f"arn:aws:lambda:{account}:function:{name}-name",
            "AWS::Logs::LogGroup": f"arn:aws:logs:{account}:log-group:{name}-name:*",
            "AWS::SNS::Topic": f"arn:aws:sns:{account}:{name}-name",
            "AWS::SQS::Queue": f"arn:aws:sqs:{account}:{name}-name",
            "AWS::Scheduler::ScheduleGroup": f"arn:aws:scheduler:{account}:schedule-group/{name}-name",
        }
        if attribute in ("Arn", "TopicArn"):
            arn = arns[resource["Type"]]
            if "{AlarmName}" in arn:
                return arn.format(AlarmName=self.resolve(resource["Properties"]["AlarmName"]))
            return arn
        return f"{name}-{attribute}"

    def substitute(self, text, variables):
        def value(match):
            name = match.group(1)
            if name in variables:
                return str(variables[name])
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if "." in name:
                return self.attribute(*name.split(".", 1))
            return str(self.ref(name))

        return re.sub(r"\$\{([^}]+)\}", value, text)

    def resolve(self, node):
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, argument),) = node.items()
            match function:
                case "Ref":
                    return self.ref(argument)
                case "Fn::GetAtt":
                    return self.attribute(*(argument.split(".", 1) if isinstance(argument, str) else argument))
                case "Fn::If":
                    name, yes, no = argument
                    return self.resolve(yes if self.condition(name) else no)
                case "Fn::Sub":
                    text, variables = argument if isinstance(argument, list) else (argument, {})
                    return self.substitute(text, {name: self.resolve(each) for name, each in variables.items()})
                case "Fn::FindInMap":
                    first, second, third = map(self.resolve, argument)
                    return self.transformed["Mappings"][first][second][third]
                case "Fn::Select":
                    index, values = argument
                    return self.resolve(values)[int(index)]
                case "Fn::Split":
                    separator, text = argument
                    return self.resolve(text).split(separator)
                case "Fn::Join":
                    separator, parts = argument
                    return separator.join(self.resolve(parts))
            assert not function.startswith("Fn::"), f"unknown function {function}"
        resolved = ((name, self.resolve(value)) for name, value in node.items())
        return {name: value for name, value in resolved if value is not NO_VALUE}


def accepts(declaration, value):
    """Whether a parameter takes a value, by CloudFormation's rules."""
    if "AllowedValues" in declaration and value not in map(str, declaration["AllowedValues"]):
        return False
    if declaration["Type"] == "Number":
        number = float(value)
        return declaration.get("MinValue", number) <= number <= declaration.get("MaxValue", number)
    if not declaration.get("MinLength", 0) <= len(value) <= declaration.get("MaxLength", 4096):
        return False
    return re.fullmatch(declaration.get("AllowedPattern", r"[\s\S]*"), value) is not None


def written(path=ROOT / "template.yaml"):
    """The template as it is written."""
    return yaml_parse(pathlib.Path(path).read_text())


def transformed(path=ROOT / "template.yaml"):
    """The template as the SAM translator transforms it."""
    template = written(path)
    # The translator wants code that is packaged.
    for each in template["Resources"].values():
        if each["Type"] == "AWS::Serverless::Function":
            each["Properties"]["CodeUri"] = "s3://bucket/key"
    session = boto3.Session(region_name=PSEUDO["AWS::Region"])
    return Translator({}, Parser(), boto_session=session).translate(template, {})


# With everything that is optional switched on.
EVERYTHING = {
    "Engine": "proton",
    "AlarmNamePrefix": "prod-",
    "DryRun": "true",
    "AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:alarms",
    "EnvironmentTemplateName": "net",
    "EventBusName": "ops",
    "EventBusAccountId": "123456789012",
    "NotificationEmail": "ops@example.com",
    "OperationsTopicArn": "arn:aws:sns:us-east-1:123456789012:pager",
    "ReservedConcurrency": "5",
}
# The same with the other engine, which has an IAM boundary of its own.
EVERYTHING_ON_STACKS = {
    **EVERYTHING,
    "Engine": "cloudformation",
    "EnvironmentTemplateName": "",
    "Environments": "shop-*",
    "StackNamePattern": "shop-*,AWSProton-*",
}


def main(folder):
    """Writes the template into a folder as it is transformed, and as CloudFormation would see it with each engine."""
    template = transformed()
    documents = {"transformed": template}
    for name, parameters in {"proton": EVERYTHING, "cloudformation": EVERYTHING_ON_STACKS}.items():
        stack = Stack(template, **parameters)
        documents[name] = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": stack.resources}
    for name, document in documents.items():
        (pathlib.Path(folder) / f"{name}.json").write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
