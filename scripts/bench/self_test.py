#!/usr/bin/env python3
"""Whether the comparison sees what it is there for: made-up rounds in which one thing at a time is
wrong, and a small network through a real engine. Exit status 0 when all of it holds.

    self_test.py             needs the packages of scripts/requirements-bench.txt, not our engine
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

import networks
import parity
import peers
import report
from networks import NETWORKS, Files, Network
from rounds import Entry, Series, measure
from turns import Engine, EngineFailed, Turn

HERE = Path(__file__).resolve().parent
TINY = Network("tiny", 16, 1, (8, 16))
OURS = Entry("unet96", "ours", "exported", 2)
PEER = Entry("unet96", "openvino int8", "exported", 2)
KINDER = Entry("unet96", "openvino int8", "shared", 2)


def series(ours: list[tuple[float, float]], peer: list[tuple[float, float]]) -> Series:
    """Rounds of (seconds, others)."""
    def turns(pairs):
        return [Turn(seconds, 2 * seconds, others) for seconds, others in pairs]

    return Series({OURS: turns(ours), PEER: turns(peer)}, {OURS: {}, PEER: {}}, {OURS: 1, PEER: 1})


def ratios_are_of_rounds_and_quiet() -> None:
    # The machine slows down by half after the first round; the ratio of medians would be 6 or 1.5.
    found = series([(1, 0), (2, 0), (2, 0)], [(3, 0), (6, 0), (6, 0)]).ratio(PEER, OURS)
    assert (found.median, found.least, found.most, found.rounds, found.quiet) == (3, 3, 3, 3, True), found
    found = series([(1, 0), (1, 0.4), (1, 0)], [(3, 0), (9, 0), (5, 0)]).ratio(PEER, OURS)
    assert (found.median, found.rounds, found.quiet) == (4, 2, True), found
    found = series([(1, 0.4), (1, 0.4), (1, 0)], [(3, 0), (9, 0), (5, 0)]).ratio(PEER, OURS)
    assert (found.median, found.rounds, found.quiet) == (5, 3, False), found


def promises_are_judged_on_the_peers_best_graph() -> None:
    good = series([(1, 0)], [(3.1, 0)])
    assert [met for _, met in report.promises([good])] == [True]
    good.turns[KINDER] = [Turn(2.9, 5.8, 0)]
    ((line, met),) = report.promises([good])
    assert not met and "MISSED" in line and "shared" in line, line


def the_marked_block_alone_is_replaced() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "README.md"
        path.write_text(f"before\n{report.MARK_BEGIN}\nold\n{report.MARK_END}\nafter\n")
        report.write_readme(path, "new")
        assert path.read_text() == f"before\n{report.MARK_BEGIN}\nnew\n{report.MARK_END}\nafter\n"
        path.write_text("no marks\n")
        try:
            report.write_readme(path, "new")
        except SystemExit:
            return
        raise AssertionError("a file without marks was accepted")


def networks_have_their_size() -> None:
    sizes = [round(networks.macs(NETWORKS[name]) / 1e8) for name in ("unet96", "unet96-in", "nnunet128")]
    assert sizes == [504, 504, 4773], sizes


def between_convolution_and_leaky(path: Path) -> set[str]:
    """Operators that read the result of a 3x3x3 convolution."""
    nodes = onnx.load(path).graph.node
    results = {node.output[0] for node in nodes if node.op_type == "Conv" and node.output[0] != "logits"}
    return {node.op_type for node in nodes if results & set(node.input)}


def graphs_compute_the_same_network(files: Files) -> None:
    image = peers.read_input(files.input, 1, [16] * 3)
    exact = peers.onnxruntime(files.path("float"), 1).run(image)
    for graph in networks.GRAPHS:
        found = peers.onnxruntime(files.path(graph), 1, optimised=False).run(image)
        apart = float(np.abs(found - exact).mean() / exact.std())
        assert 0 < apart < 0.15, f"{graph}: {apart} deviations from float"
    assert between_convolution_and_leaky(files.path("exported")) == {"LeakyRelu"}
    assert between_convolution_and_leaky(files.path("strict")) == {"QuantizeLinear"}
    again = networks.make_weights(TINY, networks.SEED)
    other = networks.make_weights(TINY, networks.SEED + 1)
    weights = networks.make_weights(TINY, networks.SEED)
    assert all(np.array_equal(weights[name], again[name]) for name in weights)
    assert not np.array_equal(weights["down0a.weight"], other["down0a.weight"])


def parity_sees_a_difference(files: Files) -> None:
    def moved(steps: int, everywhere: bool) -> parity.Run:
        """The reference, with integers some steps further on."""

        def run(path: Path, image: np.ndarray) -> np.ndarray:
            logits = parity.in_reference(path, image).copy()
            logits.reshape(-1)[slice(None) if everywhere else slice(0, 1)] += steps * step_of(path)
            return logits

        return run

    engines = {
        "same": parity.in_reference,
        "one step everywhere": moved(1, everywhere=True),
        "one step in one place": moved(1, everywhere=False),
        "two steps in one place": moved(2, everywhere=False),
    }
    found = {layers.engine: layers for layers in parity.layer_by_layer(TINY, networks.SEED, engines, files.folder)}
    assert found["same"].differ == 0 and found["same"].integers > 100_000, found["same"]
    holds = {name for name, layers in found.items() if layers.holds}
    assert holds == {"same", "one step in one place"}, found
    image = peers.read_input(files.input, 1, [16] * 3)[0]
    engines = {
        "process": parity.by_command([sys.executable, str(HERE / "peers.py"), "onnxruntime"], 1, files.folder),
        "rolled": lambda path, image: np.roll(parity.in_reference(path, image), 1, axis=0),
    }
    process, rolled = parity.labels("tiny", files.path("exported"), image, engines)
    assert process.holds and not rolled.holds, (process, rolled)


def step_of(path: Path) -> float:
    """The scale in which a layer by itself hands out its integers."""
    graph = onnx.load(path).graph
    (head,) = [node for node in graph.node if "logits" in node.output]
    (read,) = [node for node in graph.node if head.input[0] in node.output]
    (scale,) = [constant for constant in graph.initializer if constant.name == read.input[1]]
    return float(onnx.numpy_helper.to_array(scale))


def engines_take_turns(files: Files) -> None:
    arguments = ["--model", str(files.path("exported")), "--size", "16,16,16", "--threads", "1", "--serve"]
    command = [sys.executable, str(HERE / "peers.py"), "onnxruntime", *arguments]
    engines = {OURS: Engine(command), PEER: Engine(command)}
    try:
        measured = measure(engines, 2, random.Random(1))
        for engine in engines.values():
            state = Path(f"/proc/{engine.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
            assert state == "T", f"an engine waits in state {state} instead of being stopped"
    finally:
        for engine in engines.values():
            engine.close()
    assert all(2 <= len(turns) <= 6 and min(turn.seconds for turn in turns) > 0 for turns in measured.turns.values())
    try:
        Engine([*command, "--no-such-option"]).close()
    except EngineFailed as failure:
        assert "no-such-option" in str(failure), failure
    else:
        raise AssertionError("an engine that ended at once was accepted")


def main() -> None:
    ratios_are_of_rounds_and_quiet()
    promises_are_judged_on_the_peers_best_graph()
    the_marked_block_alone_is_replaced()
    networks_have_their_size()
    with tempfile.TemporaryDirectory(prefix="hcc-edge-bench-") as folder:
        files = networks.write(TINY, Path(folder), networks.SEED)
        graphs_compute_the_same_network(files)
        parity_sees_a_difference(files)
        engines_take_turns(files)
    print("the comparison sees what it should")


if __name__ == "__main__":
    main()
