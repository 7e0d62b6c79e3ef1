"""The KiU-Net of `teachers.py` as ONNX: kiunet_onnx.py kiunet_lits_3class.npz OUT.onnx

The weights are whoever's that names them; they are never part of the repository.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from quantise import export_float
from teachers import KIUNET_SHAPE, Weights, kiunet_logits


class KiUNet(nn.Module):
    """`[1, 1, 48, 256, 256]` HU / 200 in, `[1, 3, 48, 256, 256]` logits out."""

    def __init__(self, weights: Weights):
        super().__init__()
        self.weights = weights

    def forward(self, image: Tensor) -> Tensor:
        return kiunet_logits(self.weights, image)


if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:])
    export_float(KiUNet(Weights(source)), torch.zeros(1, 1, *KIUNET_SHAPE), ("image", ["logits"]), out, dynamic=True)
    print(out)
