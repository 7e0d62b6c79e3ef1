"""T13: single bytes of an image are changed on the way; no result may come from altered voxels.

Half of the studies hold a gzip image without any promise about it: the stream's own checksum has to
tell. The other half hold a plain image whose SHA-256 the `.done` marker promises. A change that
leaves the voxels as they were (the time in a gzip header, say) may pass: the test unpacks the
changed file itself and compares.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil

import hostile
from outcome import Context, Outcome
from rig import Rig
from studies import Maker, Study, phantom_images

ID = "T13"
TITLE = "random bytes of images changed; no result from altered voxels"

# Changed bytes per kind of image.
SHORT, LONG = 150, 2_000
# Studies in the inbox at a time, so that they do not fill the disk.
BATCH = 100
PATIENCE = 120.0
# Head and trailer of the gzip member, which random places would hardly ever hit.
ENDS = (*range(10), *range(-8, 0))
# A result with one of these speaks of the voxels.
ANSWERS = ("ok", "abstained")


def run(context: Context) -> Outcome:
    flips = context.size(SHORT, LONG)
    packed = phantom_images(context.binary, context.folder)["portal.nii.gz"]
    image = gzip.decompress(packed)
    rng, maker = context.random(), Maker()
    altered: dict[frozenset[str], bool] = {}
    kinds: dict[str, int] = {}
    with Rig(context, {"mqtt.view": False}) as rig:
        rig.edge.start()
        rig.edge.wait_running()
        controls = [with_promise(maker, image, image), plain(maker, packed)]
        for study in controls:
            rig.drop(study)
        rig.drain(PATIENCE)
        for done in range(0, flips, BATCH):
            for number in range(done, min(done + BATCH, flips)):
                flipped = with_one_byte_changed(rng, packed, ENDS[number : number + 1])
                study = plain(maker, flipped)
                altered[study.digests] = hostile.unpacked(flipped) != image
                rig.drop(study)
                study = with_promise(maker, with_one_byte_changed(rng, image), image)
                altered[study.digests] = True
                rig.drop(study)
            rig.drain(PATIENCE)
            forget_inputs(rig)
            context.progress(f"{2 * min(done + BATCH, flips)} changed images")
        outcome = rig.outcome(flips=2 * flips)
        judge(rig, outcome, altered, [study.digests for study in controls], kinds)
    outcome.extras |= {"harmless": sum(not voxels for voxels in altered.values())} | kinds
    return outcome


def with_one_byte_changed(rng, data: bytes, places: tuple[int, ...] = ()) -> bytes:
    """Another byte at a place of one's choice, or at a random one."""
    out = bytearray(data)
    out[places[0] if places else rng.randrange(len(out))] ^= rng.randrange(1, 256)
    return bytes(out)


def plain(maker: Maker, packed: bytes) -> Study:
    """A study with this gzip image and an empty marker."""
    return maker.with_images({"portal.nii.gz": packed})


def with_promise(maker: Maker, image: bytes, promised: bytes) -> Study:
    """A study with this plain image whose marker promises the digest of another."""
    study = maker.with_images({"portal.nii": image})
    promise = {"files": 2, "sha256": {"portal.nii": hashlib.sha256(promised).hexdigest()}}
    return Study(study.name, study.files | {".done": json.dumps(promise).encode()})


def forget_inputs(rig: Rig) -> None:
    """The inputs of finished studies have served their purpose, and are large."""
    for place in rig.edge.places():
        shutil.rmtree(place / "input", ignore_errors=True)


def judge(rig: Rig, outcome: Outcome, altered: dict, controls: list, kinds: dict[str, int]) -> None:
    """Counts the ends; an answer about altered voxels is wrong, a control without one too."""
    with rig.judge.lock:
        statuses = {arrival.digests: arrival.status for arrival in rig.judge.arrivals}
    for digests in controls:
        status = statuses.get(digests)
        outcome.require(status in ANSWERS, f"the unchanged image ended as {status}")
    for digests, changed in altered.items():
        status = statuses.get(digests, "none")
        kinds[status] = kinds.get(status, 0) + 1
        if changed and status in ANSWERS:
            outcome.wrong += 1
            outcome.require(False, f"altered voxels gave {status}")
