"""T10: what can lie in an inbox, about a hundred named cases with the end that each must have.

The device runs without root's right to read every file. In the end each claimed study has exactly
one signed result with a reason, nothing outside of the inbox was read through a link, and neither a
patient's name nor an escape sequence got into a message, a topic, a client id or the log.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import threading
import time
from pathlib import Path

import hostile
import process
import results
from listener import Listener
from outcome import Context, Outcome
from rig import Rig
from studies import Maker, Study, phantom_images
from tricks import LEFT_ALONE, PATIENT, SCAN, Case, Tools, moving_cases, still_cases

ID = "T10"
TITLE = "tricks in the inbox: writers, markers, links, devices, names"

SETTLE_S, DEADLINE_S = 1, 8
PATIENCE = 180.0
COPIES = 20
# Root may read everything; without these two rights a file's mode counts for it too.
NO_OVERRIDE = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
NO_OVERRIDE += ["--inh-caps", "-dac_override,-dac_read_search"]


def run(context: Context) -> Outcome:
    scan = phantom_images(context.binary, context.folder)["portal.nii.gz"]
    image = without_air(scan)
    canary = f"CANARY-{context.random('canary').randbytes(8).hex()}"
    outside = make_outside(context.folder / "outside", image, canary)
    settings = {"inbox.settle_s": SETTLE_S, "inbox.deadline_s": DEADLINE_S}
    outcome = Outcome()
    with Rig(context, settings) as rig, Listener(rig.broker.port) as ear:
        wrapper = rights(outcome)
        rig.edge.start(wrapper)
        rig.edge.wait_running()
        tools = Tools(image, scan, outside, SETTLE_S)
        cases = [c for c in still_cases() + moving_cases() if can_be_made(c, wrapper, outcome)]
        for step in (
            lambda: run_cases(context, rig, tools, cases, outcome),
            lambda: same_content(rig, scan, outcome),
            lambda: one_name(rig, outcome),
            lambda: changed_after_claim(context, rig, scan, outcome),
            lambda: folder_that_may_not_be_moved(rig, wrapper, outcome),
        ):
            step()
            outcome.require(rig.edge.is_alive(), f"the daemon ended:\n{rig.edge.log_tail()}")
        every_claim_has_one_result(rig, outcome)
        everything_came(rig, outcome)
        look_for_canaries(rig, ear, canary, outside, outcome)
        outcome.extras |= {"cases": len(cases), "copies": COPIES}
        return outcome


def without_air(scan: bytes) -> bytes:
    """The scan with every voxel 2,000 HU higher."""
    image = gzip.decompress(scan)
    return hostile.packed(hostile.voxels(image, lambda hu: hu + 2_000))


def rights(outcome: Outcome) -> list[str]:
    """The wrapper that takes root's rights over files away; none is needed for others."""
    if os.getuid() != 0:
        return []
    try:
        works = subprocess.run([*NO_OVERRIDE, "true"], capture_output=True, timeout=20)
    except FileNotFoundError:
        works = None
    if works is None or works.returncode != 0:
        outcome.extras["unreadable_files"] = "not_checked_here"
        return ["env"]
    return NO_OVERRIDE


def can_be_made(case: Case, wrapper: list[str], outcome: Outcome) -> bool:
    """Whether this machine can make the case."""
    if case.needs == "root" and os.getuid() != 0:
        outcome.extras["devices"] = "not_checked_here"
        return False
    return case.needs != "capabilities" or wrapper != ["env"]


def make_outside(folder: Path, image: bytes, canary: str) -> Path:
    """What is none of the device's business; it is whole as a study, so that following a link to it
    would show."""
    folder.mkdir()
    (folder / "image.nii.gz").write_bytes(image)
    (folder / "portal.nii.gz").write_bytes(image)
    (folder / "secret").write_text(canary)
    (folder / "marker").write_text(f'{{"files": 2, "sha256": {{"{canary}": "{"0" * 64}"}}}}')
    (folder / "clinical.json").write_text(f'{{"schema": 1, "subject": "{canary}"}}')
    (folder / "study.json").write_text(f'{{"schema": 1, "portal": "{canary}.nii"}}')
    (folder / ".done").touch()
    return folder


