"""nnU-Net's own predictor beside ours: the same weights, the same volume, from the file to labels on its grid.

    bench_nnunet.py RESULTS --package FOLDER [--localiser FOLDER] [--truth LABELS] [--rounds 3] [--check] VOLUME

Every round runs, each in a process of its own and in an order drawn anew: the predictor as it comes (it mirrors), the
predictor without mirroring, and `hcc-edge segment` (which does not mirror), with the localiser if one is named. Of
nnU-Net's processes only the time from the file to the labels counts, not that of starting Python and of reading the
checkpoint; of ours all of it. `--check` ends with 1 unless ours is ten times as fast as the predictor as it comes, and
no Dice (against LABELS; without them, between the two) is more than 0.005 worse.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LEAST_RATIO, LARGEST_LOSS = 10.0, 0.005
CLASSES = {1: "liver", 2: "tumour"}


def stock_once(results: Path, volume: Path, out: Path, mirror: bool) -> None:
    """One prediction; its seconds go to standard output."""
    from compare_nnunet import predictor, theirs

    labels, seconds = theirs(predictor(results, None, mirror), volume)
    np.save(out, labels)
    print(json.dumps({"seconds": seconds}))


def measured(command: list[str]) -> tuple[float, dict, float]:
    """Seconds of a process, the last line it wrote, and its peak memory in MiB."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    lines = process.stdout.read().strip().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0 or not lines:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    return time.perf_counter() - started, json.loads(lines[-1]), usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("volume", type=Path)
    parser.add_argument("--package", type=Path)
    parser.add_argument("--localiser", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ours", default="hcc-edge", help="the program")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--stock-once", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--mirror", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stock_once:
        return stock_once(options.results, options.volume, options.stock_once, options.mirror)
    with tempfile.TemporaryDirectory() as place:
        raise SystemExit(bench(options, Path(place)))


def bench(options: argparse.Namespace, place: Path) -> int:
    """Runs the rounds and prints the table; the result is the exit status."""
    stock = [sys.executable, __file__, str(options.results), str(options.volume), "--stock-once"]
    ours = [options.ours, "--json", "segment", "--package", str(options.package), "--out", str(place / "ours.nii.gz")]
    if options.localiser:
        ours += ["--localiser", str(options.localiser)]
    commands = {
        "nnU-Net": [*stock, str(place / "mirrored.npy"), "--mirror"],
        "nnU-Net, no mirroring": [*stock, str(place / "once.npy")],
        "ours": [*ours, str(options.volume)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    peak = {name: 0.0 for name in commands}
    about = {}
    for number in range(options.rounds):
        for name in random.Random(number).sample(sorted(commands), len(commands)):
            whole, said, mib = measured(commands[name])
            seconds[name].append(whole if name == "ours" else said["seconds"])
            peak[name] = max(peak[name], mib)
            about = said if name == "ours" else about
            print(f"round {number + 1}: {name} {seconds[name][-1]:.2f} s", file=sys.stderr, flush=True)
    labels = {"nnU-Net": np.load(place / "mirrored.npy"), "nnU-Net, no mirroring": np.load(place / "once.npy"),
              "ours": read_labels(options.results, place / "ours.nii.gz")}
    wanted = read_labels(options.results, options.truth) if options.truth else labels["nnU-Net"]
    scores = {name: dices(found, wanted) for name, found in labels.items()}
    print(f"ours: {about['backend']}, {about['arithmetic']}, {about['threads']} threads, {about['patches']} patches; "
          f"{options.rounds} rounds")
    print("| | seconds | × ours (least–most) | peak MiB |" + "".join(f" {name} Dice |" for name in CLASSES.values()))
    print("|---" * (4 + len(CLASSES)) + "|")
    ratio = {}
    for name in commands:
        pairs = [a / b for a, b in zip(seconds[name], seconds["ours"], strict=True)]
        ratio[name] = statistics.median(pairs)
        print(f"| {name} | {statistics.median(seconds[name]):.2f} | {ratio[name]:.1f} ({min(pairs):.1f}–{max(pairs):.1f}) "
              f"| {peak[name]:.0f} |" + "".join(f" {score:.4f} |" for score in scores[name]))
    loss = max(a - b for a, b in zip(scores["nnU-Net"], scores["ours"], strict=True))
    holds = ratio["nnU-Net"] >= LEAST_RATIO and loss <= LARGEST_LOSS
    print(f"{ratio['nnU-Net']:.1f} times as fast, largest loss of Dice {loss:.4f}:", "holds" if holds else "does not hold",
          f"({LEAST_RATIO:.0f} times, {LARGEST_LOSS})")
    return int(options.check and not holds)


def read_labels(results: Path, file: Path) -> np.ndarray:
    """As nnU-Net's reader for this network gives them."""
    from compare_nnunet import predictor, read

    return read(predictor(results, None, False), file)[0][0]


def dices(found: np.ndarray, wanted: np.ndarray) -> list[float]:
    """Liver and tumour."""
    from compare_nnunet import dice

    return [dice(found == label, wanted == label) for label in CLASSES]


if __name__ == "__main__":
    main()
