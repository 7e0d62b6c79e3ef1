"""An nnU-Net v2 results folder (`plans.json`, `dataset.json`, `fold_X/checkpoint_final.pth`) becomes a signed package.

    import_nnunet.py RESULTS --models FOLDER --calibration VOLUME [VOLUME ...]      int8
    import_nnunet.py RESULTS --models FOLDER --float                                single precision

Taken are `3d_fullres` networks for one CT channel (PlainConvUNet, ResidualEncoderUNet) whose labels are background,
liver and tumour; `--tumour NAME` says what the tumour is called. Several folds become one network: the mean of their
logits is one 1x1x1 convolution of all their last features. What nnU-Net does around the network goes into the manifest;
what the appliance cannot do as nnU-Net does it is refused here. A checkpoint is a pickle: import only what you trust.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import Tensor, nn

from package import DEMONSTRATION_KEY, Package, peak_ram_mib, write_package
from quantise import METHODS, export_float, quantise, session

CONFIGURATION = "3d_fullres"
CLASSES = ["background", "liver", "tumour"]
TUMOUR_NAMES = ("tumour", "tumor", "cancer", "lesion")
READERS = {"SimpleITKIO": "file", "NibabelIO": "file", "NibabelIOWithReorient": "ras"}
ARCHITECTURES = ("PlainConvUNet", "ResidualEncoderUNet")
# How nnU-Net resamples unless somebody wrote another planner.
RESAMPLING = {
    "resampling_fn_data": {"order": 3, "order_z": 0, "force_separate_z": None},
    "resampling_fn_probabilities": {"order": 1, "order_z": 0, "force_separate_z": None},
}
NAMES = ("image", ["logits"])
PATCHES_PER_VOLUME = 2


class Refused(SystemExit):
    """What cannot be imported, and why."""


def expect(found: Any, expected: Any, what: str) -> None:
    if found != expected:
        raise Refused(f"not imported: {what} is {found!r}, expected {expected!r}")


@dataclass
class Results:
    """A results folder that can be imported."""

    folder: Path
    folds: list[str]
    plans: PlansManager
    dataset: dict[str, Any]

    def __post_init__(self):
        plan = self.configuration
        expect(list(self.dataset["channel_names"].values()), ["CT"], "channel_names of dataset.json")
        expect(plan.normalization_schemes, ["CTNormalization"], "normalization_schemes of the plan")
        expect(plan.configuration["use_mask_for_norm"], [False], "use_mask_for_norm of the plan")
        expect(plan.previous_stage_name, None, "previous_stage of the plan")
        expect(plan.preprocessor_name, "DefaultPreprocessor", "preprocessor_name of the plan")
        if plan.network_arch_class_name.split(".")[-1] not in ARCHITECTURES:
            raise Refused(f"not imported: {plan.network_arch_class_name} is none of {ARCHITECTURES}")
        if self.reader not in READERS:
            raise Refused(f"not imported: volumes were read by {self.reader}, none of {sorted(READERS)}")
        for key, kwargs in RESAMPLING.items():
            expect(plan.configuration[key], "resample_data_or_seg_to_shape", f"{key} of the plan")
            found = plan.configuration[f"{key}_kwargs"]
            expect({name: found.get(name) for name in kwargs}, kwargs, f"{key}_kwargs of the plan")

    @property
    def configuration(self):
        return self.plans.get_configuration(CONFIGURATION)

    @property
    def reader(self) -> str:
        return self.plans.plans["image_reader_writer"]

    def check_labels(self, tumour: str | None) -> None:
        """The classes are the appliance's, in its order."""
        names = [tumour] if tumour else list(TUMOUR_NAMES)
        labels = {name: value for name, value in self.dataset["labels"].items()}
        wanted = [{"background": 0, "liver": 1, name: 2} for name in names]
        if labels not in wanted:
            raise Refused(f"not imported: labels of dataset.json are {labels}, expected {wanted[0]}; see --tumour")

    def checkpoint(self, fold: str) -> dict[str, Any]:
        path = self.folder / f"fold_{fold}/checkpoint_final.pth"
        if not path.is_file():
            raise Refused(f"not imported: no {path}")
        return torch.load(path, map_location="cpu", weights_only=False)

    def mirror_axes(self) -> list[int]:
        axes = {tuple(self.checkpoint(fold).get("inference_allowed_mirroring_axes") or ()) for fold in self.folds}
        if len(axes) != 1:
            raise Refused(f"not imported: the folds were mirrored along different axes: {sorted(axes)}")
        return list(axes.pop())

    def network(self, fold: str) -> nn.Module:
        """One fold's network with its weights, without deep supervision."""
        plan = self.configuration
        network = get_network_from_plans(
            plan.network_arch_class_name, plan.network_arch_init_kwargs, plan.network_arch_init_kwargs_req_import,
            1, len(CLASSES), allow_init=False, deep_supervision=False,
        )
        stored = self.checkpoint(fold)["network_weights"]
        network.load_state_dict({name.removeprefix("_orig_mod.").removeprefix("module."): value
                                 for name, value in stored.items()})
        for module in list(network.modules()):
            if isinstance(getattr(module, "skip", None), nn.Sequential):
                quantisable_skip(module)
        return network.eval()

    def input_table(self) -> dict[str, Any]:
        """Spacing and patch along the network's axes."""
        of = self.plans.foreground_intensity_properties_per_channel["0"]
        return {
            "phases": ["portal"],
            "axis_order": "zyx",
            "spacing_mm": [float(mm) for mm in self.configuration.spacing],
            "hu_clip": [float(of["percentile_00_5"]), float(of["percentile_99_5"])],
            "mean": float(of["mean"]),
            "sd": max(float(of["std"]), 1e-8),
            "patch": [int(side) for side in self.configuration.patch_size],
            "tensor": NAMES[0],
        }

    def recipe(self) -> dict[str, Any]:
        """The manifest's table `[nnunet]`."""
        return {
            "orientation": READERS[self.reader],
            "transpose": [int(axis) for axis in self.plans.transpose_forward],
            "mirror_axes": self.mirror_axes(),
        }

    def sides(self) -> list[int]:
        """What the network divides each side of its input by."""
        return np.prod(np.array(self.configuration.network_arch_init_kwargs["strides"]), 0).astype(int).tolist()

    def preprocessed(self, volume: Path) -> np.ndarray:
        """`[1, z, y, x]` as nnU-Net shows the volume to its network."""
        image, properties = self.plans.image_reader_writer_class().read_images([str(volume)])
        preprocessor = self.configuration.preprocessor_class(verbose=False)
        data, _, _ = preprocessor.run_case_npy(image, None, properties, self.plans, self.configuration, self.dataset)
        return data