def run_cases(
    context: Context, rig: Rig, tools: Tools, cases: list[Case], outcome: Outcome
) -> None:
    """Puts all cases into the inbox and waits until each has its end."""
    threads = []
    for number, case in enumerate(cases):
        target = Path(os.fsdecode(os.fsencode(rig.edge.inbox) + b"/" + case.dropped_as))
        if case.act is not None:
            thread = threading.Thread(target=case.act, args=(target, tools), daemon=True)
            thread.start()
            threads.append(thread)
            continue
        staging = rig.edge.folder / f"case-{number}"
        case.prepare(staging, tools)
        os.rename(staging, target)
    for thread in threads:
        thread.join(timeout=PATIENCE)
        outcome.require(not thread.is_alive(), "a writer never came to its end")
    studies = {case.dropped_as.decode(errors="replace"): case for case in cases}
    ends = [name for name, case in studies.items() if LEFT_ALONE not in case.expected]
    process.wait_until(lambda: set(ends) <= set(rig.edge.finished()), PATIENCE)
    # What is left alone must still be so when a deadline has passed.
    time.sleep(DEADLINE_S + 2)
    finished = rig.edge.finished()
    for name, case in studies.items():
        judge(rig, case, finished.get(name), outcome)
    context.progress(f"{len(cases)} cases")


def judge(rig: Rig, case: Case, place: Path | None, outcome: Outcome) -> None:
    """Whether a case ended as it must."""
    outcome.injected += LEFT_ALONE not in case.expected
    if place is None:
        outcome.lost += LEFT_ALONE not in case.expected
        outcome.require(LEFT_ALONE in case.expected, f"`{case.name}` has no result")
        return
    found = results.read(rig.edge, place)
    outcome.delivered += 1
    ends = {f"{found.status}:{code}" for code in found.codes}
    if not ends & set(case.expected):
        outcome.wrong += 1
        wanted = " or ".join(case.expected)
        outcome.require(False, f"`{case.name}`: {found.status} {found.codes}, expected {wanted}")


def same_content(rig: Rig, image: bytes, outcome: Outcome) -> None:
    """One study under many names is one result and one analysis."""
    study = Maker("copies").with_images({"portal.nii.gz": image})
    names = [f"{PATIENT} copy {number}" for number in range(COPIES)]
    before = count_tries(rig)
    for name in names:
        rig.edge.drop(Study(name, study.files))
    found = wait_for_names(rig, names, outcome)
    ids = {finished.result["result_id"] for finished in found}
    outcome.require(len(ids) == 1, f"{COPIES} copies of a study have {len(ids)} result ids")
    shas = {finished.sha256 for finished in found}
    outcome.require(len(shas) == 1, f"{COPIES} copies of a study have {len(shas)} results")
    tries = count_tries(rig) - before
    outcome.require(tries == 1, f"{COPIES} copies of a study took {tries} analyses")


def count_tries(rig: Rig) -> int:
    return sum(record["type"] == "try" for record in rig.edge.journal())


def one_name(rig: Rig, outcome: Outcome) -> None:
    """Many studies one after the other under one name are as many results."""
    maker, name = Maker("one-name"), f"{PATIENT} same name"
    before = {place.name for place in rig.edge.places()}
    for _ in range(COPIES):
        gone = process.wait_until(lambda: not (rig.edge.inbox / name).exists(), PATIENCE)
        outcome.require(gone, "a study was not taken from the inbox")
        rig.edge.drop(Study(name, maker.empty().files))

    def new() -> list[Path]:
        places = [place for place in rig.edge.places() if place.name not in before]
        return [place for place in places if (place / "result.cose").exists()]

    process.wait_until(lambda: len(new()) >= COPIES, PATIENCE)
    ids = {results.read(rig.edge, place).result["result_id"] for place in new()}
    outcome.injected += COPIES
    outcome.delivered += len(ids)
    outcome.lost += COPIES - len(ids)
    outcome.require(len(ids) == COPIES, f"{COPIES} studies of one name have {len(ids)} results")


