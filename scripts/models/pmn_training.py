"""Training of the PMN on stored boxes, under a named schedule.

`cpu` trains on cubes around tumour at the box's own scale, small ones first, which see the most tumours per minute, and
ends on whole boxes with BatchNorm fixed to their statistics. `paper` is the paper's learning rate, batch and epochs,
for where a GPU is at hand.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boxes import BoxCase, read_box, token_shares
from checkpoint import resume, save
from pmn import PMN_ABSENT, PrototypeMambaNet, squared_distance
from specifications import PMN

# Weights of the losses beside the distance cross entropy of bank A; ours.
EFFICACY, ENTROPY, TOKENS, ATTENTION, ELSEWHERE, GUIDES = 0.3, 0.5, 1.0, 0.3, 0.5, 0.5
WARM_UP = 40
CUBE_CHUNK = 16


@dataclass(frozen=True)
class Part:
    """`share` of a run on cubes of `side` voxels, `batch` at a time, with learning rates from `rate` down half a
    cosine. `fixed`: BatchNorm uses statistics of whole boxes."""

    share: float
    side: int
    batch: int
    rate: float
    fixed: bool = False

    @property
    def chunk(self) -> int:
        """Tokens that a scan takes at once; changes time and rounding only."""
        return PMN.chunk if self.side == PMN.box_voxels else CUBE_CHUNK


@dataclass(frozen=True)
class Schedule:
    """An optimiser, its weight decay, the parts of a run, and the epochs, if they and not minutes count (then the
    learning rate stays as it is)."""

    optimiser: str
    decay: float
    parts: tuple[Part, ...]
    epochs: int | None = None


SCHEDULES = {
    # Optimiser, learning rate, batch and epochs are the paper's; that boxes are never cropped is ours.
    "paper": Schedule("adam", 0.0, (Part(1.0, PMN.box_voxels, 32, 1e-5),), 800),
    # All ours: minutes on two cores.
    "cpu": Schedule("adamw", 0.02, (
        Part(0.45, PMN.box_voxels // 4, 12, 1e-3),
        Part(0.35, PMN.box_voxels // 2, 4, 7e-4),
        Part(0.20, PMN.box_voxels, 1, 2e-4, fixed=True),
    )),
}


def losses(network: PrototypeMambaNet, boxes: Tensor, tumour: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of all losses and bank A's distances `[b, 2]`; boxes `[b, 2, S, S, S]`, tumour `[b, S, S, S]`, labels
    `[b, 3]`."""
    tokens, before = network.tokens(boxes)
    side = boxes.shape[-1] // PMN.box_voxels_per_token
    total, pair = head_losses(network, tokens, token_shares(tumour, side), labels)
    for index, (guide, stage) in enumerate(zip(network.guides, before, strict=True)):
        part = token_shares(tumour, side * 2 ** (len(before) - index))
        total = total + GUIDES * guide_loss(guide(stage), part, labels)
    return total, pair


