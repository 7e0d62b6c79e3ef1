"""A training run's checkpoint: network, optimiser and the run's state in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def save(checkpoint: Path, network: torch.nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Writes beside the file first, so that a stop never leaves half a file."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    draft = checkpoint.with_suffix(".part")
    torch.save({"network": network.state_dict(), "optimiser": optimiser.state_dict(), "state": state}, draft)
    draft.replace(checkpoint)


def resume(
    checkpoint: Path, network: torch.nn.Module, optimiser: torch.optim.Optimizer, device: str
) -> dict[str, Any] | None:
    """Fills network and optimiser and gives the state, where the file exists."""
    if not checkpoint.exists():
        return None
    saved = torch.load(checkpoint, map_location=device)
    network.load_state_dict(saved["network"])
    optimiser.load_state_dict(saved["optimiser"])
    return saved["state"]
