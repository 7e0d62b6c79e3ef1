"""T1: the daemon is killed at random moments, over and over, while studies come in."""

import time

from outcome import Context, Outcome
from rig import Rig
from studies import Maker, phantom_images

ID = "T1"
TITLE = "SIGKILL of the daemon at random moments"

# Kills and studies of the short and the long form.
SHORT, LONG = (60, 300), (1_000, 5_000)
# Seconds from the start, or in one half of the lives from when it runs, to the kill.
LONGEST_LIFE = 0.8


def run(context: Context) -> Outcome:
    kills, total = context.size(SHORT, LONG)
    rng, maker = context.random(), Maker()
    images = phantom_images(context.binary, context.folder)
    with Rig(context) as rig:
        dropped, at_work = 0, 0
        for kill in range(1, kills + 1):
            rig.edge.start()
            if rng.random() < 0.5:
                rig.edge.wait_running()
            ends_at = time.monotonic() + rng.uniform(0, LONGEST_LIFE)
            # The studies come spread over the life, not all before its end.
            share = total * kill // kills - dropped
            for _ in range(share):
                rig.drop(maker.mixed(rng, images))
                dropped += 1
                time.sleep(max(0.0, min(rng.uniform(0, 0.1), ends_at - time.monotonic())))
            time.sleep(max(0.0, ends_at - time.monotonic()))
            at_work += rig.edge.is_running()
            rig.edge.kill()
            if kill % 50 == 0:
                context.progress(f"{kill} kills, {len(rig.judge.arrivals)} results came")
        rig.edge.start()
        rig.edge.wait_running()
        rig.drain(60 + total / 10)
        outcome = rig.outcome(kills=kills, at_work=at_work)
    outcome.failures += rig.edge.journal_faults()
    outcome.require(rig.judge.asked == 0, "results came only after they had been asked for")
    return outcome
