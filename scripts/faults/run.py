#!/usr/bin/env python3
"""Runs the fault tests of this folder; one line per test on standard output.

    run.py --binary target/release/hcc-edge [--long] [--only T6,T7] [--seed N] [--json] [--list]
    run.py --binary target/release/hcc-edge --contrast      what plain MQTT clients lose

    T6 injected=2000 accepted=2000 delivered=2000 lost=0 duplicates=31 wrong=0 kills=20 seed=1
    T3 NOT CHECKED HERE: mounting needs root

A line that ends in FAILED is of a test that failed; why, and where what it left is kept, is said on
standard error. Exit status: 0 when every test that could be run passed, 1 otherwise, 2 for a wrong
command line.
"""

import argparse
import importlib
import json
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

import contrast
from outcome import Context, NotCheckedHere, Outcome

HERE = Path(__file__).resolve().parent


def find_tests() -> dict:
    """The test modules by their id, in the order of their numbers."""
    names = sorted(path.stem for path in HERE.glob("t[0-9][0-9]_*.py"))
    return {module.ID: module for module in map(importlib.import_module, names)}


def choose(tests: dict, only: str | None, long: bool) -> list:
    if only is None:
        return [test for test in tests.values() if long or not getattr(test, "LONG_ONLY", False)]
    unknown = [name for name in only.split(",") if name not in tests]
    if unknown:
        raise SystemExit(f"no such test: {', '.join(unknown)}; there are {', '.join(tests)}")
    return [tests[name] for name in only.split(",")]


def run_one(test, arguments, seed: int) -> tuple[str, dict, bool]:
    """The line of a test, the same as an object, and whether it is no failure."""
    folder = Path(tempfile.mkdtemp(prefix=f"hcc-edge-{test.ID}-"))
    context = Context(arguments.binary, folder, arguments.long, seed)
    print(f"{test.ID}: {test.TITLE} (seed {seed})", file=sys.stderr, flush=True)
    started = time.monotonic()
    try:
        outcome = test.run(context)
        line = outcome.line(test.ID, seed)
    except NotCheckedHere as why:
        shutil.rmtree(folder)
        return f"{test.ID} NOT CHECKED HERE: {why}", {"not_checked_here": str(why)}, True
    except Exception:  # Whatever it is, the other tests are still to be run.
        outcome = Outcome(failures=[traceback.format_exc()])
        line = f"{test.ID} did not come to its end seed={seed}"
    context.progress(f"took {time.monotonic() - started:.0f} s")
    for why in outcome.failures:
        print(f"{test.ID} FAILED: {why}", file=sys.stderr)
    if outcome.passed and not arguments.keep:
        shutil.rmtree(folder)
    else:
        print(f"{test.ID}: kept {folder}", file=sys.stderr)
    figures = vars(outcome) | {"seed": seed, "passed": outcome.passed}
    return line if outcome.passed else f"{line} FAILED", figures, outcome.passed


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", type=Path, help="the program under test")
    parser.add_argument("--long", action="store_true", help="the long forms, and the long tests")
    parser.add_argument("--only", metavar="T1[,T2]", help="these tests")
    parser.add_argument("--seed", type=int, help="everything random follows from it")
    parser.add_argument("--contrast", action="store_true", help="other publishers instead of tests")
    parser.add_argument("--json", action="store_true", help="one object instead of lines")
    parser.add_argument("--keep", action="store_true", help="keep the folders of passed tests")
    parser.add_argument("--list", action="store_true", help="list the tests and end")
    arguments = parser.parse_args()
    if not arguments.list and arguments.binary is None:
        parser.error("--binary is needed")
    if arguments.binary is not None:
        arguments.binary = arguments.binary.resolve()
        if not arguments.binary.is_file():
            parser.error(f"there is no program at {arguments.binary}")
    return arguments


def run_contrast(arguments, seed: int) -> int:
    """The comparison with other publishers; what it finds is no test's failure."""
    with tempfile.TemporaryDirectory(prefix="hcc-edge-contrast-") as folder:
        for line in contrast.run(Context(arguments.binary, Path(folder), arguments.long, seed)):
            print(f"{line} seed={seed}", flush=True)
    return 0


def main() -> int:
    arguments = parse_arguments()
    tests = find_tests()
    if arguments.list:
        for name, test in tests.items():
            note = " (only with --long or --only)" if getattr(test, "LONG_ONLY", False) else ""
            print(f"{name:4} {test.TITLE}{note}")
        return 0
    seed = secrets.randbelow(1_000_000) if arguments.seed is None else arguments.seed
    if arguments.contrast:
        return run_contrast(arguments, seed)
    report, good = {}, True
    for test in choose(tests, arguments.only, arguments.long):
        line, report[test.ID], passed = run_one(test, arguments, seed)
        good = good and passed
        if not arguments.json:
            print(line, flush=True)
    if arguments.json:
        print(json.dumps({"passed": good, "tests": report}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
