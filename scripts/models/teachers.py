"""Two published networks that label real CT for training: OBELISK (eight organs) and KiU-Net (liver, tumour).

Architectures after Heinrich et al., "OBELISK-Net" (Medical Image Analysis 54, 2019) and Valanarasu et al.,
"KiU-Net" (arXiv 2006.04878, the 3-D variant). The weights are plain arrays in `.npz` files that the caller
names; they are never part of the repository. Volumes are `[z, y, x]`, HU, the RAS+ array transposed, as in
`phantom`; spacing is in mm.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

OBELISK_SIDE = 144
OBELISK_LEAK = 0.025
OBELISK_ORGANS = ("background", "spleen", "pancreas", "left kidney", "gallbladder", "oesophagus", "liver", "stomach",
                  "duodenum")
KIUNET_SHAPE = (48, 256, 256)
KIUNET_OVERLAP = 24
# Array directions of the networks against RAS+: both were tried, and these found most of a real liver.
LEFTWARDS, KIUNET_Y, KIUNET_X = -1, -1, -1
BODY_HU = -300
EPSILON = 1e-5


class Weights:
    """A stored network's arrays; each method applies the layer of that name."""

    def __init__(self, path: Path):
        with np.load(path) as stored:
            self.arrays = {name: torch.from_numpy(stored[name].astype(np.float32)) for name in stored.files}

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]

    def conv(self, name: str, image: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        """A convolution that keeps the size (before its stride)."""
        weight = self[f"{name}.weight"]
        bias = self.arrays.get(f"{name}.bias")
        return F.conv3d(image, weight, bias, stride, weight.shape[-1] // 2, 1, groups)

    def norm(self, name: str, image: Tensor) -> Tensor:
        """BatchNorm with its running statistics."""
        return F.batch_norm(image, self[f"{name}.running_mean"], self[f"{name}.running_var"],
                            self[f"{name}.weight"], self[f"{name}.bias"], eps=EPSILON)


def resized(image: Tensor, factors: tuple[float, float, float]) -> Tensor:
    """Trilinear, by a factor per axis."""
    return F.interpolate(image, scale_factor=factors, mode="trilinear", align_corners=False)


def sampled_features(weights: Weights, number: int, image: Tensor, side: int) -> Tensor:
    """An OBELISK layer: `image` read at learnt offsets round each point of a grid, then a dense net of 1x1x1."""

    def leaky(values: Tensor) -> Tensor:
        return F.leaky_relu(values, OBELISK_LEAK)

    line = torch.linspace(-1, 1, side)
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    grid = torch.stack((x, y, z), -1).view(1, 1, -1, 1, 3)
    offsets = weights[f"offset{number}"]
    read = [F.grid_sample(image, grid + offsets[:, i : i + 1], align_corners=False).view(1, 1, side, side, side)
            for i in range(offsets.shape[1])]
    features = torch.cat(read, 1)
    first = f"linear{number}a"
    features = leaky(weights.conv(first, features, groups=features.shape[1] // weights[f"{first}.weight"].shape[1]))
    for letter, before in (("b", "a"), ("c", "b"), ("d", "c")):
        grown = leaky(weights.conv(f"linear{number}{letter}", weights.norm(f"batch{number}{before}", features)))
        features = torch.cat((features, grown), 1)
    return leaky(weights.conv(f"linear{number}e", weights.norm(f"batch{number}d", features)))


@torch.no_grad()
def obelisk_logits(weights: Weights, image: Tensor) -> Tensor:
    """`[1, 9, 144, 144, 144]` from `[1, 1, 144, 144, 144]`, HU / 1024 + 1."""

    def unit(conv: str, norm: str, features: Tensor, stride: int = 1) -> Tensor:
        return F.leaky_relu(weights.norm(norm, weights.conv(conv, features, stride)), OBELISK_LEAK)

    once = F.avg_pool3d(image, 3, 1, 1)
    twice = F.avg_pool3d(once, 3, 1, 1)
    full = unit("conv0", "batch0", image)
    half = unit("conv11", "batch11", unit("conv1", "batch1", full, 2))
    quarter = unit("conv22", "batch22", unit("conv2", "batch2", half, 2))
    quarter = unit("conv3", "batch3", quarter)
    near = resized(sampled_features(weights, 1, once, OBELISK_SIDE // 4), (2, 2, 2))
    far = resized(sampled_features(weights, 2, twice, OBELISK_SIDE // 8), (2, 2, 2))
    features = resized(unit("conv6bU", "batch6bU", torch.cat((quarter, far), 1)), (2, 2, 2))
    features = resized(unit("conv6U", "batch6U", torch.cat((features, near, half), 1)), (2, 2, 2))
    features = unit("conv7U", "batch7U", torch.cat((features, full), 1))
    return weights.conv("conv77U", features)


@torch.no_grad()
def kiunet_logits(weights: Weights, image: Tensor) -> Tensor:
    """`[1, 3, 48, 256, 256]` from the same shape with one channel."""

    def cross(conv: str, norm: str, features: Tensor, factors: tuple[float, float, float]) -> Tensor:
        return resized(F.relu(weights.norm(norm, weights.conv(conv, features))), factors)

    def pooled(conv: str, norm: str, features: Tensor, side: int = 2) -> Tensor:
        return F.relu(weights.norm(norm, F.max_pool3d(weights.conv(conv, features), side, side)))

    def scaled(conv: str, norm: str, features: Tensor, factors: tuple[float, float, float]) -> Tensor:
        return F.relu(weights.norm(norm, resized(weights.conv(conv, features), factors)))

    start = weights.conv("start", image, stride=2)
    deep, wide = pooled("encoder1", "en1_bn", start), scaled("encoderf1", "enf1_bn", start, (0.5, 1, 1))
    deep, wide = (deep + cross("intere1_1", "inte1_1bn", wide, (1, 0.5, 0.5)),
                  wide + cross("intere1_2", "inte1_2bn", deep, (1, 2, 2)))
    deep1, wide1 = deep, wide
    deep, wide = pooled("encoder2", "en2_bn", deep), scaled("encoderf2", "enf2_bn", wide, (1, 1, 1))
    deep, wide = (deep + cross("intere2_1", "inte2_1bn", wide, (0.5, 0.25, 0.25)),
                  wide + cross("intere2_2", "inte2_2bn", deep, (2, 4, 4)))
    deep2, wide2 = deep, wide
    # A plane at the end, so that three are left after the pooling.
    padded = F.pad(deep, (0, 0, 0, 0, 0, 1))
    deep, wide = pooled("encoder3", "en3_bn", padded), scaled("encoderf3", "enf3_bn", wide, (1, 2, 2))
    deep, wide = (deep + cross("intere3_1", "inte3_1bn", wide, (0.25, 0.0625, 0.0625)),
                  wide + cross("intere3_2", "inte3_2bn", deep, (4, 16, 16)))
    deep, wide = scaled("decoder1", "de1_bn", deep, (2, 2, 2)), pooled("decoderf1", "def1_bn", wide)
    deep, wide = (deep + cross("interd1_1", "intd1_1bn", wide, (1, 0.25, 0.25)) + deep2,
                  resized(wide + cross("interd1_2", "intd1_2bn", deep, (1, 4, 4)), (2, 1, 1)) + wide2)
    deep, wide = scaled("decoder2", "de2_bn", deep, (1, 2, 2)), pooled("decoderf2", "def2_bn", wide, 1)
    deep, wide = (resized(deep + cross("interd2_1", "intd2_1bn", wide, (0.5, 0.5, 0.5)), (2, 1, 1)) + deep1,
                  wide + cross("interd2_2", "intd2_2bn", deep, (2, 2, 2)) + wide1)
    both = scaled("decoder3", "de3_bn", deep, (1, 2, 2)) + pooled("decoderf3", "def3_bn", wide, 1)
    return resized(weights.conv("fin", F.relu(weights.conv("final", both))), (4, 2, 2))


def body_box(hu: np.ndarray) -> tuple[slice, ...]:
    """The box of the largest body that is denser than fat and air, and all slices."""
    inside = ndimage.binary_opening(hu > BODY_HU, iterations=2)
    parts, count = ndimage.label(inside)
    if count == 0:
        raise ValueError("no body in this volume")
    sizes = ndimage.sum_labels(inside, parts, range(1, count + 1))
    body = ndimage.find_objects(parts)[int(np.argmax(sizes))]
    return (slice(0, hu.shape[0]), *body[1:])


def to_shape(volume: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Linear, by the ratio of the shapes."""
    wanted = torch.from_numpy(volume.astype(np.float32))[None, None]
    return F.interpolate(wanted, size=tuple(shape), mode="trilinear", align_corners=False)[0, 0].numpy()


def organs(weights: Weights, hu: np.ndarray) -> np.ndarray:
    """`[9, z, y, x]` probabilities by OBELISK_ORGANS on the volume's grid; the volume shows the upper abdomen."""
    box = body_box(hu)
    cube = to_shape(hu[box], (OBELISK_SIDE,) * 3)
    # The network's axes are x towards the patient's left, y towards the front, z towards the feet.
    cube = np.ascontiguousarray(cube[::-1].transpose(2, 1, 0)[::LEFTWARDS])
    image = torch.from_numpy(cube)[None, None] / 1024 + 1
    found = obelisk_logits(weights, image).softmax(1)[0].numpy()
    found = found[:, ::LEFTWARDS].transpose(0, 3, 2, 1)[:, ::-1]
    out = np.zeros((len(found), *hu.shape), np.float32)
    out[0] = 1
    for index, organ in enumerate(found):
        out[index][box] = to_shape(organ, hu[box].shape)
    return out


def liver_and_tumour(weights: Weights, hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """`[3, z, y, x]` probabilities of background, liver and tumour on the volume's grid, windows blended."""
    depth = max(round(hu.shape[0] * spacing_mm[0]), KIUNET_SHAPE[0])
    volume = to_shape(np.clip(hu, -200, 200) / 200, (depth, *KIUNET_SHAPE[1:]))[:, ::KIUNET_Y, ::KIUNET_X]
    total, weight = np.zeros((3, *volume.shape), np.float32), np.zeros((depth, 1, 1), np.float32)
    ramp = np.minimum(np.arange(1, 49), np.arange(48, 0, -1)).astype(np.float32)[:, None, None]
    for start in sorted({*range(0, depth - KIUNET_SHAPE[0], KIUNET_OVERLAP), depth - KIUNET_SHAPE[0]}):
        window = slice(start, start + KIUNET_SHAPE[0])
        image = torch.from_numpy(np.ascontiguousarray(volume[window]))[None, None]
        total[:, window] += kiunet_logits(weights, image).softmax(1)[0].numpy() * ramp
        weight[window] += ramp
    total = (total / weight)[:, :, ::KIUNET_Y, ::KIUNET_X]
    return np.stack([to_shape(part, hu.shape) for part in total])
