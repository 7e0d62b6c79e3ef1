"""Checks of the segmentation pipeline's parts; `setup` runs them: python test_segmentation.py."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path

import numpy as np
import torch

import qat
from quantise import export_float, least_error_range
from real_sources import line_weights, resample
from segmentation import Tally, longest_in_plane_mm, parts_of
from unet import PlainConvUNet, start_from


def ball(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> np.ndarray:
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    return (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2


def small_network() -> PlainConvUNet:
    """Norms as after some training: neither identity nor alike."""
    network = PlainConvUNet(classes=3, widths=(8, 8), convs_down=(1, 1), half_inside=True)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


def test_a_run_starts_with_the_function_of_the_package() -> None:
    torch.manual_seed(1)
    trained, image = small_network(), torch.randn(1, 1, 16, 16, 16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_float(trained, image, ("image", ["logits"]), path, dynamic=True)
        started = small_network()
        start_from(started, path, torch.randn(2, 1, 16, 16, 16))
    assert torch.allclose(started.eval()(image), trained(image), atol=1e-3)


def test_resampling_keeps_what_is_even_and_tiles_the_range() -> None:
    for count, spacing_mm, target_mm in ((34, 8.0, 2.0), (512, 0.7, 2.0), (7, 3.0, 3.0)):
        weights = line_weights(count, spacing_mm, target_mm)
        assert abs(len(weights) * target_mm - count * spacing_mm) <= target_mm
        assert np.allclose(weights.sum(1), 1)
    ramp = np.arange(20, dtype=np.float32)[:, None, None].repeat(3, 1).repeat(3, 2)
    fine = resample(ramp, np.array([4.0, 2.0, 2.0]), 2.0)
    assert np.allclose(np.diff(fine[2:-2, 0, 0]), 0.5, atol=1e-4)


def test_a_perfect_answer_scores_perfectly_and_a_missed_lesion_is_counted() -> None:
    shape = (40, 60, 60)
    label = ball(shape, (20, 30, 30), 18).astype(np.uint8)
    label[ball(shape, (20, 30, 24), 6)] = 2
    label[ball(shape, (20, 30, 42), 3)] = 2
    hu = np.where(label == 2, 70.0, 110.0)
    perfect, missed = Tally(), Tally()
    perfect.add(hu, label, label)
    assert perfect.figures()["tumour_dice"] == perfect.figures()["count_exact"] == 1.0
    assert perfect.figures()["diameter_error_mm"] == 0.0
    found = label.copy()
    found[ball(shape, (20, 30, 42), 3)] = 1
    missed.add(hu, label, found)
    assert missed.figures()["count_exact"] == 0.0 and missed.figures()["false_lesions"] == 0.0
    assert len(parts_of(label == 2)[1]) == 2
    assert abs(longest_in_plane_mm(ball(shape, (20, 30, 24), 6)) - 26) < 2.1


def test_the_least_error_range_cuts_an_outlier_and_keeps_an_even_spread() -> None:
    random = np.random.default_rng(0)
    even = random.uniform(-1, 3, 20_000).astype(np.float32)
    low, high = least_error_range(even)
    assert low < -0.95 and high > 2.9
    _, high = least_error_range(np.append(random.normal(0, 1, 100_000), 400).astype(np.float32))
    assert high < 390


def test_folding_the_norms_keeps_the_function_and_rounding_moves_it_little() -> None:
    torch.manual_seed(2)
    network, image = small_network(), torch.randn(1, 1, 16, 16, 16)
    before = network(image).detach()
    target = torch.zeros(1, 16, 16, 16, dtype=torch.int64)
    losses = qat.fine_tune(network, [image], lambda: (image, target), torch.nn.functional.cross_entropy, 0)
    assert losses == [] and torch.allclose(network(image), before, atol=1e-4)
    losses = qat.fine_tune(network, [image], lambda: (image, target), torch.nn.functional.cross_entropy, 3, 1e-2)
    assert losses[-1] < losses[0]


def test_every_program_finds_its_parts() -> None:
    for module in Path(__file__).parent.glob("*.py"):
        importlib.import_module(module.stem)


if __name__ == "__main__":
    for name, check in list(globals().items()):
        if name.startswith("test_"):
            check()
            print("ok", name)
