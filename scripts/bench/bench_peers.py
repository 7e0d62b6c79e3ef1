#!/usr/bin/env python3
"""Our engine and its peers on the same networks, interleaved; medians of per-round ratios.

    bench_peers.py --ours COMMAND [--also NAME=COMMAND] [--torch] [--networks A,B] [--threads 2,1]
        [--rounds 8] [--engines X,Y] [--json FILE] [--write-readme] [--check] [--seed N]

COMMAND runs `--model FILE --size D,H,W --threads N --json --serve` appended to it, as peers.py says.
Every engine keeps its network loaded and runs once a round, in an order drawn anew each round, while
the others are stopped. Runs during which other processes used more than 0.35 processors do not
count; rounds are added, up to three times as many, until enough count.

A peer is measured on the file that ours runs, and on the graph of networks.GRAPHS that suits it best
here, found before by trying each. Standard output is a Markdown table, then the ratios aimed at (report.FASTER) beside
what was measured. Exit status: 0; with --check 1 when a promise is not met; 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import networks
import report
from networks import GRAPHS, NETWORKS, Files
from rounds import Entry, Series, measure
from turns import Engine, EngineFailed, progress

HERE = Path(__file__).resolve().parent
# Networks that are compared with each other run in the same rounds.
GROUPS = [["unet96", "unet96-in"], ["nnunet128"]]
INT8_PEERS = ("openvino int8", "onnxruntime int8")
FLOAT_PEERS = ("openvino float", "onnxruntime float")
# Runs of each graph before the rounds, to find the one that suits a peer best, and how many times the
# best run so far the first may take without the graph being given up.
TRIALS = 3
HOPELESS = 1.5


class Commands:
    """How each engine is started."""

    def __init__(self, options: argparse.Namespace):
        self.commands = {"ours": shlex.split(options.ours)}
        peers = (*INT8_PEERS, *FLOAT_PEERS, *(["torch float"] if options.torch else []))
        for peer in peers:
            self.commands[peer] = [sys.executable, str(HERE / "peers.py"), peer.split()[0]]
        also = [entry.split("=", 1) for entry in options.also]
        self.also = [name for name, _ in also]
        self.commands |= {name: shlex.split(command) for name, command in also}
        engines = None if options.engines is None else [name for name in options.engines.split(",") if name]
        unknown = set(engines or []) - set(self.commands)
        if unknown:
            raise SystemExit(f"no such engine: {', '.join(sorted(unknown))}; there are {', '.join(self.commands)}")
        self.wanted = {"ours", *(engines if engines is not None else self.commands)}

    def start(self, entry: Entry, files: Files) -> Engine:
        side = files.network.side
        arguments = ["--model", str(files.path(entry.graph)), "--size", f"{side},{side},{side}"]
        arguments += ["--threads", str(entry.threads), "--input", str(files.input), "--json", "--serve"]
        return Engine([*self.commands[entry.engine], *arguments])


def best_graph(peer: str, files: Files, threads: int, commands: Commands) -> str:
    """The graph on which the fastest run of a few was fastest."""
    best: dict[str, float] = {}
    for graph in GRAPHS:
        engine = commands.start(Entry(files.network.name, peer, graph, threads), files)
        try:
            first = engine.turn().seconds
            more = TRIALS - 1 if first < HOPELESS * min(best.values(), default=first) else 0
            best[graph] = min([first, *(engine.turn().seconds for _ in range(more))])
        finally:
            engine.close()
    progress(f"  {files.network.name}, {peer}: " + ", ".join(f"{g} {s:.3f}" for g, s in best.items()))
    return min(best, key=best.get)


def entries(files: Files, threads: int, commands: Commands) -> list[Entry]:
    """What takes part in the rounds of one network."""
    name = files.network.name
    found = [Entry(name, engine, "exported", threads) for engine in ("ours", *commands.also)]
    for peer in INT8_PEERS:
        if peer in commands.wanted:
            graphs = {"exported", best_graph(peer, files, threads, commands)}
            found += [Entry(name, peer, graph, threads) for graph in GRAPHS if graph in graphs]
    found += [Entry(name, peer, "float", threads) for peer in (*FLOAT_PEERS, "torch float")]
    return [entry for entry in found if entry.engine in commands.wanted]


@contextmanager
def started(wanted: list[Entry], files: dict[str, Files], commands: Commands) -> Iterator[dict[Entry, Engine]]:
    engines: dict[Entry, Engine] = {}
    try:
        for entry in wanted:
            engines[entry] = commands.start(entry, files[entry.network])
        yield engines
    finally:
        for engine in engines.values():
            engine.close()


def run_group(names: list[str], threads: int, folder: Path, commands: Commands, options) -> Series:
    progress(f"{', '.join(names)}, {report.on(threads)}")
    files = {name: networks.write(NETWORKS[name], folder, options.seed) for name in names}
    wanted = [entry for name in names for entry in entries(files[name], threads, commands)]
    with started(wanted, files, commands) as engines:
        return measure(engines, options.rounds, random.Random(options.seed))


def as_object(all_series: list[Series]) -> dict:
    """Everything that was measured."""
    runs = [
        asdict(entry) | {"facts": series.facts[entry], "peak_mib": series.peak_mib[entry],
                         "turns": [asdict(turn) for turn in turns]}
        for series in all_series
        for entry, turns in series.turns.items()
    ]
    return {"machine": report.machine(), "runs": runs}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", metavar="COMMAND", required=True, help="scripts/bench-peers has a default")
    parser.add_argument("--also", metavar="NAME=COMMAND", action="append", default=[], help="a further engine")
    parser.add_argument("--torch", action="store_true", help="PyTorch's float too; 5 GB of packages")
    parser.add_argument("--networks", metavar="NAME[,NAME]", help="only these")
    parser.add_argument("--engines", metavar="NAME[,NAME]", help="ours and only these")
    parser.add_argument("--threads", metavar="N[,N]", default="2,1")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seed", type=int, default=networks.SEED, help="of weights, input and order")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every single run")
    parser.add_argument("--write-readme", action="store_true", help="the table, between the marks in README.md")
    parser.add_argument("--check", action="store_true", help="exit status 1 when a promise is not met")
    options = parser.parse_args()
    if options.rounds < 1 or not all(n.isdigit() and int(n) > 0 for n in options.threads.split(",")):
        parser.error("--rounds and --threads are whole numbers from 1")
    if not all("=" in entry for entry in options.also):
        parser.error("--also is NAME=COMMAND")
    return options


def main() -> None:
    options = parse_arguments()
    readme = HERE.parents[1] / "README.md"
    if options.write_readme:
        report.marked(readme)  # better refused now than after the rounds
    commands = Commands(options)
    names = {network.name for network in networks.chosen(options.networks)}
    all_series = []
    with tempfile.TemporaryDirectory(prefix="hcc-edge-bench-") as folder:
        for threads in (int(n) for n in options.threads.split(",")):
            for group in GROUPS:
                chosen = [name for name in group if name in names]
                if chosen:
                    all_series.append(run_group(chosen, threads, Path(folder), commands, options))
    table = report.table(all_series)
    judged = report.promises(all_series)
    print(table, "\n\n".join(line for line, _ in judged), sep="\n\n")
    if options.json:
        options.json.write_text(json.dumps(as_object(all_series), indent=1) + "\n")
    if options.write_readme:
        report.write_readme(readme, table)
    if options.check and not all(met for _, met in judged):
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        main()
    except EngineFailed as failure:
        sys.exit(f"bench-peers: {failure}")
