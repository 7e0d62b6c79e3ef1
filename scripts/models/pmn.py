"""Prototype Mamba Net: two-phase liver box to prototype distances.

The paper (Cao 2025, NPJ Digit Med 8:692) states the outline: patch embedding of 3x3x3, a convolution branch and
a state-space branch, prototypes for proliferation and for efficacy, distance cross entropy and cross entropy.
Everything else stands in `PmnSettings`, field by field marked as the paper's or as ours.

The state space runs over three axis orders in both directions at once, in chunked matrix form (Mamba-2's SSD: one
decay per head). With log decays `a`, inclusive sums `c` and exclusive sums `e = c - a`, the forward scan weighs
source j <= t by exp(c_t - c_j) and the backward scan weighs j >= t by exp(e_j - e_t); both share the product
C_t . B_j. Only MatMul, Exp, CumSum and products remain: no reversal, no step-by-step scan. `scan_reference` is the
slow definition it must equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# From `[b, z, y, x, c]` to the order in which a scan visits the tokens, the last spatial axis fastest.
AXIS_ORDERS = ((0, 1, 2, 3, 4), (0, 2, 3, 1, 4), (0, 3, 1, 2, 4))
PMN_ABSENT = -1
PROTOTYPES = (
    "non_proliferative",
    "proliferative",
    "haic_poor",
    "haic_good",
    "tace_poor",
    "tace_good",
)
EPSILON = 1e-5


@dataclass(frozen=True)
class PmnSettings:
    """The network. Only `patch` is stated by the paper, `pull` by the work its loss comes from (Yang et al.,
    CVPR 2018); all others are ours."""

    box_voxels: int = 96  # ours
    patch: int = 3  # the paper's
    widths: tuple[int, ...] = (32, 64, 128, 256)  # ours
    depths: tuple[int, ...] = (2, 2, 2, 2)  # ours
    state_size: int = 16  # ours
    head_size: int = 16  # ours
    chunk: int = 64  # ours; changes rounding only
    pull: float = 0.001  # Yang et al.
    phases: int = 2  # the paper's: arterial and portal

    @property
    def gamma(self) -> float:
        """Inverse width of the last stage, so that distances do not grow with it. Ours."""
        return 1.0 / self.widths[-1]

    @property
    def box_voxels_per_token(self) -> int:
        """Voxels of the box along one side of a token of the last stage."""
        return self.patch * 2 ** (len(self.widths) - 1)

    @property
    def token_side(self) -> int:
        """Tokens along one axis after the last stage."""
        return self.box_voxels // self.box_voxels_per_token


def strictly_lower(size: int) -> Tensor:
    """`[size, size]`, one below the diagonal."""
    return torch.tril(torch.ones(size, size), -1)


def chunked_scan(x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, chunk: int) -> Tensor:
    """Sum of the forward and the backward scan.

    x `[batch, L, heads, P]`, log_decay `[batch, L, heads]` (<= 0), b and c `[batch, L, N]`; L is a multiple of
    `chunk`. Returns `[batch, L, heads, P]`.
    """
    batch, length, heads, size = x.shape
    states, chunks = b.shape[-1], length // chunk
    x = x.reshape(batch, chunks, chunk, heads, size).permute(0, 1, 3, 2, 4)
    a = log_decay.reshape(batch, chunks, chunk, heads).permute(0, 1, 3, 2)
    b = b.reshape(batch, chunks, 1, chunk, states)
    c = c.reshape(batch, chunks, 1, chunk, states)
    inclusive = torch.cumsum(a, -1)
    exclusive = inclusive - a

    lower = strictly_lower(chunk).to(x.device)
    # What lies on the wrong side of the diagonal is held at exp(0) and masked after.
    forward = (inclusive.unsqueeze(-1) - inclusive.unsqueeze(-2)) * lower
    backward = (exclusive.unsqueeze(-2) - exclusive.unsqueeze(-1)) * lower.T
    weights = torch.exp(forward + backward) + torch.eye(chunk, device=x.device)
    within = torch.matmul(torch.matmul(c, b.transpose(-1, -2)) * weights, x)
    if chunks == 1:
        return within.permute(0, 1, 3, 2, 4).reshape(batch, length, heads, size)

    total = inclusive[..., -1:]
    to_end = torch.exp(total - inclusive).unsqueeze(-1)
    from_start = torch.exp(exclusive).unsqueeze(-1)
    left = torch.matmul((b * to_end).transpose(-1, -2), x)
    right = torch.matmul((b * from_start).transpose(-1, -2), x)
    before, after = pass_states(total, left, right)
    arrived = torch.matmul(c * torch.exp(inclusive).unsqueeze(-1), before)
    arrived = arrived + torch.matmul(c * torch.exp(total - exclusive).unsqueeze(-1), after)
    return (within + arrived).permute(0, 1, 3, 2, 4).reshape(batch, length, heads, size)


def pass_states(total: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """States reaching each chunk from the chunks before and after it.

    total `[b, n, heads, 1]` log decay of a chunk; left and right `[b, n, heads, N, P]` the chunk's own
    state at its end and at its start. Returns two tensors shaped like `left`.
    """
    batch, chunks, heads, states, size = left.shape
    inclusive = torch.cumsum(total.permute(0, 2, 1, 3), 2)
    exclusive = inclusive - total.permute(0, 2, 1, 3)
    lower = strictly_lower(chunks).to(total.device)
    earlier = torch.exp((exclusive - inclusive.transpose(-1, -2)) * lower) * lower
    flat = (batch, heads, chunks, states * size)
    left = left.permute(0, 2, 1, 3, 4).reshape(flat)
    right = right.permute(0, 2, 1, 3, 4).reshape(flat)
    shape = (batch, heads, chunks, states, size)
    before = torch.matmul(earlier, left).reshape(shape).permute(0, 2, 1, 3, 4)
    after = torch.matmul(earlier.transpose(-1, -2), right).reshape(shape).permute(0, 2, 1, 3, 4)
    return before, after


def scan_reference(x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The definition of `chunked_scan`: h_t = exp(a_t) h_(t-1) + B_t x_t, y_t = C_t h_t, both ways."""

    def one_way(order: range) -> Tensor:
        state = torch.zeros(x.shape[0], x.shape[2], b.shape[-1], x.shape[3])
        out = torch.zeros_like(x)
        for t in order:
            state = state * torch.exp(log_decay[:, t])[..., None, None]
            state = state + b[:, t, None, :, None] * x[:, t, :, None, :]
            out[:, t] = torch.einsum("bn,bhnp->bhp", c[:, t], state)
        return out

    return one_way(range(x.shape[1])) + one_way(range(x.shape[1] - 1, -1, -1))


