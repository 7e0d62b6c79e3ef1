"""A 3-D segmentation ONNX and a manifest written by hand become a signed package.

    import_onnx.py MODEL.onnx MANIFEST.toml --models FOLDER --calibration VOLUME [VOLUME ...]      int8
    import_onnx.py MODEL.onnx MANIFEST.toml --models FOLDER --float                                single precision

MANIFEST has `name`, `version`, `licence` and `data` (what it was trained on), the tables `[input]` and `[output]` of any
package, and `[nnunet]`: how volumes are turned (`ras` or `lps`); they are cropped and resampled as nnU-Net does it
(`kiunet.toml` is one). The network takes `[1, 1, z, y, x]` and gives logits of background, liver and tumour of the same
sides. With `--check VOLUME`, the model as it was given labels the volume in ONNX Runtime, in Python, and the package in
hcc-edge; the exit status is 1 where the Dice of liver and tumour together is below `--least`.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, resample_data_or_seg_to_shape

from compare_nnunet import dice, segment
from import_nnunet import patches, quantised
from package import DEMONSTRATION_KEY, Package, peak_ram_mib, write_package
from quantise import session
from specifications import normalise

FLIPS = {"ras": (1, 1, 1), "lps": (1, -1, -1)}
LEAST_SIDE = 64
SAMPLES_PER_VOLUME = 12


@dataclass
class Prepared:
    """A volume on the network's grid, and the way back."""

    values: np.ndarray
    body: tuple[slice, ...]
    shape: tuple[int, ...]
    spacing: list[float]


def turned(volume: np.ndarray, recipe: dict[str, Any]) -> np.ndarray:
    """`[z, y, x]` in RAS+ directions to the network's axes."""
    z, y, x = FLIPS[recipe["orientation"]]
    return volume[::z, ::y, ::x].transpose(recipe["transpose"])


def prepared(path: Path, manifest: dict[str, Any]) -> Prepared:
    """What nnU-Net's preprocessing makes of the volume, in numpy."""
    image = nibabel.as_closest_canonical(nibabel.load(path))
    hu = turned(np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0), manifest["nnunet"])
    mm = [float(image.header.get_zooms()[2 - axis]) for axis in manifest["nnunet"]["transpose"]]
    cropped, _, box = crop_to_nonzero(hu[None])
    spacing = manifest["input"]["spacing_mm"]
    size = compute_new_shape(cropped.shape[1:], mm, spacing)
    values = resample_data_or_seg_to_shape(normalise(cropped, manifest["input"]), size, mm, spacing, order=3, order_z=0,
                                           force_separate_z=None)
    return Prepared(values, tuple(slice(*pair) for pair in box), hu.shape, mm)


