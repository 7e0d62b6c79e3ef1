"""T5: the disk is full or fails. Four parts, each with a device of its own: disk_space.py and
disk_injection.py say what happens in them."""

import disk_injection
import disk_space
from outcome import Context, NotCheckedHere, Outcome

ID = "T5"
TITLE = "low disk, full disk, file size limit, EIO and ENOSPC from the kernel"


def run(context: Context) -> Outcome:
    outcome, not_checked = Outcome(), []
    parts = (disk_space.low, disk_space.full, disk_space.limited, disk_injection.injected)
    for part in parts:
        context.progress(part.__name__)
        try:
            outcome.add(part(context))
        except NotCheckedHere as why:
            context.progress(f"{part.__name__}: NOT CHECKED HERE: {why}")
            not_checked.append(part.__name__)
    if len(not_checked) == len(parts):
        raise NotCheckedHere("neither root nor the tools are there")
    if not_checked:
        outcome.extras["not_checked_here"] = ",".join(not_checked)
    return outcome
