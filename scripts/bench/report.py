"""The figures as Markdown, and beside what is promised."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import networks
from networks import NETWORKS
from rounds import QUIET, Entry, Ratio, Series

MARK_BEGIN, MARK_END = "<!-- bench-peers -->", "<!-- /bench-peers -->"

# Least ratio of a peer's time to ours, on the graph that suits the peer best.
FASTER = [
    ("unet96", 2, "openvino int8", 3.0),
    ("unet96", 2, "onnxruntime int8", 8.0),
    ("nnunet128", 2, "openvino int8", 3.5),
    ("unet96", 1, "openvino int8", 2.3),
    ("nnunet128", 1, "openvino int8", 2.3),
]
# Most time of ours with InstanceNorm, in times with BatchNorm.
INSTANCE_NORM = ("unet96-in", "unet96", 2, 1.35)

INSTRUCTIONS = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp", "i8mm")


def machine() -> str:
    """Processor, how many of it, and what of its instructions matters here."""
    info: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        info.setdefault(name.strip(), value.strip())
    has = set(info.get("flags", info.get("Features", "")).split())
    known = ", ".join(name for name in INSTRUCTIONS if name in has)
    family = f"family {info['cpu family']} model {info['model']}" if "cpu family" in info else platform.machine()
    return f"{info.get('model name', 'unknown processor')} ({family}), {os.cpu_count()} processors; {known or 'none listed'}"


def versions(all_series: list[Series]) -> str:
    """The peers' versions."""
    packages = {entry.engine.split()[0] for series in all_series for entry in series.turns}
    found = []
    for package in sorted(packages):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue  # ours, and what --also named
    return ", ".join(found)


def ours_of(entry: Entry) -> Entry:
    """What an entry is compared with."""
    return Entry(entry.network, "ours", "exported", entry.threads)


def spread(ratio: Ratio) -> str:
    """`3.25 (3.0–4.0)`, with a mark where the machine was not quiet."""
    return f"{ratio.median:.2f} ({ratio.least:.2f}–{ratio.most:.2f}{'' if ratio.quiet else ', noisy'})"


def table(all_series: list[Series]) -> str:
    """All engines of all networks; ours first, then by time."""
    lines = [
        "| network, input | threads | engine | graph | seconds | × ours | GMAC/s | CPU s | peak MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for series in all_series:
        for name in dict.fromkeys(entry.network for entry in series.turns):
            group = [entry for entry in series.turns if entry.network == name]
            lines += [row(series, entry) for entry in sorted(group, key=lambda e: (e.engine != "ours", series.seconds(e)))]
    counts = [len(next(iter(series.turns.values()))) for series in all_series]
    quiet = sum(series.quiet_rounds() for series in all_series)
    precision = {series.facts[e].get("isa") for series in all_series for e in series.turns if e.engine.startswith("openvino")}
    notes = [
        f"Medians; × ours is the median of the ratios of each round, with the least and the most. {sum(counts)} "
        f"rounds, {quiet} of them without a run during which other processes used more than {QUIET} processors; "
        "\"noisy\": fewer than half the rounds were quiet, and all went into the ratio.",
        f"Machine: {machine()}. {versions(all_series)}.",
    ]
    notes += [f"OpenVINO computes in {value}." for value in sorted(filter(None, precision))]
    return "\n".join(lines) + "\n\n" + "\n".join(notes)


def row(series: Series, entry: Entry) -> str:
    network, seconds = NETWORKS[entry.network], series.seconds(entry)
    gmacs = networks.macs(network) / 1e9
    ratio = "1" if entry.engine == "ours" else spread(series.ratio(entry, ours_of(entry)))
    cells = [
        f"{entry.network}, {network.channels} × {network.side}³, {gmacs:.1f} GMAC",
        entry.threads, entry.engine, entry.graph, f"{seconds:.3f}", ratio, f"{gmacs / seconds:.0f}",
        f"{series.cpu_seconds(entry):.2f}", series.peak_mib[entry],
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def promises(all_series: list[Series]) -> list[tuple[str, bool]]:
    """A line for each promise whose engines took part, and whether it is met."""
    found = []
    for series in all_series:
        for name, threads, peer, least in FASTER:
            # The graph on which the peer does best against ours is the one that counts.
            peers = [e for e in series.turns if (e.network, e.threads, e.engine) == (name, threads, peer)]
            ratios = [(series.ratio(entry, ours_of(entry)), entry.graph) for entry in peers]
            if ratios:
                ratio, graph = min(ratios, key=lambda pair: pair[0].median)
                found.append(judged(f"{name}, {on(threads)}, {peer} ({graph})", ratio, least, at_least=True))
        slower, faster, threads, most = INSTANCE_NORM
        pair = [Entry(name, "ours", "exported", threads) for name in (slower, faster)]
        if all(entry in series.turns for entry in pair):
            found.append(judged(f"{slower} to {faster}, {on(threads)}, ours", series.ratio(*pair), most, at_least=False))
    return found


def on(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def judged(what: str, ratio: Ratio, bound: float, at_least: bool) -> tuple[str, bool]:
    met = ratio.median >= bound if at_least else ratio.median <= bound
    word = "at least" if at_least else "at most"
    return f"{'met' if met else 'MISSED'}: {what}: {spread(ratio)}, promised {word} {bound}", met


def marked(path: Path) -> tuple[str, str]:
    """What stands before and after the marked block of a file."""
    before, begin, rest = path.read_text().partition(MARK_BEGIN)
    _, end, after = rest.partition(MARK_END)
    if not begin or not end:
        raise SystemExit(f"{path}: put {MARK_BEGIN} and {MARK_END} where the table goes, a line each")
    return before, after


def write_readme(path: Path, block: str) -> None:
    """Replaces the marked block."""
    before, after = marked(path)
    path.write_text(f"{before}{MARK_BEGIN}\n{block}\n{MARK_END}{after}")
