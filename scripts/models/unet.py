"""The two segmentation networks, shaped like nnU-Net's PlainConvUNet.

Tensors are `[batch, channel, z, y, x]` with z towards superior, y towards anterior and x towards the
patient's right (the RAS+ array, transposed). Each convolution is 3x3x3, followed by BatchNorm (folded
into the convolution at export) and LeakyReLU 0.01; going down uses stride 2 in the first convolution
of a stage, going up a 2x2x2 transposed convolution; skips are concatenated; the head is 1x1x1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

LEAKY_SLOPE = 0.01


def conv_unit(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    """3x3x3 convolution, BatchNorm, LeakyReLU."""
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, 3, stride, 1),
        nn.BatchNorm3d(channels_out),
        nn.LeakyReLU(LEAKY_SLOPE),
    )


def doubling_head(channels: int, classes: int) -> nn.ConvTranspose3d:
    """2x2x2 transposed convolution whose eight positions start alike: no chequers to unlearn."""
    head = nn.ConvTranspose3d(channels, classes, 2, 2)
    with torch.no_grad():
        head.weight.copy_(head.weight[..., :1, :1, :1].expand_as(head.weight))
    return head


class PlainConvUNet(nn.Module):
    """`[b, 1, D, H, W]` normalised HU in, `[b, classes, D, H, W]` logits out.

    D, H and W are multiples of `2 ** (len(widths) - 1)`. `convs_down[i]` is the number of
    convolutions in encoder stage i; every decoder stage has one. With `half_inside` the first
    convolution has stride 2 already and the head is a 2x2x2 transposed convolution: the same images
    and logits, an eighth of the voxels in the widest part of the work.
    """

    def __init__(
        self, classes: int, widths: tuple[int, ...], convs_down: tuple[int, ...], half_inside: bool = False
    ):
        super().__init__()
        self.down = nn.ModuleList()
        previous = 1
        for stage, (width, convs) in enumerate(zip(widths, convs_down, strict=True)):
            units = [conv_unit(previous, width, 1 if stage == 0 and not half_inside else 2)]
            units += [conv_unit(width, width) for _ in range(convs - 1)]
            self.down.append(nn.Sequential(*units))
            previous = width
        self.up = nn.ModuleList()
        self.merge = nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.up.append(nn.ConvTranspose3d(previous, width, 2, 2))
            self.merge.append(conv_unit(2 * width, width))
            previous = width
        self.head = doubling_head(previous, classes) if half_inside else nn.Conv3d(previous, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        skips = []
        features = image
        for stage in self.down:
            features = stage(features)
            skips.append(features)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            features = merge(torch.cat([up(features), skips.pop()], dim=1))
        return self.head(features)


def liver_localiser() -> PlainConvUNet:
    """Background and liver at 4 mm; sides are multiples of 16."""
    return PlainConvUNet(classes=2, widths=(16, 32, 64, 96), convs_down=(1, 2, 2, 2), half_inside=True)


def liver_tumour() -> PlainConvUNet:
    """Background, liver and tumour at 2 mm; sides are multiples of 16."""
    return PlainConvUNet(classes=3, widths=(16, 32, 64, 96), convs_down=(2, 2, 2, 2), half_inside=True)


def convolutions(network: PlainConvUNet) -> list[tuple[nn.Module, nn.BatchNorm3d | None]]:
    """Every convolution in the order of the computation, each with the norm after it."""
    found = [(unit[0], unit[1]) for stage in network.down for unit in stage]
    for up, merge in zip(network.up, network.merge, strict=True):
        found += [(up, None), (merge[0], merge[1])]
    return [*found, (network.head, None)]


def start_from(network: PlainConvUNet, path: Path, example: Tensor) -> None:
    """Takes the weights of a packaged model of the same shape (int8 or float ONNX, norms folded). The norms
    are set so that on `example` they change nothing; afterwards they learn as any other."""
    model = onnx.load(path)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            whole, scale = constants[node.input[0]].astype(np.float32), constants[node.input[1]]
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            shape = [-1 if scale.size > 1 and n == axis else 1 for n in range(whole.ndim)]
            constants[node.output[0]] = whole * scale.reshape(shape)
    nodes = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    places = convolutions(network)
    if len(nodes) != len(places):
        raise ValueError(f"{path} has {len(nodes)} convolutions, the network has {len(places)}")
    for node, (module, norm) in zip(nodes, places, strict=True):
        weight, bias = constants[node.input[1]], constants[node.input[2]]
        if weight.shape != tuple(module.weight.shape):
            raise ValueError(f"{path}: {node.name} is {weight.shape}, the network's is {tuple(module.weight.shape)}")
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(weight.copy()))
            module.bias.copy_(torch.from_numpy(bias.copy()))
    keep_function(network, [norm for _, norm in places if norm is not None], example)


@torch.no_grad()
def keep_function(network: nn.Module, norms: list[nn.BatchNorm3d], example: Tensor) -> None:
    """Sets each norm to what it receives on `example`, so that it passes everything on unchanged."""

    def set_norm(norm: nn.BatchNorm3d, received: tuple[Tensor]) -> None:
        mean = received[0].mean((0, 2, 3, 4))
        variance = received[0].var((0, 2, 3, 4)) + 1e-3
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean)

    hooks = [norm.register_forward_pre_hook(set_norm) for norm in norms]
    network.eval()
    network(example)
    for hook in hooks:
        hook.remove()