def head_losses(
    network: PrototypeMambaNet, tokens: Tensor, shares: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Those of normalised tokens `[b, T, width]` of the last stage, whose tumour shares are `[b, T]`; and bank A's
    distances `[b, 2]`."""
    scores = network.attend(tokens).squeeze(-1)
    pooled = (tokens * torch.softmax(scores, 1).unsqueeze(-1)).sum(1)
    distances = squared_distance(pooled[:, None], network.prototypes).squeeze(1)
    total = bank_losses(distances, network.classify(pooled), labels)
    total = total + TOKENS * token_loss(squared_distance(tokens, network.prototypes[:2]), shares, labels)
    wanted = shares / shares.sum(1, keepdim=True).clamp(min=1e-6)
    total = total + ATTENTION * -(wanted * torch.log_softmax(scores, 1)).sum(1).mean()
    return total, distances[:, :2]


def guide_loss(logits: Tensor, shares: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of `[b, T, 3]` (elsewhere, non-proliferative, proliferative tumour), tumour and the rest alike."""
    logits = logits.movedim(-1, 1)
    on_tumour = F.cross_entropy(logits, (1 + labels[:, :1]).expand(shares.shape), reduction="none")
    elsewhere = F.cross_entropy(logits, torch.zeros_like(shares, dtype=torch.long), reduction="none")
    outside = (shares == 0).float()
    return ((on_tumour * shares).sum() / shares.sum().clamp(min=1e-3)
            + (elsewhere * outside).sum() / outside.sum().clamp(min=1)) / 2


def bank_losses(distances: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
    """Distance cross entropy with its pull to the right prototype, and cross entropy, of the three banks; absent
    labels are masked."""
    total = distances.new_zeros(())
    for bank in range(3):
        present = labels[:, bank] != PMN_ABSENT
        if not present.any():
            continue
        pair = distances[present, 2 * bank : 2 * bank + 2]
        wanted = labels[present, bank]
        entropy = F.cross_entropy(-PMN.gamma * pair, wanted)
        pull = PMN.gamma * pair.gather(1, wanted[:, None]).mean()
        plain = F.cross_entropy(logits[present, 2 * bank : 2 * bank + 2], wanted)
        total = total + (1.0 if bank == 0 else EFFICACY) * (entropy + PMN.pull * pull + ENTROPY * plain)
    return total


def token_loss(token_distances: Tensor, shares: Tensor, labels: Tensor) -> Tensor:
    """Distance cross entropy of the tokens `[b, T, 2]`: those on tumour against the case's class, weighted by their
    tumour share `[b, T]`; those elsewhere against non-proliferative, so that the heat map points at tumour."""
    logits = -PMN.gamma * token_distances.movedim(-1, 1)
    here = F.cross_entropy(logits, labels[:, :1].expand(shares.shape), reduction="none")
    elsewhere = F.cross_entropy(logits, torch.zeros_like(shares, dtype=torch.long), reduction="none")
    outside = (shares == 0).float()
    on_tumour = (here * shares).sum() / shares.sum().clamp(min=1e-3)
    return on_tumour + ELSEWHERE * (elsewhere * outside).sum() / outside.sum().clamp(min=1)


class Boxes:
    """Draws disturbed boxes, or cubes of them around tumour, from files."""

    def __init__(self, folder: Path, seed: int):
        self.files, self.random = sorted(folder.glob("[0-9]*[0-9].npz")), np.random.default_rng(seed)

    def batch(self, size: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
        """`[b, 2, side, side, side]`, tumour `[b, side, side, side]`, labels `[b, 3]`."""
        boxes, tumours, labels = [], [], []
        while len(boxes) < size:
            case = read_box(self.files[int(self.random.integers(len(self.files)))])
            if not case.tumour.any():  # drawn outside the liver
                continue
            box, tumour = self.disturbed(*self.cube(case, side))
            boxes.append(box)
            tumours.append(tumour)
            labels.append(case.labels)
        return torch.from_numpy(np.stack(boxes)), torch.from_numpy(np.stack(tumours)), torch.tensor(labels)

    def cube(self, case: BoxCase, side: int) -> tuple[np.ndarray, np.ndarray]:
        """A cube that holds a random tumour voxel somewhere in its middle half."""
        places = np.flatnonzero(case.tumour)
        whole = case.tumour.shape[0]
        if side == whole:
            return case.box, case.tumour
        centre = np.unravel_index(int(self.random.choice(places)), case.tumour.shape)
        shift = self.random.integers(-side // 4, side // 4 + 1, 3)
        starts = [int(np.clip(c + s - side // 2, 0, whole - side)) for c, s in zip(centre, shift, strict=True)]
        window = tuple(slice(start, start + side) for start in starts)
        return case.box[(slice(None), *window)], case.tumour[window]

    def disturbed(self, box: np.ndarray, tumour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mirrors and swaps axes; moves contrast and level of what is inside the mask."""
        axes = self.random.permutation(3)
        mirrored = [axis for axis in range(3) if self.random.random() < 0.5]
        box, tumour = box.transpose(0, *(axes + 1)), tumour.transpose(*axes)
        box, tumour = np.flip(box, [axis + 1 for axis in mirrored]), np.flip(tumour, mirrored)
        factor, offset = self.random.uniform(0.92, 1.08), self.random.uniform(-0.03, 0.03)
        moved = (box.astype(np.float32) * np.float32(factor) + np.float32(offset)) * (box != 0)
        return np.clip(moved, 0, 1), np.ascontiguousarray(tumour)


def place_in(schedule: Schedule, progress: float) -> tuple[Part, float]:
    """The part at `progress` 0..1 through the run, and how far through that part."""
    begin = 0.0
    for part in schedule.parts:
        if progress < begin + part.share or part is schedule.parts[-1]:
            return part, min((progress - begin) / part.share, 1.0)
        begin += part.share
    raise ValueError("a schedule has a part")


def rate(schedule: Schedule, part: Part, place: float, iteration: int) -> float:
    """Learning rate `place` 0..1 through a part."""
    if schedule.epochs is not None:
        return part.rate
    cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * place))
    return part.rate * cosine * min(1.0, (iteration + 1) / WARM_UP)


def settle_statistics(network: PrototypeMambaNet, boxes: Boxes, count: int, device: str) -> None:
    """Sets BatchNorm's running statistics to the mean over `count` undisturbed passes of whole boxes."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    network.train()
    with torch.no_grad():
        for _ in range(count):
            network.tokens(boxes.batch(1, PMN.box_voxels)[0].to(device))
    for norm in norms:
        norm.momentum = 0.1


def train(
    folder: Path, schedule: Schedule, minutes: float, seed: int, device: str, checkpoint: Path
) -> tuple[PrototypeMambaNet, dict]:
    """Trains until the time, or the schedule's epochs, are used up; resumes from `checkpoint` where it exists."""
    torch.manual_seed(seed)
    network = PrototypeMambaNet(PMN).to(device)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[schedule.optimiser]
    optimiser = kind(network.parameters(), weight_decay=schedule.decay)
    state = resume(checkpoint, network, optimiser, device) or {"iterations": 0, "elapsed": 0.0, "fixed": False}
    boxes = Boxes(folder, seed + state["iterations"])
    base, started, saved_at, seen, hits = dict(state), time.time(), time.time(), [], []
    while (progress := progress_of(state, schedule, minutes, len(boxes.files))) < 1:
        part, place = place_in(schedule, progress)
        if part.fixed and not state["fixed"]:
            network.set_chunk(PMN.chunk)
            settle_statistics(network, boxes, 24, device)
            state["fixed"] = True
        network.train(not part.fixed)
        network.set_chunk(part.chunk)
        box, tumour, labels = (values.to(device) for values in boxes.batch(part.batch, part.side))
        optimiser.param_groups[0]["lr"] = rate(schedule, part, place, state["iterations"])
        optimiser.zero_grad(set_to_none=True)
        loss, pair = losses(network, box, tumour, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        seen.append(float(loss.detach()))
        hits.append(float((pair.argmin(1) == labels[:, 0]).float().mean()))
        state["iterations"] += 1
        state["elapsed"] = base["elapsed"] + time.time() - started
        if time.time() - saved_at > 60:
            print(f"{state['elapsed']:6.0f} s  iteration {state['iterations']}  cubes of {part.side}  "
                  f"loss {np.mean(seen):.3f}  accuracy {np.mean(hits):.3f}", flush=True)
            save(checkpoint, network, optimiser, state)
            saved_at, seen, hits = time.time(), [], []
    save(checkpoint, network, optimiser, state)
    network.set_chunk(PMN.chunk)
    return network.to("cpu").eval(), state


def progress_of(state: dict, schedule: Schedule, minutes: float, cases: int) -> float:
    """Share of the run that is done, by epochs where the schedule counts them, else by time."""
    if schedule.epochs is None:
        return state["elapsed"] / (minutes * 60) if minutes > 0 else 1.0
    return state["iterations"] * schedule.parts[0].batch / cases / schedule.epochs