@torch.no_grad()
def quantisable_skip(block: nn.Module) -> None:
    """A residual block's mean pool is followed by a 1x1x1 convolution that changes nothing, if by none yet: the int8
    engine adds what is rounded to 8 bits, and a convolution's input is."""
    if len(block.skip) != 1 or not isinstance(block.skip[0], nn.AvgPool3d):
        return
    channels = block.output_channels
    identity = nn.Conv3d(channels, channels, 1, bias=False)
    identity.weight.copy_(torch.eye(channels)[:, :, None, None, None])
    block.skip.append(identity)


def read_results(folder: Path, folds: list[str] | None) -> Results:
    """Reads and checks; without `folds`, all that are there."""
    for name in ("plans.json", "dataset.json"):
        if not (folder / name).is_file():
            raise Refused(f"not imported: {folder} has no {name}; name the folder TRAINER__PLANS__{CONFIGURATION}")
    found = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob("fold_*/checkpoint_final.pth"))
    if not found:
        raise Refused(f"not imported: {folder} has no fold_X/checkpoint_final.pth")
    plans = PlansManager(json.loads((folder / "plans.json").read_text()))
    return Results(folder, folds or found, plans, json.loads((folder / "dataset.json").read_text()))


class MeanOfFolds(nn.Module):
    """The mean of several networks' logits as one head over all their last features."""

    def __init__(self, networks: list[nn.Module]):
        super().__init__()
        heads = [network.decoder.seg_layers[-1] for network in networks]
        for network in networks:
            network.decoder.seg_layers[-1] = nn.Identity()
        self.networks = nn.ModuleList(networks)
        self.head = nn.Conv3d(sum(head.in_channels for head in heads), heads[0].out_channels, 1)
        with torch.no_grad():
            self.head.weight.copy_(torch.cat([head.weight for head in heads], 1) / len(heads))
            self.head.bias.copy_(torch.stack([head.bias for head in heads]).mean(0))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.cat([network(image) for network in self.networks], 1))


