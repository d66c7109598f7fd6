#!/usr/bin/env python3
"""Mutation tests: breaks the function in each way of `mutations.toml`, one at a time,
and requires that the named test fails over it, by the named invariant.

    tests/mutations.py              all of them
    tests/mutations.py NAME...      some of them
    tests/mutations.py --check      only that each still applies
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
TARGET = PROJECT / os.environ.get("CARGO_TARGET_DIR", "target")
COPY = TARGET / "mutations" / "project"
# A target of its own: no mutated binary is left where somebody might run it.
COPY_TARGET = TARGET / "mutations" / "target"


def read_mutations(names):
    mutations = tomllib.loads((PROJECT / "tests/mutations.toml").read_text())["mutation"]
    known = [mutation["name"] for mutation in mutations]
    twice = {name for name in known if known.count(name) > 1}
    unknown = set(names) - set(known)
    if twice or unknown:
        sys.exit(f"named twice: {sorted(twice)}; unknown: {sorted(unknown)}")
    return [mutation for mutation in mutations if not names or mutation["name"] in names]


def does_not_apply(mutation):
    """Why a mutation does not apply, if so."""
    count = (PROJECT / mutation["file"]).read_text().count(mutation["from"])
    if count != 1:
        return f"its `from` occurs {count} times in {mutation['file']}"
    return None


def copy_project():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=PROJECT, check=True, capture_output=True, text=True
    )
    tracked = {Path(name) for name in listed.stdout.split("\0") if (PROJECT / name).is_file()}
    for path in COPY.rglob("*"):
        if path.is_file() and path.relative_to(COPY) not in tracked:
            path.unlink()
    for name in tracked:
        path, content = COPY / name, (PROJECT / name).read_bytes()
        # What is written is built again, so only what differs is.
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def cargo_test(caught_by, *more):
    command = ["cargo", "test", *shlex.split(caught_by["test"]), *more]
    environment = os.environ | {"CARGO_TARGET_DIR": str(COPY_TARGET), "RUST_BACKTRACE": "0"}
    # What others ask of an ordinary run is none of this one's: its calls are not the function's.
    for variable in ("SIMULATION_SEEDS", "PROTON_CANCELLER_CALL_LOG"):
        environment.pop(variable, None)
    if "seeds" in caught_by:
        environment["SIMULATION_SEEDS"] = caught_by["seeds"]
    return subprocess.run(
        command,
        cwd=COPY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def require_that_it_passes(caught_by):
    """A test that fails by itself catches nothing."""
    run = cargo_test(caught_by)
    if run.returncode != 0 or "test result: ok. 0 passed" in run.stdout:
        sys.exit(f"{run.stdout}\n`{caught_by['test']}` does not pass without a mutation")


def survives(mutation):
    """Why a mutation is not caught, if so."""
    path, caught_by = COPY / mutation["file"], mutation["caught_by"]
    whole = path.read_text()
    path.write_text(whole.replace(mutation["from"], mutation["to"]))
    try:
        built = cargo_test(caught_by, "--no-run")
        if built.returncode != 0:
            return f"it does not compile:\n{built.stdout}"
        run = cargo_test(caught_by)
    finally:
        path.write_text(whole)
    if run.returncode == 0:
        return "the test passes"
    if caught_by["name"] not in run.stdout:
        return f"`{caught_by['name']}` is not in the output:\n{run.stdout}"
    return None


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("names", nargs="*", metavar="NAME")
    arguments.add_argument("--check", action="store_true", help="run no test")
    arguments = arguments.parse_args()
    mutations = read_mutations(arguments.names)
    failures = [
        (mutation, why) for mutation in mutations if (why := does_not_apply(mutation)) is not None
    ]
    for mutation, why in failures:
        print(f"{mutation['name']}: {why}")
    if failures or arguments.check:
        sys.exit(f"{len(failures)} do not apply" if failures else None)

    copy_project()
    passing = []
    survivors = 0
    for mutation in mutations:
        caught_by = mutation["caught_by"]
        unmutated = {key: value for key, value in caught_by.items() if key != "name"}
        if unmutated not in passing:
            require_that_it_passes(caught_by)
            passing.append(unmutated)
        start = time.monotonic()
        why = survives(mutation)
        survivors += why is not None
        verdict = f"caught by {caught_by['name']}" if why is None else f"SURVIVES: {why}"
        print(f"{mutation['name']}: {verdict} ({time.monotonic() - start:.0f} s)", flush=True)
    print(f"{len(mutations) - survivors} of {len(mutations)} are caught")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
