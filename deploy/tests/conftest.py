"""What the checks share."""

import json
import os
import pathlib

import pytest
import stack as stacks
from stack import EVERYTHING, EVERYTHING_ON_STACKS, ROOT, Stack


SHAPES = {
    "defaults": {},
    "everything": EVERYTHING,
    "disabled": {**EVERYTHING, "Enabled": "false"},
    "live": {"DryRun": "false"},
    "no sweep": {"SweepEveryMinutes": "0"},
    "stacks": {"Engine": "cloudformation"},
    "everything on stacks": EVERYTHING_ON_STACKS,
    "a bus of another account": {"EventBusName": "ops", "EventBusAccountId": "210987654321"},
}


@pytest.fixture(scope="session")
def template():
    """The template as it is written."""
    return stacks.written()


@pytest.fixture(scope="session")
def transformed():
    """The template as the SAM translator transforms it."""
    return stacks.transformed()


@pytest.fixture(scope="session")
def stack(transformed):
    """Makes a stack of the template with these parameters: of Proton, and of alarms that start with `prod-`, if none is given."""

    def make(**parameters):
        return Stack(transformed, **{"Engine": "proton", "AlarmNamePrefix": "prod-", **parameters})

    return make


@pytest.fixture(params=list(SHAPES))
def any_stack(request, stack):
    """A stack in each of its main shapes."""
    return stack(**SHAPES[request.param])


def samples():
    """The payloads in `events/`, by name; what is no JSON object is bytes."""
    found = {}
    for path in sorted((ROOT / "events").iterdir()):
        if path.suffix == ".md":
            continue
        try:
            found[path.name] = json.loads(path.read_bytes())
        except ValueError:
            found[path.name] = path.read_bytes()
    assert found, "events/ holds no sample"
    return found


def runs(name):
    """What the runs of the built function left in this file."""
    folder = os.environ.get("PROTON_CANCELLER_RUNS")
    if not folder:
        pytest.skip("PROTON_CANCELLER_RUNS names no runs of the built function: deploy/check.sh makes them")
    return (pathlib.Path(folder) / name).read_text()