def reference(model: Path, volume: Path, manifest: dict[str, Any]) -> np.ndarray:
    """Labels by the model as it is, in ONNX Runtime, `[z, y, x]` in RAS+ directions."""
    scan, network, patch = prepared(volume, manifest), session(model), manifest["input"]["patch"]
    short = [max(side - have, 0) for side, have in zip(patch, scan.values.shape[1:], strict=True)]
    pads = [(missing // 2, missing - missing // 2) for missing in short]
    image = np.pad(scan.values, [(0, 0), *pads])
    weight = compute_gaussian(tuple(patch), value_scaling_factor=10, device=torch.device("cpu")).float().numpy()
    total = np.zeros((len(manifest["output"]["classes"]), *image.shape[1:]), np.float32)
    weights = np.zeros(image.shape[1:], np.float32)
    steps = compute_steps_for_sliding_window(image.shape[1:], patch, 0.5)
    for corner in np.array(np.meshgrid(*steps, indexing="ij")).reshape(3, -1).T:
        window = tuple(slice(c, c + side) for c, side in zip(corner, patch, strict=True))
        (logits,) = network.run(None, {manifest["input"]["tensor"]: image[(slice(None), *window)][None]})
        total[(slice(None), *window)] += logits[0] * weight
        weights[window] += weight
    inside = tuple(slice(before, before + size) for (before, _), size in zip(pads, scan.values.shape[1:], strict=True))
    logits = (total / weights)[(slice(None), *inside)]
    size = [part.stop - part.start for part in scan.body]
    spacing = manifest["input"]["spacing_mm"]
    logits = resample_data_or_seg_to_shape(logits, size, spacing, scan.spacing, order=1, order_z=0, force_separate_z=None)
    labels = np.zeros(scan.shape, np.uint8)
    labels[scan.body] = logits.argmax(0)
    back = labels.transpose(np.argsort(manifest["nnunet"]["transpose"]))
    z, y, x = FLIPS[manifest["nnunet"]["orientation"]]
    return back[::z, ::y, ::x]


def small_sides(model: Path, manifest: dict[str, Any]) -> list[int]:
    """The patch with its sides halved as far as the network takes them: for calibration and the golden example."""
    network, sides = session(model), list(manifest["input"]["patch"])

    def takes(shape: list[int]) -> bool:
        try:
            (logits,) = network.run(None, {manifest["input"]["tensor"]: np.zeros((1, 1, *shape), np.float32)})
        except Exception:  # ONNX Runtime raises classes of its own for shapes that a model does not take
            return False
        return list(logits.shape[2:]) == shape

    for axes in ((1, 2), (0,)):
        while all(sides[axis] // 2 >= LEAST_SIDE for axis in axes):
            halved = [side // 2 if axis in axes else side for axis, side in enumerate(sides)]
            if not takes(halved):
                break
            sides = halved
    return sides


def read_manifest(path: Path) -> dict[str, Any]:
    manifest = tomllib.loads(path.read_text())
    for key in ("name", "version", "licence", "data", "input", "output", "nnunet"):
        if key not in manifest:
            raise SystemExit(f"{path}: {key} is missing")
    if manifest["nnunet"].get("orientation") not in FLIPS:
        raise SystemExit(f"{path}: nnunet.orientation is none of {sorted(FLIPS)}")
    return manifest


def checked(model: Path, volume: Path, folder: Path, manifest: dict[str, Any]) -> float:
    """Dice of liver and tumour together: the model in ONNX Runtime against the package in hcc-edge."""
    wanted = reference(model, volume, manifest) > 0
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "labels.nii.gz"
        figures = segment(volume, folder, out, [])
        found = np.asarray(nibabel.as_closest_canonical(nibabel.load(out)).dataobj).transpose(2, 1, 0) > 0
    score = dice(wanted, found)
    print(f"{volume.name}: {figures['backend']}, {figures['arithmetic']}, {figures['seconds']:.1f} s; liver {wanted.sum()} "
          f"voxels in ONNX Runtime, {found.sum()} here, Dice {score:.5f}")
    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="folder of packages to write into")
    parser.add_argument("--float", dest="single", action="store_true")
    parser.add_argument("--calibration", type=Path, nargs="+", default=[], metavar="VOLUME")
    parser.add_argument("--check", type=Path, metavar="VOLUME")
    parser.add_argument("--least", type=float, default=0.98)
    parser.add_argument("--key", type=Path, default=DEMONSTRATION_KEY, help="models signer's key, PKCS#8")
    options = parser.parse_args()
    if options.single == bool(options.calibration):
        raise SystemExit("name either --float or volumes for --calibration")
    manifest = read_manifest(options.manifest)
    table = manifest["input"]
    sides = small_sides(options.model, manifest)
    training = {"data": manifest["data"], "imported": "ONNX"}
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "float.onnx"
        shutil.copyfile(options.model, model)
        example = np.random.default_rng(0).normal(0, 1, (1, 1, *sides)).astype(np.float32)
        if not options.single:
            volumes = [prepared(volume, manifest).values for volume in options.calibration]
            samples = [window for volume in volumes for window in patches(volume, sides, SAMPLES_PER_VOLUME)]
            example = patches(volumes[0], sides, 1)[0]
            model, method, share = quantised(model, table["tensor"], samples, Path(place))
            training |= {"calibration": method, "labels_as_in_float": round(share, 5)}
        package = Package(
            name=manifest["name"], version=manifest["version"], licence=manifest["licence"], key=options.key,
            task="segmentation", peak_ram_mib=peak_ram_mib(model, table["tensor"], (1, 1, *table["patch"])),
            input=table, output=manifest["output"], training=training, nnunet=manifest["nnunet"],
            card=f"# Imported from ONNX\n\nNot clinical evidence: nothing was measured here.\n\n"
                 f"* {options.model.name}, trained on {manifest['data']}\n",
        )
        folder = write_package(package, model, example, options.models.resolve())
    print(folder)
    if options.check:
        raise SystemExit(int(checked(options.model, options.check.resolve(), folder, manifest) < options.least))


if __name__ == "__main__":
    main()
