"""T2: the daemon dies at every fail-point it has (before and after each durable step), is started
again, and everything that lay in the inbox has exactly one result. The points are the program's own
list; one that is not reached fails the test by its name."""

import signal
import time

import edge as device
from outcome import Context, NotCheckedHere, Outcome
from rig import Rig
from situations import Stage, reach
from studies import Maker, phantom_images

ID = "T2"
TITLE = "death at every named step"


def points(context: Context) -> list[str]:
    """The names, from the program itself."""
    listed = device.run(context.binary, "fail-points")
    if listed.returncode != 0:
        raise NotCheckedHere("the program was built without the feature fail-points")
    return listed.stdout.decode().split()


def die_at(stage: Stage, point: str) -> list[str]:
    """Reaches the point, then starts without faults; complaints."""
    complaints = []
    for turn in range(stage.context.size(1, 2)):
        code = reach(stage, point)
        if code is None:
            complaints.append(f"NOT REACHED: {point}")
            stage.rig.edge.kill()
            break
        if code != -signal.SIGABRT:
            complaints.append(f"{point}: ended with {code} instead of dying there")
    stage.settle()
    return complaints


def run(context: Context) -> Outcome:
    names = points(context)
    complaints, not_checked = [], 0
    with Rig(context) as rig:
        images = phantom_images(context.binary, context.folder)
        stage = Stage(context, rig, Maker(), images)
        for number, point in enumerate(names, 1):
            started = time.monotonic()
            try:
                complaints += die_at(stage, point)
            except NotCheckedHere as why:
                context.progress(f"{point} NOT CHECKED HERE: {why}")
                not_checked += 1
            context.progress(f"{number:2} {point} {time.monotonic() - started:.1f} s")
        rig.edge.start()
        rig.edge.wait_running()
        rig.drain(60)
        # Accepted damage begins a new epoch, and nothing else does.
        accepted = sum(point.startswith("journal.carried.") for point in names)
        epochs = 1 + context.size(1, 2) * accepted
        outcome = rig.outcome(epochs=epochs, points=len(names) - not_checked)
    outcome.failures += complaints + rig.edge.journal_faults()
    outcome.require(rig.judge.asked == 0, "results came only after they had been asked for")
    return outcome
