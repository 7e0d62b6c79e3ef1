"""Several devices under test at the same time, and their figures added up."""

import threading
from collections.abc import Callable, Iterable

from outcome import Outcome

FIGURES = ("injected", "accepted", "delivered", "lost", "duplicates", "wrong")


def at_once(steps: list[Callable[[], None]]) -> None:
    """Runs every step in a thread of its own, to its end; raises the first error of any."""
    errors: list[Exception] = []

    def guarded(step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:  # Raised below, in the thread that waits for this one.
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def added(outcomes: Iterable[Outcome]) -> Outcome:
    """The sums of the figures, and all failures."""
    total = Outcome()
    for outcome in outcomes:
        for name in FIGURES:
            setattr(total, name, getattr(total, name) + getattr(outcome, name))
        total.failures += outcome.failures
    return total
