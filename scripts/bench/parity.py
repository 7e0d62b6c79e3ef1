#!/usr/bin/env python3
"""Whether an engine computes what the file says: its numbers beside ONNX Runtime's, Q/DQ by Q/DQ.

    parity.py --ours COMMAND [--networks A,B] [--threads N] [--peers] [--json FILE]

ONNX Runtime evaluates the same int8 file without any optimisation, in f32. Asked are
* layers: each layer of the networks alone, on the integers that ONNX Runtime made of the layers before
  it. No integer may be further than one step away, and no more than 0.1 % may differ at all: f32 sums
  have rounding of their own, which now and then carries a value over the middle between two steps.
  Before InstanceNorm ours keeps sums in 16 bits, in steps that hold the largest sum there can be: there
  10 % may differ.
* labels: the arg-max of the trained networks in models/, on their golden inputs, must be equal on
  99.9 % of the voxels, and on 99 % of those of each class.
* whole: the random networks from end to end, without a verdict. Nothing was trained to be robust in
  them, so a step of difference early grows on its way, in any engine; --peers adds how OpenVINO and
  ONNX Runtime's own optimised run fare.
Exit status: 0 when ours holds the first two, 1 otherwise, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import networks
import peers
from networks import Files, Network, Quant, Single

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "models"
LABELS_EQUAL = 0.999
CLASS_EQUAL = 0.99
INTEGERS_DIFFER = 0.001
STAGED_DIFFER = 0.1
STEPS_APART = 1
LIMIT_S = 1800

# Of a file and an input `[channel, z, y, x]` to the logits.
Run = Callable[[Path, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Layers:
    """All layers of one network, each alone."""

    network: str
    engine: str
    integers: int
    differ: int
    worst: float  # the largest share of one layer that differs
    worst_layer: str
    steps_apart: int
    beyond: int = 0  # layers of which more differ than may

    @property
    def holds(self) -> bool:
        return self.beyond == 0 and self.steps_apart <= STEPS_APART

    def line(self) -> str:
        return (
            f"layers of {self.network}, {self.engine}: {self.differ} of {self.integers} integers differ, at most "
            f"{100 * self.worst:.4f} % of a layer ({self.worst_layer}), at most {self.steps_apart} step(s) apart"
        )


@dataclass(frozen=True)
class Labels:
    """One network from end to end."""

    network: str
    engine: str
    equal: float  # share of voxels with the same arg-max
    least_of_class: float  # the least of the shares of each class
    logits_apart: float  # largest difference
    logits_deviation: float  # of the reference's logits, to judge the difference by

    @property
    def holds(self) -> bool:
        return self.equal >= LABELS_EQUAL and self.least_of_class >= CLASS_EQUAL

    def line(self) -> str:
        return (
            f"{self.network}, {self.engine}: labels equal on {100 * self.equal:.4f} %, of the worst class "
            f"{100 * self.least_of_class:.3f} %, logits apart at most "
            f"{self.logits_apart:.4g} (deviation {self.logits_deviation:.3g})"
        )


def in_reference(path: Path, image: np.ndarray) -> np.ndarray:
    """What the file says."""
    return peers.onnxruntime(path, threads=2, optimised=False).run(image[None])[0]


def by_command(command: list[str], threads: int, folder: Path) -> Run:
    """What an engine makes of it."""
    source, target = folder / "input.f32", folder / "output.f32"

    def run(path: Path, image: np.ndarray) -> np.ndarray:
        target.unlink(missing_ok=True)
        image.astype("<f4").tofile(source)
        size = ",".join(map(str, image.shape[1:]))
        arguments = ["--model", str(path), "--size", size, "--threads", str(threads)]
        arguments += ["--rounds", "1", "--json", "--input", str(source), "--output", str(target)]
        done = subprocess.run([*command, *arguments], stdout=subprocess.PIPE, timeout=LIMIT_S, check=False)
        if done.returncode != 0 or not target.exists():
            raise SystemExit(f"{' '.join(command)} ended with status {done.returncode} on {path.name}")
        return np.fromfile(target, "<f4")

    return run


def whole(run: Run, single: Single, path: Path, image: np.ndarray) -> np.ndarray:
    """A layer's integers, from logits in its scale."""
    found = np.rint(run(path, image).reshape(single.outputs, -1) / single.quant.scale) + single.quant.zero_point
    # Wider than u8: an engine that computes in bf16 makes 256 of 255.
    return found.astype(np.int16)


