"""What each package promises the engine about input and output, in one place."""

from __future__ import annotations

from typing import Any

import numpy as np

from pmn import PmnSettings

PMN = PmnSettings()

# What a new run is packaged as.
VERSIONS = {"liver-localiser": "0.2.0", "liver-tumour": "0.3.0", "pmn": "0.2.0"}

LOCALISER_INPUT: dict[str, Any] = {
    "phases": ["portal"],
    "axis_order": "zyx",
    "spacing_mm": [4.0, 4.0, 4.0],
    "hu_clip": [-200.0, 300.0],
    # Padding with 0 after normalisation is then padding with -200 HU, the clip's "air".
    "mean": -200.0,
    "sd": 200.0,
    "patch": [96, 96, 96],
    "tensor": "image",
}
LOCALISER_OUTPUT: dict[str, Any] = {"tensors": ["logits"], "classes": ["background", "liver"]}

# Mean and deviation as in nnU-Net's LiTS plan; the clip is wider, so that fat and air are not the same.
TUMOUR_INPUT: dict[str, Any] = {
    "phases": ["portal"],
    "axis_order": "zyx",
    "spacing_mm": [2.0, 2.0, 2.0],
    "hu_clip": [-100.0, 250.0],
    "mean": 99.40,
    "sd": 39.39,
    "patch": [96, 96, 96],
    "tensor": "image",
}
TUMOUR_OUTPUT: dict[str, Any] = {
    "tensors": ["logits"],
    "classes": ["background", "liver", "tumour"],
}

PMN_INPUT: dict[str, Any] = {
    "phases": ["arterial", "portal"],
    "axis_order": "zyx",
    "hu_clip": [-21.0, 189.0],
    "mean": -21.0,
    "sd": 210.0,
    "patch": [PMN.box_voxels] * 3,
    "tensor": "box",
}
PMN_OUTPUT: dict[str, Any] = {
    "tensors": ["distances", "token_distances"],
    "classes": ["non_proliferative", "proliferative"],
}


def normalise(hu: np.ndarray, table: dict[str, Any]) -> np.ndarray:
    """(clip(HU) - mean) / sd with an input table's numbers; any shape, float32."""
    low, high = table["hu_clip"]
    return ((np.clip(hu, low, high) - table["mean"]) / table["sd"]).astype(np.float32)


def prototype_table(threshold: float) -> dict[str, Any]:
    """The PMN's prototype banks; `threshold` cuts p_A(proliferative)."""
    return {
        "gamma": PMN.gamma,
        "pull": PMN.pull,
        "bank_a": ["non_proliferative", "proliferative"],
        "bank_haic": ["poor", "good"],
        "bank_tace": ["poor", "good"],
        "token_grid": [PMN.token_side] * 3,
        "proliferative_threshold": threshold,
    }
