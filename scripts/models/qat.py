"""Quantisation-aware fine-tuning: the norms folded, then some steps with weights and activations rounded as the
int8 file will round them, while the gradient passes as if they were not.

The path of last resort of `unet_model`: taken where the int8 file loses more than `LARGEST_LOSS` of Dice.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval, parametrize

from quantise import least_error_range
from unet import PlainConvUNet, convolutions

Batch = tuple[Tensor, Tensor]
LEAST_SCALE = 1e-8


class RoundedWeight(nn.Module):
    """Weights as int8, symmetric, one scale per output channel on `axis`."""

    def __init__(self, axis: int):
        super().__init__()
        self.axis = axis

    def forward(self, weight: Tensor) -> Tensor:
        others = [axis for axis in range(weight.ndim) if axis != self.axis]
        scale = (weight.detach().abs().amax(others) / 127).clamp(min=LEAST_SCALE)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, self.axis, -127, 127)


class RoundedInput:
    """What a convolution reads as uint8 over a fixed range; used as a forward pre-hook."""

    def __init__(self, low: float, high: float):
        self.scale = max((high - low) / 255, LEAST_SCALE)
        self.zero = round(-low / self.scale)

    def __call__(self, module: nn.Module, received: tuple[Tensor]) -> tuple[Tensor]:
        return (torch.fake_quantize_per_tensor_affine(received[0], self.scale, self.zero, 0, 255),)


def fold_norms(network: PlainConvUNet) -> None:
    """Puts each norm's running statistics into the convolution before it."""
    network.eval()
    units = [unit for stage in network.down for unit in stage] + list(network.merge)
    for unit in units:
        if isinstance(unit[1], nn.BatchNorm3d):
            unit[0] = fuse_conv_bn_eval(unit[0], unit[1])
            unit[1] = nn.Identity()


@torch.no_grad()
def input_ranges(network: PlainConvUNet, images: list[Tensor]) -> list[tuple[float, float]]:
    """Per convolution the least-error range of what it reads."""
    modules = [module for module, _ in convolutions(network)]
    seen: list[list[Tensor]] = [[] for _ in modules]

    def keep(index: int) -> Callable[[nn.Module, tuple[Tensor]], None]:
        return lambda _, received: seen[index].append(received[0].flatten()[:: max(received[0].numel() // 20_000, 1)])

    hooks = [module.register_forward_pre_hook(keep(index)) for index, module in enumerate(modules)]
    for image in images:
        network(image)
    for hook in hooks:
        hook.remove()
    return [least_error_range(torch.cat(parts).numpy()) for parts in seen]


def fine_tune(network: PlainConvUNet, images: list[Tensor], batch: Callable[[], Batch],
              loss: Callable[[Tensor, Tensor], Tensor], steps: int, rate: float = 2e-5) -> list[float]:
    """Folds the norms of `network` and trains it rounded; `images` set the ranges. Returns the losses."""
    fold_norms(network)
    modules = [module for module, _ in convolutions(network)]
    hooks = [module.register_forward_pre_hook(RoundedInput(*limits))
             for module, limits in zip(modules, input_ranges(network, images), strict=True)]
    for module in modules:
        axis = int(isinstance(module, nn.ConvTranspose3d))
        parametrize.register_parametrization(module, "weight", RoundedWeight(axis))
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        image, target = batch()
        optimiser.zero_grad(set_to_none=True)
        value = loss(network(image), target)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(float(value.detach()))
    for module in modules:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
    for hook in hooks:
        hook.remove()
    return losses
