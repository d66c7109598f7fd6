#!/usr/bin/env python3
"""The outcome's schema for the EventBridge schema registry.

The registry takes JSON Schema Draft 4 and describes whole events. This derives such a document from
`schema/outcome-detail.json`, which is written in the 2020-12 dialect and describes `detail` only.

    deploy/schema.py           shows the document
    deploy/schema.py --write   puts it into deploy/schema-registry.yaml
"""

import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DETAIL = ROOT / "schema" / "outcome-detail.json"
TEMPLATE = ROOT / "deploy" / "schema-registry.yaml"
SOURCE = "proton-canceller"
DETAIL_TYPE = "Environment Deployment Cancellation"
NAME = "EnvironmentDeploymentCancellation"

# Keywords that mean the same in both dialects.
SAME = {
    "$ref", "additionalProperties", "allOf", "anyOf", "default", "description", "enum", "format", "items",
    "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "not", "oneOf", "pattern",
    "properties", "required", "title", "type", "uniqueItems",
}  # fmt: skip
# Keywords that say nothing about what is valid.
COMMENTS = {"$comment", "$id", "$schema", "examples"}


def to_draft4(schema):
    """A 2020-12 schema's meaning in Draft 4; refuses what it cannot express."""
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    result = {}
    for keyword, value in schema.items():
        if keyword in COMMENTS or keyword == "$defs":
            continue
        elif keyword == "const":
            result["enum"] = [value]
        elif keyword == "$ref":
            result["$ref"] = value.replace("#/$defs/", "#/definitions/")
        elif keyword == "properties":
            result[keyword] = {name: to_draft4(inner) for name, inner in value.items()}
        elif keyword in ("allOf", "anyOf", "oneOf"):
            result[keyword] = [to_draft4(inner) for inner in value]
        elif keyword in ("items", "not"):
            result[keyword] = to_draft4(value)
        elif keyword == "additionalProperties":
            result[keyword] = value if isinstance(value, bool) else to_draft4(value)
        elif keyword in ("if", "then", "else"):
            continue  # Implications, see below.
        elif keyword in SAME:
            result[keyword] = value
        else:
            raise ValueError(f"the keyword `{keyword}` has no translation to Draft 4: teach deploy/schema.py")
    if "if" in schema:
        condition = to_draft4(schema["if"])
        cases = [
            {"anyOf": [{"not": condition}, to_draft4(schema.get("then", True))]},
            {"anyOf": [condition, to_draft4(schema.get("else", True))]},
        ]
        result.setdefault("allOf", []).extend(case for case in cases if {} not in case["anyOf"])
    return result


def registry_document():
    """The Draft 4 document of the whole event."""
    detail = json.loads(DETAIL.read_text())
    definitions = {name: to_draft4(inner) for name, inner in detail.get("$defs", {}).items()}
    definitions[NAME] = to_draft4(detail)
    string = {"type": "string"}
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": NAME,
        "type": "object",
        "x-amazon-events-source": SOURCE,
        "x-amazon-events-detail-type": DETAIL_TYPE,
        "required": ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"],
        "properties": {
            "version": string,
            "id": string,
            "detail-type": {"type": "string", "enum": [DETAIL_TYPE]},
            "source": {"type": "string", "enum": [SOURCE]},
            "account": string,
            "time": {"type": "string", "format": "date-time"},
            "region": string,
            "resources": {"type": "array", "items": string},
            "detail": {"$ref": f"#/definitions/{NAME}"},
        },
        "definitions": definitions,
    }


def embedded(text):
    """The template's text with the document in the schema's place."""
    lines = json.dumps(registry_document(), indent=2, ensure_ascii=False).splitlines()
    block = "\n".join("        " + line for line in lines)
    place = re.compile(r"(\n      # Derived from schema/outcome-detail\.json by deploy/schema\.py --write\.\n      Content: \|-\n)(?:        .*\n)*")
    if len(place.findall(text)) != 1:
        raise SystemExit(f"{TEMPLATE} has no place for the schema, or more than one")
    return place.sub(lambda match: match.group(1) + block + "\n", text)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        TEMPLATE.write_text(embedded(TEMPLATE.read_text()))
    elif sys.argv[1:]:
        raise SystemExit(__doc__)
    else:
        print(json.dumps(registry_document(), indent=2, ensure_ascii=False))
