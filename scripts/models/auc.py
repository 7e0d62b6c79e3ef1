"""Area under the ROC curve with DeLong's variance (DeLong, DeLong and Clarke-Pearson, Biometrics 1988)."""

from __future__ import annotations

import numpy as np


def auc_with_interval(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float, float]:
    """AUC and its 95 % interval (normal approximation, clipped to 0..1); `positive` is boolean."""
    cases, controls = scores[positive], scores[~positive]
    wins = (cases[:, None] > controls[None]) + 0.5 * (cases[:, None] == controls[None])
    area = float(wins.mean())
    variance = wins.mean(1).var(ddof=1) / len(cases) + wins.mean(0).var(ddof=1) / len(controls)
    half = 1.96 * float(np.sqrt(variance))
    return area, max(0.0, area - half), min(1.0, area + half)


def youden_threshold(scores: np.ndarray, positive: np.ndarray) -> float:
    """The cut with the largest sensitivity + specificity, halfway to the next lower score."""
    ordered = np.unique(scores)
    cuts = np.concatenate([[ordered[0] - 1e-6], (ordered[1:] + ordered[:-1]) / 2])
    gains = [(scores[positive] > cut).mean() - (scores[~positive] > cut).mean() for cut in cuts]
    return float(cuts[int(np.argmax(gains))])