def layer_by_layer(network: Network, seed: int, engines: dict[str, Run], folder: Path) -> list[Layers]:
    """Runs every layer on what ONNX Runtime made of the ones before."""
    path = folder / "layer.onnx"
    singles = networks.singles(network, seed)
    values = {"image": networks.make_input(network, seed)[0]}
    found = {engine: Layers(network.name, engine, 0, 0, 0.0, "none", 0) for engine in engines}
    for single, model in singles:
        path.write_bytes(model.SerializeToString())
        image = values[single.source]
        expected = whole(in_reference, single, path, image)
        for engine, run in engines.items():
            steps = np.abs(whole(run, single, path, image) - expected)
            found[engine] = joined(found[engine], single, steps)
        sides = [side * single.grows // single.stride for side in image.shape[1:]]
        made = dequantised(expected, single.quant).reshape(single.outputs, *sides)
        values[single.result] = np.concatenate([made, values[single.beside]]) if single.beside else made
    return list(found.values())


def dequantised(integers: np.ndarray, quant: Quant) -> np.ndarray:
    return (integers - np.float32(quant.zero_point)).astype(np.float32) * quant.scale


def joined(so_far: Layers, layer: Single, steps: np.ndarray) -> Layers:
    """With one layer more."""
    share = float((steps > 0).mean())
    worst, worst_layer = max((so_far.worst, so_far.worst_layer), (share, layer.name))
    beyond = share > (STAGED_DIFFER if layer.staged else INTEGERS_DIFFER)
    return Layers(so_far.network, so_far.engine, so_far.integers + steps.size, so_far.differ + int((steps > 0).sum()),
                  worst, worst_layer, max(so_far.steps_apart, int(steps.max())), so_far.beyond + int(beyond))


def labels(name: str, path: Path, image: np.ndarray, engines: dict[str, Run]) -> list[Labels]:
    """The arg-max of every engine beside ONNX Runtime's."""
    reference = in_reference(path, image).reshape(-1, image[0].size)
    found = []
    for engine, run in engines.items():
        logits = run(path, image).reshape(reference.shape)
        expected = reference.argmax(0)
        same = logits.argmax(0) == expected
        least = min(float(same[expected == label].mean()) for label in np.unique(expected))
        found.append(Labels(name, engine, float(same.mean()), least, float(np.abs(logits - reference).max()), float(reference.std())))
    return found


def trained() -> list[tuple[str, Path, np.ndarray]]:
    """Name, file and golden input of the networks in models/ that label voxels."""
    found = []
    for manifest in sorted(MODELS.glob("*/*/manifest.toml")):
        told = tomllib.loads(manifest.read_text())
        if told["task"] in ("segmentation", "localisation"):
            image = np.fromfile(manifest.parent / told["golden"]["input"], "<f4")
            image = image.reshape(told["golden"]["input_shape"])[0]
            found.append((f"{told['name']} {told['version']}", manifest.parent / "model.onnx", image))
    if not found:
        raise SystemExit(f"{MODELS} holds no trained network that labels voxels")
    return found


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", metavar="COMMAND", required=True, help="scripts/bench-peers has a default")
    parser.add_argument("--networks", metavar="NAME[,NAME]", help="only these of the random ones")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", action="store_true", help="the other engines too, for comparison")
    parser.add_argument("--seed", type=int, default=networks.SEED)
    parser.add_argument("--json", type=Path, metavar="FILE", help="the same figures")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    found: list[Layers | Labels] = []
    judged: list[Layers | Labels] = []

    def told(figures: list[Layers] | list[Labels], verdict: bool) -> None:
        for figure in figures:
            ours = verdict and figure.engine == "ours"
            print(figure.line() + (" DIFFERS" if ours and not figure.holds else ""), flush=True)
            judged.extend([figure] if ours else [])
        found.extend(figures)

    with tempfile.TemporaryDirectory(prefix="hcc-edge-parity-") as name:
        folder = Path(name)
        commands = {"ours": shlex.split(options.ours)}
        if options.peers:
            commands |= {peer: [sys.executable, str(HERE / "peers.py"), peer] for peer in ("onnxruntime", "openvino")}
        engines = {engine: by_command(command, options.threads, folder) for engine, command in commands.items()}
        for network, path, image in trained():
            told(labels(network, path, image, engines), verdict=True)
        for network in networks.chosen(options.networks):
            told(layer_by_layer(network, options.seed, {"ours": engines["ours"]}, folder), verdict=True)
            files = networks.write(network, folder, options.seed)
            image = peers.read_input(files.input, network.channels, [network.side] * 3)[0]
            told(labels(network.name, files.path("exported"), image, engines), verdict=False)
    if options.json:
        options.json.write_text(json.dumps([asdict(figure) for figure in found], indent=1) + "\n")
    raise SystemExit(0 if all(figure.holds for figure in judged) else 1)


if __name__ == "__main__":
    main()
