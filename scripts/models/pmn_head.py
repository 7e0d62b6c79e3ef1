"""Fits the PMN's head (last norm, attention, prototypes) to whole boxes as the quantised network sees them.

The features of the last stage come from the int8 engine, which takes a tenth of PyTorch's time for a whole box: what
training on cubes cannot teach, which of many tokens count, is learned here in seconds, from what the device computes.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor

from auc import auc_with_interval
from boxes import BoxCase, token_shares
from package import engine_command
from pmn import PrototypeMambaNet
from pmn_export import features_model, quantised
from pmn_training import head_losses
from specifications import PMN

STEPS, BATCH, RATE, DECAY, CHECK_EVERY = 600, 32, 2e-3, 0.05, 25


def run_engine(model: Path, box: np.ndarray) -> np.ndarray:
    """All outputs of one box `[1, 2, S, S, S]`, one behind the other."""
    sides = ",".join([str(PMN.box_voxels)] * 3)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.f32"), Path(folder, "out.f32")
        box.astype("<f4").tofile(source)
        arguments = ["bench", "engine", "--json", "--rounds", "1", "--model", str(model), "--size", sides,
                     "--input", str(source), "--output", str(target)]
        subprocess.run([*engine_command(), *arguments], check=True, stdout=subprocess.DEVNULL)
        return np.fromfile(target, "<f4")


def features_of(model: Path, cases: list[BoxCase]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens before the last norm `[n, T, width]`, tumour shares `[n, T]`, labels `[n, 3]`."""
    width, side = PMN.widths[-1], PMN.token_side
    found = [run_engine(model, case.box[None].astype(np.float32)).reshape(width, side**3).T for case in cases]
    shares = token_shares(torch.from_numpy(np.stack([case.tumour for case in cases])), side)
    return torch.from_numpy(np.stack(found)), shares, torch.tensor([case.labels for case in cases])


def fit_head(
    network: PrototypeMambaNet, train: list[BoxCase], validation: list[BoxCase], work: Path, seed: int
) -> dict[str, float]:
    """Changes the network's head in place; keeps the step with the best AUC on `validation` and returns it with the
    AUC before."""
    torch.manual_seed(seed)
    path = work / "pmn-features.onnx"
    calibration = [case.box[None].astype(np.float32) for case in validation[:3]]
    quantised(features_model(network), calibration, path)
    tokens, shares, labels = features_of(path, train)
    held = features_of(path, validation)
    parts = [network.norm, network.attend, network.classify]
    parameters = [network.prototypes, *(parameter for part in parts for parameter in part.parameters())]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    before = best = auc_of(network, *held)
    kept = {key: value.clone() for key, value in network.state_dict().items()}
    for step in range(1, STEPS + 1):
        chosen = torch.randint(len(tokens), (BATCH,))
        loss, _ = head_losses(network, network.norm(tokens[chosen]), shares[chosen], labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % CHECK_EVERY == 0 and (found := auc_of(network, *held)) > best:
            best, kept = found, {key: value.clone() for key, value in network.state_dict().items()}
    network.load_state_dict(kept)
    return {"before": round(before, 4), "after": round(best, 4)}


def auc_of(network: PrototypeMambaNet, tokens: Tensor, shares: Tensor, labels: Tensor) -> float:
    """Of proliferation."""
    with torch.no_grad():
        _, pair = head_losses(network, network.norm(tokens), shares, labels)
    return auc_with_interval((pair[:, 0] - pair[:, 1]).numpy(), labels[:, 0].numpy() == 1)[0]