def changed_after_claim(context: Context, rig: Rig, image: bytes, outcome: Outcome) -> None:
    """A file grows or is replaced when its study is claimed already: no answer may speak of other
    bytes than the marker promised."""
    promised = hashlib.sha256(image).hexdigest()
    maker = Maker("after-claim")
    another = phantom_images(context.binary, context.folder, 2)["portal.nii.gz"]
    ends: dict[str, int] = {}
    for way in ("grown", "replaced", "cut"):
        for delay in context.size((0.0, 0.02), (0.0, 0.005, 0.01, 0.02, 0.05, 0.2)):
            ordinary = maker.with_images({"portal.nii.gz": image})
            marker = f'{{"sha256": {{"portal.nii.gz": "{promised}"}}}}'.encode()
            study = Study(f"{PATIENT} {way} {delay}", ordinary.files | {".done": marker})
            rig.edge.drop(study)
            claimed = claimed_as(rig, study.name)
            time.sleep(delay)
            change(claimed, way, another)
            found = wait_for_names(rig, [study.name], outcome)
            for finished in found:
                ends[finished.end] = ends.get(finished.end, 0) + 1
                series = finished.result["input_digest"]["series"]
                image_digests = [s["digest"] for s in series if s["role"] == "portal"]
                answered = finished.status in ("ok", "abstained")
                outcome.require(
                    not answered or image_digests == [promised],
                    f"{way} after {delay} s: {finished.end} about other bytes than promised",
                )
                known = (SCAN, "failed:marker_mismatch", "failed:incomplete")
                outcome.require(finished.end in known, f"{way} after {delay} s: {finished.end}")
    context.progress(f"changed after the claim: {ends}")


def claimed_as(rig: Rig, name: str) -> Path | None:
    """The image of a claimed study, where it is now."""
    found: list[Path] = []

    def look() -> bool:
        for claim in (rig.edge.state / "work").glob("*/claim.json"):
            try:
                if name in claim.read_text() and (claim.parent / "input").exists():
                    found.append(claim.parent / "input" / "portal.nii.gz")
            except OSError:
                continue  # It was finished while we looked.
        return bool(found)

    process.wait_until(look, 10.0, 0.001)
    return found[0] if found else None


def change(image: Path | None, way: str, another: bytes) -> None:
    """Grows, replaces or cuts a file, unless it is finished already."""
    if image is None or not image.parent.exists():
        return
    try:
        if way == "grown":
            with image.open("r+b") as file:
                file.seek(0, os.SEEK_END)
                file.write(b"more")
        elif way == "cut":
            os.truncate(image, 1_000)
        else:
            new = image.with_name(".new")
            new.write_bytes(another)
            new.rename(image)
    except FileNotFoundError:
        pass  # It was finished while we looked.


def folder_that_may_not_be_moved(rig: Rig, wrapper: list[str], outcome: Outcome) -> None:
    """A folder that the device may neither list nor move is not lost: there is an alarm, and when
    somebody has set it right it has its result."""
    if wrapper == ["env"]:
        return
    study = Maker("closed").empty()
    study = Study(f"{PATIENT} closed", study.files)
    rig.edge.drop(study)
    # Claimed at once unless it is closed before the next scan: that is then an ordinary study.
    folder = rig.edge.inbox / study.name
    try:
        folder.chmod(0)
    except FileNotFoundError:
        wait_for_names(rig, [study.name], outcome)
        return

    def alarmed() -> bool:
        with rig.judge.lock:
            return any(code == "disk" and content for code, content in rig.judge.alarms)

    told = process.wait_until(lambda: alarmed() or not folder.exists(), PATIENCE)
    outcome.require(told, "no alarm about a folder that cannot be claimed")
    if folder.exists():
        folder.chmod(0o755)
    wait_for_names(rig, [study.name], outcome)


