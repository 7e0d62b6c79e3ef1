"""T5: the disk is full or fails. Four parts, each with a device of its own: disk_space.py and
disk_injection.py say what happens in them."""

import disk_injection
import disk_space
from outcome import Context, Outcome

ID = "T5"
TITLE = "low disk, full disk, file size limit, EIO and ENOSPC from the kernel"


def run(context: Context) -> Outcome:
    outcome = Outcome()
    parts = (disk_space.low, disk_space.full, disk_space.limited, disk_injection.injected)
    for part in parts:
        context.progress(part.__name__)
        outcome.add(part(context))
    return outcome
