"""EventBridge's matching, by two engines that know nothing of each other and must agree.

`event-ruler` on PyPI is Quamina inside, a library by one of the authors of EventBridge's rules. It
has no word `prefix`; its `shellstyle` with a final `*` means the same. `localstack-core` brings an
engine that its authors compare with EventBridge itself. AWS's own engine is Java and not on PyPI.
"""

import copy
import json

import event_ruler
from localstack.services.events.event_rule_engine import EventPatternCompiler, EventRuleEngine


def matches(pattern, event):
    """Whether an event matches a rule's pattern. `event` may be any JSON value, or bytes."""
    if not isinstance(event, dict):
        return False  # Only JSON objects are events.
    text = json.dumps(event)
    one = EventRuleEngine().evaluate_pattern_on_event(
        EventPatternCompiler().compile_event_pattern(json.dumps(pattern)), text
    )
    other = any(quamina(each, event, text) for each in alternatives(pattern))
    assert one == other, f"the engines disagree about {pattern} and {event}"
    return one


def quamina(pattern, event, text):
    """Quamina's answer. It has no `anything-but` of a prefix, so that this part is asked apart."""
    pattern = copy.deepcopy(pattern)
    for name, conditions in list(pattern.items()):
        if isinstance(conditions, list) and conditions and isinstance(conditions[0], dict):
            prefix = conditions[0].get("anything-but", {})
            if isinstance(prefix, dict) and "prefix" in prefix:
                del pattern[name]
                if not isinstance(event.get(name), str | list) or not event[name]:
                    return False
                if event_ruler.test_event_pattern(text, json.dumps(for_quamina({name: [prefix]}))):
                    return False
    return not pattern or event_ruler.test_event_pattern(text, json.dumps(for_quamina(pattern)))


def alternatives(pattern):
    """The patterns that a pattern with `$or`, of which Quamina knows nothing, stands for."""
    found = [{}]
    for name, value in pattern.items():
        if name == "$or":
            choices = [choice for each in value for choice in alternatives(each)]
        elif isinstance(value, dict):
            choices = [{name: inner} for inner in alternatives(value)]
        else:
            choices = [{name: value}]
        found = [{**one, **other} for one in found for other in choices]
    return found


def for_quamina(pattern):
    """The pattern in Quamina's words."""
    if isinstance(pattern, dict):
        return {name: for_quamina(value) for name, value in pattern.items()}
    return [
        {"shellstyle": value["prefix"] + "*"} if isinstance(value, dict) and "prefix" in value else value
        for value in pattern
    ]