def patches(data: np.ndarray, patch: list[int], count: int) -> list[np.ndarray]:
    """`[1, 1, *patch]` windows: the brightest of many places, and others spread; smaller volumes are padded with 0."""
    pads = [(max(want - have, 0) // 2, -(-max(want - have, 0) // 2)) for want, have in zip(patch, data.shape[1:])]
    volume = np.pad(data[0], pads)
    random = np.random.default_rng(0)
    room = [have - want + 1 for have, want in zip(volume.shape, patch)]
    corners = [[int(random.integers(limit)) for limit in room] for _ in range(16 * count)]
    cut = [volume[tuple(slice(c, c + side) for c, side in zip(corner, patch))] for corner in corners]
    cut.sort(key=lambda window: -float(window.mean()))
    return [window[None, None].copy() for window in cut[:: max(len(cut) // count, 1)][:count]]


def quantised(float_path: Path, tensor: str, samples: list[np.ndarray], folder: Path) -> tuple[Path, str, float]:
    """The calibration whose labels agree most with the float network's, its name, and that share."""
    exact = session(float_path)
    wanted = [exact.run(None, {tensor: sample})[0].argmax(1) for sample in samples]
    best: tuple[Path, str, float] | None = None
    for method in METHODS:
        path = folder / f"{method}.onnx"
        quantise(float_path, path, tensor, samples, method)
        rounded = session(path)
        share = float(np.mean([(rounded.run(None, {tensor: sample})[0].argmax(1) == labels).mean()
                               for sample, labels in zip(samples, wanted, strict=True)]))
        print(f"calibration {method}: {share:.5f} of the labels as in float", flush=True)
        if best is None or share > best[2]:
            best = (path, method, share)
    return best


def card(results: Results, arithmetic: str) -> str:
    architecture = results.configuration.network_arch_class_name.split(".")[-1]
    return f"""# Imported from nnU-Net v2

Not clinical evidence: nothing was measured here but that the network computes as it did in nnU-Net.

* {architecture}, {CONFIGURATION}, folds {", ".join(results.folds)}, dataset {results.plans.dataset_name}
* {arithmetic}
* For what it is good, on whom it was trained and how it was measured is for those to say who trained it.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--models", type=Path, required=True, help="folder of packages to write into")
    parser.add_argument("--name", default="liver-tumour")
    parser.add_argument("--version", default="1.0.0")
    parser.add_argument("--licence", default="LicenseRef-of-its-maker", help="SPDX expression of the weights' licence")
    parser.add_argument("--folds", nargs="+", metavar="X", help="one fold, or several to average; default: all there")
    parser.add_argument("--tumour", help="name of label 2")
    parser.add_argument("--float", dest="single", action="store_true")
    parser.add_argument("--calibration", type=Path, nargs="+", default=[], metavar="VOLUME",
                        help="CT volumes of the kind it was trained on")
    parser.add_argument("--key", type=Path, default=DEMONSTRATION_KEY, help="models signer's key, PKCS#8")
    options = parser.parse_args()
    if options.single == bool(options.calibration):
        raise SystemExit("name either --float or volumes for --calibration")
    results = read_results(options.results, options.folds)
    results.check_labels(options.tumour)
    networks = [results.network(fold) for fold in results.folds]
    network = networks[0] if len(networks) == 1 else MeanOfFolds(networks)
    table, sides = results.input_table(), results.sides()
    patch = table["patch"]
    small = [min(side, max(2 * step, -(-side // 2 // step) * step)) for side, step in zip(patch, sides)]
    with tempfile.TemporaryDirectory() as place:
        model = Path(place) / "float.onnx"
        export_float(network, torch.zeros(1, 1, *patch), NAMES, model, dynamic=True)
        training: dict[str, Any] = {"data": results.plans.dataset_name, "folds": results.folds, "imported": "nnU-Net v2"}
        example = np.random.default_rng(0).normal(0, 1, (1, 1, *small)).astype(np.float32)
        if not options.single:
            volumes = [results.preprocessed(volume) for volume in options.calibration]
            samples = [window for volume in volumes for window in patches(volume, patch, PATCHES_PER_VOLUME)]
            example = patches(volumes[0], small, 1)[0]
            model, method, share = quantised(model, NAMES[0], samples, Path(place))
            training |= {"calibration": method, "labels_as_in_float": round(share, 5)}
        package = Package(
            name=options.name, version=options.version, licence=options.licence, key=options.key, task="segmentation",
            peak_ram_mib=peak_ram_mib(model, NAMES[0], (1, 1, *patch)), input=table, output={"tensors": NAMES[1], "classes": CLASSES},
            training=training, nnunet=results.recipe(),
            card=card(results, "single precision" if options.single else "int8, per-channel weights"),
        )
        print(write_package(package, model, example, options.models.resolve()))


if __name__ == "__main__":
    main()
