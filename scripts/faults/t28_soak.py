"""T28: a steady load for a long time, with a kill of the broker every minute. The daemon's memory
and its open files stay what they are, and nothing is lost."""

import statistics
import time

from outcome import Context, Outcome
from rig import Rig
from studies import Maker, phantom_images

ID = "T28"
TITLE = "soak: ten minutes of steady load, the broker killed every minute"
LONG_ONLY = True

SHORT_S, LONG_S = 600, 3_600
# Until then every kind of study has come several times, and the allocator keeps what it needs.
WARM_UP_S = 240
BROKER_KILL_S = 60
BROKER_AWAY_S = 3
# The daemon keeps an index entry of some hundred bytes of every result that its journal holds, so that
# the slope follows the load a little. This one is far above what a scanner makes in its busiest hour.
STUDY_EVERY_S = 4
# The allocator gives back and takes again up to a MiB at its own time: an hour tells a slope from that;
# ten minutes tell whether the peaks grow.
MOST_SLOPE_MIB_PER_H = 1.0
MOST_GROWTH_MIB = 0.5


def slope(samples: list[tuple[float, float]]) -> float:
    """Least squares: units of the second value per unit of the first."""
    times, values = zip(*samples)
    return statistics.linear_regression(times, values).slope


def load(context: Context, rig: Rig, seconds: int) -> list[tuple[float, float, int]]:
    """The load and the kills; samples of (seconds, RSS in MiB, open files)."""
    rng, maker = context.random(), Maker()
    images = phantom_images(context.binary, context.folder)
    samples: list[tuple[float, float, int]] = []
    began = time.monotonic()
    next_kill, broker_back = BROKER_KILL_S, None
    for second in range(seconds):
        now = time.monotonic() - began
        if now >= next_kill:
            rig.broker.kill()
            next_kill += BROKER_KILL_S
            broker_back = now + BROKER_AWAY_S
        if broker_back is not None and now >= broker_back:
            rig.broker.restart()
            broker_back = None
        if second % STUDY_EVERY_S == 0:
            rig.drop(maker.mixed(rng, images))
        samples.append((now, rig.edge.rss_mib(), rig.edge.open_files()))
        if second % 60 == 0:
            context.progress(f"{now:.0f} s: {samples[-1][1]:.2f} MiB, {samples[-1][2]} files")
        time.sleep(max(0.0, second + 1 - (time.monotonic() - began)))
    if broker_back is not None:
        rig.broker.restart()
    return samples


def run(context: Context) -> Outcome:
    seconds = context.size(SHORT_S, LONG_S)
    with Rig(context) as rig:
        rig.edge.start()
        rig.edge.wait_running()
        samples = load(context, rig, seconds)
        rig.drain(120)
        warm = [sample for sample in samples if sample[0] >= WARM_UP_S]
        per_hour = 3_600 * slope([(at, rss) for at, rss, _ in warm])
        # A worker's pipes and a broken connection come and go: what is always open must stay.
        files = [min(count for _, _, count in part) for part in (warm[:60], warm[-60:])]
        outcome = rig.outcome(
            seconds=seconds,
            broker_kills=seconds // BROKER_KILL_S - (seconds % BROKER_KILL_S == 0),
            rss_slope_mib_per_h=round(per_hour, 2),
            first_peak_mib=round(max(rss for at, rss, _ in samples if at < seconds / 2), 2),
            last_peak_mib=round(max(rss for at, rss, _ in samples if at >= seconds / 2), 2),
            open_files=files[1],
        )
        outcome.require(rig.edge.is_alive() and rig.edge.starts == 1, "the daemon ended")
    outcome.require(files[0] == files[1], f"open files went from {files[0]} to {files[1]}")
    growth = outcome.extras["last_peak_mib"] - outcome.extras["first_peak_mib"]
    outcome.require(growth < MOST_GROWTH_MIB, f"the memory grew by {growth:.2f} MiB")
    outcome.require(
        not context.long or per_hour < MOST_SLOPE_MIB_PER_H,
        f"the memory grows by {per_hour:.2f} MiB/h, promised is less than {MOST_SLOPE_MIB_PER_H}",
    )
    return outcome
