"""A test made of parts, each with a rig and a verdict of its own."""

from outcome import Outcome

FIGURES = ("injected", "accepted", "delivered", "lost", "duplicates", "wrong")


def add(total: Outcome, part: Outcome, name: str) -> None:
    """Adds the figures of a part to those of the whole; its complaints get its name."""
    for figure in FIGURES:
        setattr(total, figure, getattr(total, figure) + getattr(part, figure))
    total.extras |= part.extras
    total.failures += [f"{name}: {why}" for why in part.failures]