def wait_for_names(rig: Rig, names: list[str], outcome: Outcome) -> list[results.Finished]:
    """The results of studies that must have one."""
    found = [results.wait_for(rig.edge, name, PATIENCE) for name in names]
    outcome.injected += len(names)
    outcome.delivered += len(names) - found.count(None)
    outcome.lost += found.count(None)
    for name, finished in zip(names, found):
        outcome.require(finished is not None, f"no result: {name}")
    return [finished for finished in found if finished is not None]


def every_claim_has_one_result(rig: Rig, outcome: Outcome) -> None:
    """By the journal and by the folders: one signed result each, with a reason."""
    ends: dict[str, int] = {}
    claims = set()
    for record in rig.edge.journal():
        if record["type"] == "claim":
            claims.add(record["job"])
        elif record["type"] in ("result", "duplicate"):
            ends[record["job"]] = ends.get(record["job"], 0) + 1
    outcome.accepted = len(claims)
    odd = [job for job in claims if ends.get(job) != 1]
    outcome.require(not odd, f"{len(odd)} claimed studies have not exactly one result")
    places = {place.name for place in rig.edge.places()}
    outcome.require(claims == places, f"{len(claims ^ places)} claims and folders do not match")
    for place in rig.edge.places():
        finished = results.read(rig.edge, place)
        outcome.require(bool(finished.codes), f"{place.name}: {finished.status} without a reason")


def everything_came(rig: Rig, outcome: Outcome) -> None:
    """What is on disk also came to the judge, who found no fault with it."""
    signed = {results.read(rig.edge, place).sha256 for place in rig.edge.places()}

    def came() -> bool:
        with rig.judge.lock:
            return signed <= {arrival.sha256 for arrival in rig.judge.arrivals}

    outcome.require(process.wait_until(came, PATIENCE), "a result on disk never came")
    outcome.require(not rig.judge.refused, "a message did not verify")
    outcome.require(not rig.judge.gaps(), "numbers are missing")


def look_for_canaries(
    rig: Rig, ear: Listener, canary: str, outside: Path, outcome: Outcome
) -> None:
    """Patients' names in what leaves the box or is logged, and anything at all from outside."""
    # Results carry the pseudonym of a subject, never the subject.
    names = [PATIENT.encode(), b"JANE", b"19610412"]
    shadow = Path("/etc/shadow")
    secrets = [canary.encode()]
    if os.access(shadow, os.R_OK):
        secrets += [line for line in shadow.read_bytes().splitlines() if len(line) > 12]
    secrets.append((rig.edge.state / "keys" / "device.pk8").read_bytes()[16:48])
    log = rig.edge.log_path.read_bytes()
    spoken = b"\n".join(topic.encode() + b" " + data for topic, data in ear.messages)
    places = {"the log": log, "messages": spoken, "the broker's log": rig.broker.log().encode()}
    outcome.require(b"hcc/v1/ward/box-1/job" in spoken, "the listener heard nothing of the jobs")
    for where, text in places.items():
        for word in (*names, *secrets):
            count = text.count(word)
            outcome.require(not count, f"{word[:20]!r} stands {count} times in {where}")
    outcome.require(b"\x1b" not in log, "an escape sequence in the log")
    files = [path for path in files_of(rig.edge.state) if path.parent.name != "keys"]
    read = [path for path in files if any(secret in path.read_bytes() for secret in secrets)]
    outcome.require(not read, f"content from outside was copied to {read[:3]}")
    untouched = {path.name for path in outside.iterdir()}
    expected = {"image.nii.gz", "portal.nii.gz", "secret", "marker", "clinical.json", "study.json"}
    outcome.require(untouched == expected | {".done"}, f"outside there is now {sorted(untouched)}")


def files_of(folder: Path) -> list[Path]:
    """Plain files below a folder; follows no link and opens no pipe."""
    found = []
    for parent, _, names in os.walk(os.fsencode(folder)):
        for name in names:
            path = os.path.join(parent, name)
            # What an earlier case has closed to everybody is not the device's to read either.
            if os.path.isfile(path) and not os.path.islink(path):
                found.append(Path(os.fsdecode(path)))
    return found
