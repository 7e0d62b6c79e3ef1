"""The chunked state space equals the step-by-step scan, the exported graph equals the network, and the engine knows the
exported functions. Run: `python test_pmn.py` (exit code 0 or 1) or `python -m pytest test_pmn.py`."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch

from pmn import PmnSettings, PrototypeMambaNet, chunked_scan, scan_reference
from pmn_export import float_model, functions
from pmn_training import Part
from quantise import session
from specifications import PMN

TOLERANCE = 1e-4
# Relative, for distances of some hundreds summed in another order.
GRAPH_TOLERANCE = 1e-5
ENGINE_FUNCTIONS = Path(__file__).resolve().parents[2] / "src/analysis/engine/lower/functions.onnx"


def error_of_chunked_scan(length: int, chunk: int, seed: int) -> float:
    """Largest absolute difference on random tensors of two sequences, three heads."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(2, length, 3, 8, generator=random)
    log_decay = -torch.rand(2, length, 3, generator=random)
    b = torch.randn(2, length, 4, generator=random)
    c = torch.randn(2, length, 4, generator=random)
    fast = chunked_scan(x, log_decay, b, c, chunk)
    return float((fast - scan_reference(x, log_decay, b, c)).abs().max())


def test_chunked_scan_equals_reference():
    for seed, (length, chunk) in enumerate([(72, 72), (144, 72), (216, 72), (64, 4), (8, 1)]):
        error = error_of_chunked_scan(length, chunk, seed)
        assert error <= TOLERANCE, f"length {length}, chunk {chunk}: error {error}"


def test_the_chunk_changes_rounding_only():
    torch.manual_seed(4)
    network = PrototypeMambaNet(PmnSettings(box_voxels=24, widths=(32, 64, 128), depths=(1, 2, 1))).eval()
    box = torch.rand(1, 2, 24, 24, 24)
    with torch.no_grad():
        expected = network(box)
        for chunk in (64, 16, 4):
            network.set_chunk(chunk)
            for found, of_settings in zip(network(box), expected, strict=True):
                error = (found - of_settings).abs().max() / of_settings.abs().max()
                assert error <= GRAPH_TOLERANCE, f"chunk {chunk}: relative error {error}"
    assert Part(1, PMN.box_voxels // 2, 1, 0.0).chunk == 16 and Part(1, PMN.box_voxels, 1, 0.0).chunk == 64


def test_exported_graph_equals_the_network():
    torch.manual_seed(3)
    network = PrototypeMambaNet(PmnSettings(box_voxels=24, widths=(32, 64, 128), depths=(1, 2, 1)))
    network.train()(torch.rand(2, 2, 24, 24, 24))  # for BatchNorm's statistics
    network.eval()
    box = torch.rand(1, 2, 24, 24, 24)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder, "pmn.onnx")
        onnx.save(float_model(network), path)
        for found, expected in zip(session(path).run(None, {"box": box.numpy()}), network(box), strict=True):
            error = np.abs(found - expected.numpy()) / np.abs(expected.numpy()).max()
            assert error.max() <= GRAPH_TOLERANCE, f"relative error {error.max()}"


def test_the_engine_knows_the_functions():
    known = onnx.load(ENGINE_FUNCTIONS).functions
    assert [body.SerializeToString() for body in known] == [body.SerializeToString() for body in functions()]


if __name__ == "__main__":
    test_chunked_scan_equals_reference()
    test_the_chunk_changes_rounding_only()
    test_exported_graph_equals_the_network()
    test_the_engine_knows_the_functions()
    print("scan, export and functions hold")
