"""Writes a model package: `models/<name>/<version>/{manifest.toml, model.onnx, golden/, CARD.md}`.

`hcc-edge models sign` then adds the `[files]` table and `manifest.cose`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from quantise import float_operators, is_quantised, session
from specifications import VERSIONS

REPOSITORY = Path(__file__).resolve().parents[2]
DEMONSTRATION_KEY = REPOSITORY / "models/demonstration.pk8"
JITTER = 1e-4
FLOAT_REASON = (
    "single precision: another engine adds in another order; the tolerance is three times the largest change that an "
    "input noise of 1e-4 causes in ONNX Runtime, at least 0.01"
)
TOLERANCE_REASON = (
    "int8 activations: an engine that rounds halves away from zero, or sums in another order, lands on the "
    "neighbouring quantisation step here and there; the tolerance is three times the largest change that "
    "an input noise of 1e-4 causes in ONNX Runtime, which moves far more values to a neighbouring step"
)


@dataclass
class Package:
    """What goes into a package. `input` and `output` become manifest tables as they are."""

    name: str
    task: str
    peak_ram_mib: int
    input: dict[str, Any]
    output: dict[str, Any]
    training: dict[str, Any]
    card: str
    prototypes: dict[str, Any] = field(default_factory=dict)
    nnunet: dict[str, Any] = field(default_factory=dict)
    version: str | None = None
    licence: str = "Apache-2.0"
    key: Path = DEMONSTRATION_KEY

    def __post_init__(self):
        self.version = self.version or VERSIONS[self.name]


def toml_value(value: Any) -> str:
    """TOML text of a bool, number, string or flat list."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return str(value)


def toml_table(title: str, values: dict[str, Any]) -> str:
    """One table; nested dicts become sub-tables after the plain keys."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = [f"[{title}]", *(f"{key} = {toml_value(value)}" for key, value in plain.items())]
    text = "\n".join(lines) + "\n"
    for key, value in values.items():
        if isinstance(value, dict):
            text += "\n" + toml_table(f"{title}.{key}", value)
    return text


def write_golden(folder: Path, model: Path, example: np.ndarray) -> list[dict[str, Any]]:
    """Stores the example and the model's answers as little-endian f32; returns the output entries."""
    golden = folder / "golden"
    golden.mkdir(parents=True, exist_ok=True)
    network = session(model)
    example.astype("<f4").tofile(golden / "input.f32")
    names = [output.name for output in network.get_outputs()]
    answers = network.run(None, {network.get_inputs()[0].name: example.astype(np.float32)})
    entries = []
    for name, answer in zip(names, answers, strict=True):
        file = "golden/output.f32" if len(names) == 1 else f"golden/{name}.f32"
        answer.astype("<f4").tofile(folder / file)
        entries.append({"name": name, "file": file, "shape": list(answer.shape)})
    return entries


def golden_tolerance(model: Path, example: np.ndarray) -> float:
    """Three times the largest output change under `JITTER`, over five draws; at least 0.01."""
    network = session(model)
    name = network.get_inputs()[0].name
    exact = network.run(None, {name: example.astype(np.float32)})
    random = np.random.default_rng(0)
    largest = 0.0
    for _ in range(5):
        noisy = example + random.uniform(-JITTER, JITTER, example.shape)
        moved = network.run(None, {name: noisy.astype(np.float32)})
        largest = max(largest, *(float(np.abs(a - b).max()) for a, b in zip(exact, moved, strict=True)))
    return round(max(3 * largest, 0.01), 3)


def manifest(package: Package, model: Path, example: np.ndarray, outputs: list[dict]) -> str:
    """The text of manifest.toml, in the order the loader documents."""
    head = {
        "schema": 1,
        "name": package.name,
        "version": package.version,
        "task": package.task,
        "intended_use": "demonstration",
        "licence": package.licence,
        "engine_floor": "0.1.0",
        "peak_ram_mib": package.peak_ram_mib,
    }
    quantised = is_quantised(model)
    golden = {
        "input": "golden/input.f32",
        "input_shape": list(example.shape),
        "tolerance": golden_tolerance(model, example),
        "reason": TOLERANCE_REASON if quantised else FLOAT_REASON,
    }
    parts = ["\n".join(f"{key} = {toml_value(value)}" for key, value in head.items()) + "\n"]
    parts.append(toml_table("input", package.input))
    parts.append(toml_table("output", package.output))
    if package.prototypes:
        parts.append(toml_table("prototypes", package.prototypes))
    if package.nnunet:
        parts.append(toml_table("nnunet", package.nnunet))
    if quantised:
        parts.append(toml_table("quantisation", {
            "scheme": "qdq-int8",
            "weights": "per-channel symmetric int8",
            "activations": "per-tensor uint8",
            "float_ops": float_operators(model),
        }))
    parts.append(toml_table("golden", golden))
    for entry in outputs:
        lines = [f"{key} = {toml_value(value)}" for key, value in entry.items()]
        parts.append("[[golden.output]]\n" + "\n".join(lines) + "\n")
    parts.append(toml_table("training", package.training))
    return "\n".join(parts)


def write_package(package: Package, model: Path, example: np.ndarray, models_root: Path) -> Path:
    """Copies the model, writes everything beside it and signs; returns the folder."""
    folder = models_root / package.name / package.version
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(model, folder / "model.onnx")
    outputs = write_golden(folder, folder / "model.onnx", example)
    text = manifest(package, model, example, outputs)
    (folder / "manifest.toml").write_text(text)
    (folder / "CARD.md").write_text(package.card)
    print("packaged in", folder)
    sign(folder, package.key)
    return folder


def peak_ram_mib(model: Path, tensor: str, shape: tuple[int, ...]) -> int:
    """Resident memory of a process that runs one input in ONNX Runtime, less what it had before."""
    code = (
        "import sys; import numpy as np; import onnxruntime as ort; status = lambda: open('/proc/self/status').read(); "
        "peak = lambda: int(status().partition('VmHWM:')[2].split()[0]); before = peak(); "
        "network = ort.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider']); "
        f"network.run(None, {{sys.argv[2]: np.zeros({shape}, np.float32)}}); "
        "print((peak() - before) // 1024 + 1)"
    )
    command = [sys.executable, "-c", code, str(model), tensor]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def engine_command() -> list[str]:
    """The program of this repository, or the one that HCC_EDGE_BINARY names."""
    binary = os.environ.get("HCC_EDGE_BINARY")
    return [binary] if binary else ["cargo", "run", "--release", "--locked", "--quiet", "--"]


def sign(folder: Path, key: Path) -> None:
    """Signs with `key`; where there is no cargo, says which command does it."""
    arguments = ["models", "sign", "--key", str(key.resolve()), str(folder.resolve())]
    command = engine_command()
    if shutil.which(command[0]) is None:
        print("not signed yet:", shlex.join(["hcc-edge", *arguments]))
        return
    subprocess.run([*command, *arguments], cwd=REPOSITORY, check=True)