class StateSpace(nn.Module):
    """Selective state space over three axis orders and two directions; `[b, z, y, x, width]`."""

    def __init__(self, width: int, settings: PmnSettings):
        super().__init__()
        self.inner = 2 * width
        self.heads = self.inner // settings.head_size
        self.settings = settings
        self.chunk = settings.chunk
        self.per_order = 2 * settings.state_size + self.heads
        self.enter = nn.Linear(width, 2 * self.inner, bias=False)
        self.local = nn.Conv3d(self.inner, self.inner, 3, 1, 1, groups=self.inner)
        # Per axis order: B, C, step sizes.
        self.select = nn.Linear(self.inner, len(AXIS_ORDERS) * self.per_order)
        with torch.no_grad():
            for first in range(2 * settings.state_size, self.select.out_features, self.per_order):
                # Steps log-uniform in 0.001 to 0.1 as in Mamba, by the inverse of softplus.
                step = torch.exp(torch.empty(self.heads).uniform_(-6.9, -2.3))
                self.select.bias[first : first + self.heads] = step + torch.log(-torch.expm1(-step))
        self.log_rate = nn.Parameter(torch.zeros(len(AXIS_ORDERS), self.heads))
        self.skip = nn.Parameter(torch.ones(self.inner))
        self.norm = nn.LayerNorm(self.inner, EPSILON)
        self.leave = nn.Linear(self.inner, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        signal, gate = self.enter(tokens).split(self.inner, -1)
        signal = F.silu(self.local(signal.permute(0, 4, 1, 2, 3))).permute(0, 2, 3, 4, 1)
        selected = self.select(signal).split(self.per_order, -1)
        mixed = signal * self.skip
        for index in range(len(AXIS_ORDERS)):
            mixed = mixed + self.scan_in_order(signal, selected[index], index)
        return self.leave(self.norm(mixed) * F.silu(gate))

    def scan_in_order(self, signal: Tensor, selected: Tensor, index: int) -> Tensor:
        """Scans `[b, z, y, x, inner]` along axis order `index`; returns the same layout."""
        order, states = AXIS_ORDERS[index], self.settings.state_size
        turned = signal.permute(*order)
        sequence = turned.reshape(turned.shape[0], -1, self.heads, self.settings.head_size)
        selected = selected.permute(*order).reshape(turned.shape[0], -1, self.per_order)
        step = F.softplus(selected[..., 2 * states :])
        scanned = chunked_scan(
            sequence * step.unsqueeze(-1),
            -step * torch.exp(self.log_rate[index]),
            selected[..., :states],
            selected[..., states : 2 * states],
            min(self.chunk, sequence.shape[1]),
        )
        back = [order.index(axis) for axis in range(5)]
        return scanned.reshape(turned.shape).permute(*back)


class DualBranch(nn.Module):
    """Half the channels through convolutions, half through the state space; shuffled, residual."""

    def __init__(self, width: int, settings: PmnSettings):
        super().__init__()
        half = width // 2
        self.half = half
        self.convolutions = nn.Sequential(
            nn.BatchNorm3d(half),
            nn.Conv3d(half, half, 3, 1, 1),
            nn.BatchNorm3d(half),
            nn.ReLU(),
            nn.Conv3d(half, half, 3, 1, 1),
            nn.BatchNorm3d(half),
            nn.ReLU(),
            nn.Conv3d(half, half, 1),
            nn.ReLU(),
        )
        self.norm = nn.LayerNorm(half, EPSILON)
        self.state_space = StateSpace(half, settings)

    def forward(self, tokens: Tensor) -> Tensor:
        near = tokens[..., : self.half].permute(0, 4, 1, 2, 3)
        near = self.convolutions(near).permute(0, 2, 3, 4, 1)
        far = self.state_space(self.norm(tokens[..., self.half :]))
        return tokens + torch.stack([near, far], -1).reshape(tokens.shape)


class PatchMerging(nn.Module):
    """2x2x2 tokens become one of twice the width."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(8 * width, EPSILON)
        self.reduce = nn.Linear(8 * width, 2 * width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, depth, height, breadth, width = tokens.shape
        half = (depth // 2, height // 2, breadth // 2)
        split = tokens.reshape(batch, half[0], 2, half[1], 2, half[2], 2, width)
        gathered = split.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch, *half, 8 * width)
        return self.reduce(self.norm(gathered))


class PrototypeMambaNet(nn.Module):
    """`[b, 2, S, S, S]` (arterial, portal; 0..1, zero outside liver and tumour) to distances.

    The tokens are pooled by a learned weight, since most of the box is empty or plain liver.
    Returns `distances` `[b, 6]` in the order of `PROTOTYPES` and `token_distances` `[b, T, 2]`: each
    last-stage token (z-major) to the two proliferation prototypes. All are squared Euclidean.
    """

    def __init__(self, settings: PmnSettings = PmnSettings()):
        super().__init__()
        self.settings = settings
        width = settings.widths[-1]
        self.embed = nn.Conv3d(settings.phases, settings.widths[0], settings.patch, settings.patch)
        self.stages = nn.ModuleList()
        self.merges = nn.ModuleList(PatchMerging(width) for width in settings.widths[:-1])
        for stage_width, depth in zip(settings.widths, settings.depths, strict=True):
            self.stages.append(nn.Sequential(*(DualBranch(stage_width, settings) for _ in range(depth))))
        self.norm = nn.LayerNorm(width, EPSILON)
        self.attend = nn.Linear(width, 1)
        # A normalised token is sqrt(width) long; so are the prototypes, at right angles or nearly.
        self.prototypes = nn.Parameter(torch.randn(len(PROTOTYPES), width))
        # The paper's second loss, cross entropy; used in training only.
        self.classify = nn.Linear(width, len(PROTOTYPES))
        # Elsewhere, non-proliferative or proliferative tumour, per token of the stages before; ours, in training only.
        self.guides = nn.ModuleList(nn.Linear(stage_width, 3) for stage_width in settings.widths[:-1])
        with torch.no_grad():
            # Begins as if the input were centred on liver and scaled to its contrasts.
            self.embed.weight.mul_(4)
            self.embed.bias.copy_(-0.45 * self.embed.weight.sum((1, 2, 3, 4)))

    def tokens(self, box: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Normalised tokens of the last stage, `[b, T, width]`, and those of the stages before as they are."""
        tokens, before = self.embed(box).permute(0, 2, 3, 4, 1), []
        for index, stage in enumerate(self.stages):
            tokens = stage(tokens)
            if index < len(self.merges):
                before.append(tokens.flatten(1, 3))
                tokens = self.merges[index](tokens)
        return self.norm(tokens.flatten(1, 3)), before

    def set_chunk(self, chunk: int) -> None:
        """Tokens that a scan takes at once from now on: changes its time and rounding only. The export keeps that of the
        settings."""
        for module in self.modules():
            if isinstance(module, StateSpace):
                module.chunk = chunk

    def forward(self, box: Tensor) -> tuple[Tensor, Tensor]:
        tokens, _ = self.tokens(box)
        weights = torch.softmax(self.attend(tokens), 1)
        pooled = (tokens * weights).sum(1, keepdim=True)
        return squared_distance(pooled, self.prototypes).squeeze(1), squared_distance(tokens, self.prototypes[:2])


def squared_distance(features: Tensor, prototypes: Tensor) -> Tensor:
    """`[b, T, width]` against `[k, width]` gives `[b, T, k]`."""
    difference = features.unsqueeze(2) - prototypes
    return (difference * difference).sum(-1)
