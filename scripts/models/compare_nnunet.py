"""Imported packages against nnU-Net's own predictor, voxel by voxel: exit status 1 where a Dice falls short.

    compare_nnunet.py RESULTS --package FOLDER --least 0.999 VOLUME [VOLUME ...] [--folds 0 1] [--mirror]

Both label each volume as a whole, from the file to labels on its grid; nothing is shared but the volume. `--package`
may be given several times, each with its `--least` Dice of every class that either of them finds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from package import REPOSITORY, engine_command

CLASSES = {1: "liver", 2: "tumour"}


def predictor(results: Path, folds: list[str] | None, mirror: bool) -> nnUNetPredictor:
    """nnU-Net's, as its command line sets it up for a processor."""
    stock = nnUNetPredictor(use_mirroring=mirror, perform_everything_on_device=False, device=torch.device("cpu"),
                            allow_tqdm=False)
    stock.initialize_from_trained_model_folder(str(results), tuple(folds) if folds else None)
    return stock


def read(stock: nnUNetPredictor, volume: Path) -> tuple[np.ndarray, dict]:
    """Voxels and properties as nnU-Net's reader for this network gives them."""
    return stock.plans_manager.image_reader_writer_class().read_images([str(volume)])


def theirs(stock: nnUNetPredictor, volume: Path) -> tuple[np.ndarray, float]:
    """Labels on the volume's grid, and seconds."""
    started = time.perf_counter()
    image, properties = read(stock, volume)
    return stock.predict_single_npy_array(image, properties), time.perf_counter() - started


def segment(volume: Path, package: Path, out: Path, more: list[str]) -> dict:
    """Runs `hcc-edge segment`; what it says."""
    command = [*engine_command(), "--json", "segment", "--package", str(package), "--out", str(out), *more, str(volume)]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def ours(stock: nnUNetPredictor, volume: Path, package: Path, more: list[str]) -> tuple[np.ndarray, dict]:
    """Labels on the volume's grid, and what `hcc-edge segment` says of them."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "labels.nii.gz"
        figures = segment(volume, package, out, more)
        return read(stock, out)[0][0], figures


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Of two masks; 1 where both are empty."""
    both = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / both if both else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("volumes", type=Path, nargs="+")
    parser.add_argument("--package", type=Path, action="append", required=True)
    parser.add_argument("--least", type=float, action="append", required=True)
    parser.add_argument("--folds", nargs="+")
    parser.add_argument("--mirror", action="store_true")
    options = parser.parse_args()
    stock = predictor(options.results, options.folds, options.mirror)
    short = False
    for volume in options.volumes:
        wanted, seconds = theirs(stock, volume.resolve())
        print(f"{volume.name}: nnU-Net {seconds:.1f} s, voxels", np.bincount(wanted.ravel().astype(int)).tolist())
        for package, least in zip(options.package, options.least, strict=True):
            found, figures = ours(stock, volume.resolve(), package.resolve(), ["--mirror"] if options.mirror else [])
            scores = {name: dice(wanted == label, found == label) for label, name in CLASSES.items()}
            short |= min(scores.values()) < least
            print(f"  {package.parent.name} {package.name}: {figures['backend']}, {figures['arithmetic']}, "
                  f"{figures['seconds']:.1f} s, {figures['patches']} patches, {figures['peak_rss_mib']:.0f} MiB;",
                  ", ".join(f"{name} Dice {score:.5f}" for name, score in scores.items()),
                  f"(at least {least}), {int((wanted != found).sum())} voxels differ", flush=True)
    raise SystemExit(short)


if __name__ == "__main__":
    main()
