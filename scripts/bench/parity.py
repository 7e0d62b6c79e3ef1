#!/usr/bin/env python3
"""Whether an engine computes what the file says: its logits beside ONNX Runtime's, Q/DQ by Q/DQ.

    parity.py --ours COMMAND [--networks A,B] [--threads N] [--peers] [--json FILE]

ONNX Runtime evaluates the same int8 file without any optimisation, in f32. Compared are the arg-max
labels, which must be equal on 99.9 % of the voxels, and, with the identity in place of the head, the
integers before the head: none may be further than one step away on more than 0.1 % of them. One line
per network and engine; --peers adds how the others fare, ONNX Runtime's own optimised run among them.
Exit status: 0 when ours holds both, 1 otherwise, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import networks
import peers
from networks import Files, Network

HERE = Path(__file__).resolve().parent
LABELS_EQUAL = 0.999
# A difference of one step early in the network can grow on its way; only a share this small may.
STEPS_BEYOND_ONE = 0.001
LIMIT_S = 1800


@dataclass(frozen=True)
class Parity:
    """How two engines differ on one network."""

    network: str
    engine: str
    labels_equal: float  # share of voxels with the same arg-max
    logits_apart: float  # largest difference
    logits_deviation: float  # of the reference's logits, to judge the difference by
    integers_differ: float  # share of the integers before the head
    integers_beyond_one: float  # share that is further away than one step
    steps_apart: int  # largest difference

    @property
    def holds(self) -> bool:
        return self.labels_equal >= LABELS_EQUAL and self.integers_beyond_one <= STEPS_BEYOND_ONE

    def line(self) -> str:
        return (
            f"{self.network} {self.engine}: labels equal {100 * self.labels_equal:.4f} %, logits apart at most "
            f"{self.logits_apart:.4g} (deviation {self.logits_deviation:.3g}); integers before the head: "
            f"{100 * self.integers_differ:.4f} % differ, {100 * self.integers_beyond_one:.4f} % by more than one "
            f"step, at most {self.steps_apart}{'' if self.holds else ' DIFFERS'}"
        )


def compare(network: Network, engine: str, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> Parity:
    """Both hold "logits" and "integers"."""
    logits, reference = found["logits"], expected["logits"]
    steps = np.abs(found["integers"] - expected["integers"])
    return Parity(
        network=network.name,
        engine=engine,
        labels_equal=float((logits.argmax(0) == reference.argmax(0)).mean()),
        logits_apart=float(np.abs(logits - reference).max()),
        logits_deviation=float(reference.std()),
        integers_differ=float((steps > 0).mean()),
        integers_beyond_one=float((steps > 1).mean()),
        steps_apart=int(steps.max()),
    )


def outputs_of(run, files: Files) -> dict[str, np.ndarray]:
    """`run(file)` gives f32 `[channel, z, y, x]`; the integers come back from their steps."""
    step = files.integers_quant()
    whole = np.rint(run(files.path("integers")) / step.scale) + step.zero_point
    # Wider than u8: an engine that computes in bf16 makes 256 of 255.
    return {"logits": run(files.path("exported")), "integers": whole.astype(np.int32)}


def reference(files: Files, threads: int) -> dict[str, np.ndarray]:
    """What the file says."""
    side = files.network.side
    image = peers.read_input(files.input, files.network.channels, [side] * 3)
    return outputs_of(lambda path: peers.onnxruntime(path, threads, optimised=False).run(image)[0], files)


def by_command(command: list[str], files: Files, threads: int) -> dict[str, np.ndarray]:
    """What an engine makes of it."""
    side = files.network.side
    output = files.folder / "output.f32"

    def run(path: Path) -> np.ndarray:
        output.unlink(missing_ok=True)
        arguments = ["--model", str(path), "--size", f"{side},{side},{side}", "--threads", str(threads)]
        arguments += ["--rounds", "1", "--json", "--input", str(files.input), "--output", str(output)]
        done = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, timeout=LIMIT_S, check=False)
        if done.returncode != 0 or not output.exists():
            raise SystemExit(f"{' '.join(command)} ended with status {done.returncode} on {path.name}")
        values = np.fromfile(output, "<f4")
        if values.size % side**3 != 0 or values.size == 0:
            raise SystemExit(f"{' '.join(command)}: {values.size} values, no multiple of {side}³")
        return values.reshape(-1, side, side, side)

    return outputs_of(run, files)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", metavar="COMMAND", required=True, help="scripts/bench-peers has a default")
    parser.add_argument("--networks", metavar="NAME[,NAME]", help="only these")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", action="store_true", help="the other engines too, for comparison")
    parser.add_argument("--seed", type=int, default=networks.SEED)
    parser.add_argument("--json", type=Path, metavar="FILE", help="the same figures")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    commands = {"ours": shlex.split(options.ours)}
    if options.peers:
        commands |= {peer: [sys.executable, str(HERE / "peers.py"), peer] for peer in ("onnxruntime", "openvino")}
    found = []
    with tempfile.TemporaryDirectory(prefix="hcc-edge-parity-") as folder:
        for network in networks.chosen(options.networks):
            files = networks.write(network, Path(folder), options.seed)
            expected = reference(files, options.threads)
            for engine, command in commands.items():
                outputs = by_command(command, files, options.threads)
                found.append(compare(network, engine, outputs, expected))
                print(found[-1].line(), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(parity) for parity in found], indent=1) + "\n")
    raise SystemExit(0 if all(parity.holds for parity in found if parity.engine == "ours") else 1)


if __name__ == "__main__":
    main()
