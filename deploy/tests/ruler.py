"""EventBridge's matching, by two engines that know nothing of each other and must agree.

`event-ruler` on PyPI is Quamina inside, a library by one of the authors of EventBridge's rules. It
has no word `prefix`; its `shellstyle` with a final `*` means the same. `localstack-core` brings an
engine that its authors compare with EventBridge itself. AWS's own engine is Java and not on PyPI.
"""

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
    other = event_ruler.test_event_pattern(text, json.dumps(for_quamina(pattern)))
    assert one == other, f"the engines disagree about {pattern} and {event}"
    return one


def for_quamina(pattern):
    """The pattern in Quamina's words."""
    if isinstance(pattern, dict):
        return {name: for_quamina(value) for name, value in pattern.items()}
    return [
        {"shellstyle": value["prefix"] + "*"} if isinstance(value, dict) and "prefix" in value else value
        for value in pattern
    ]
