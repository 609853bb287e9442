"""Runs what is not there yet: cell by cell, the contestants of a cell right after each other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grpokit.bench.step.grid import Cell, Contestant, Settings
from grpokit.bench.step.work import fingerprint, make_work
from grpokit.engine.checkpoint import write_atomic
from grpokit.spec.stepwork import StepWork

__all__ = ["Measured", "Progress", "run_all"]

POLL = 0.1
"""Seconds between two looks at the worker's log."""
APART = 1800.0
"""Seconds that may lie between measurements of a cell: a machine may have other work later."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One contestant on one cell.

    Attributes:
        data: what the worker wrote, or ``failure``.
        when: the time it ended, as ISO text.
    """

    cell: Cell
    contestant: Contestant
    data: Mapping[str, Any]
    when: str

    @property
    def failure(self) -> str:
        return str(self.data.get("failure", ""))


class Progress:
    """Hears of each measurement; nothing by default."""

    def begin(self, cell: Cell, contestant: Contestant, number: int, total: int) -> None:
        """It begins."""

    def step(self, line: str) -> None:
        """What the worker says."""

    def end(self, measured: Measured, *, cached: bool) -> None:
        """It is done, or was there."""


def run_all(
    grid: Sequence[Cell],
    contestants: Sequence[Contestant],
    settings: Settings,
    model: Mapping[str, Any],
    folder: Path,
    progress: Progress,
    *,
    again: bool = False,
) -> list[Measured]:
    """All measurements, those of earlier calls among them; ``again`` takes none of them.

    A file a measurement lies in ``folder/cells``. One that failed is tried anew. Where one of a cell is
    lacking and others are old, all of the cell are measured.
    """
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    total = len(grid) * len(contestants)
    found: list[Measured] = []
    for cell in grid:
        work = make_work(cell, settings, model)
        kept = {} if again else _kept(folder, cell, contestants, work)
        for contestant in contestants:
            place = _place(folder, cell, contestant)
            progress.begin(cell, contestant, len(found) + 1, total)
            known = kept.get(contestant.label)
            known = None if known is None or known.failure else known
            measured = known or _run(place, cell, contestant, work, progress)
            found.append(measured)
            progress.end(measured, cached=known is not None)
    return found


def _place(folder: Path, cell: Cell, contestant: Contestant) -> Path:
    return folder / "cells" / f"{cell.name}-{contestant.slug}"


def _kept(
    folder: Path, cell: Cell, contestants: Sequence[Contestant], work: StepWork
) -> dict[str, Measured]:
    """What was measured of a cell and may stand beside what is measured now, failures too."""
    found = [
        _read(_place(folder, cell, each), cell, each, fingerprint(work, each))
        for each in contestants
    ]
    known = {each.contestant.label: each for each in found if each is not None}
    now = datetime.now(UTC)
    old = any(
        (now - datetime.fromisoformat(each.when)).total_seconds() > APART
        for each in known.values()
        if not each.failure
    )
    return {} if old and None in found else known


def _file(place: Path, ending: str) -> Path:
    return place.with_name(place.name + ending)  # names have dots


def _read(place: Path, cell: Cell, contestant: Contestant, mark: str) -> Measured | None:
    """What was measured before, if it was the same."""
    try:
        saved = json.loads(_file(place, ".json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return None
    if saved.get("fingerprint") != mark:
        return None
    return Measured(cell=cell, contestant=contestant, data=saved["data"], when=saved["when"])


def _run(
    place: Path, cell: Cell, contestant: Contestant, work: StepWork, progress: Progress
) -> Measured:
    own = replace(work, settings=dict(contestant.spec.settings))
    asked = _file(place, ".work.json")
    request = {"work": asdict(own), "versions": list(contestant.spec.versions)}
    write_atomic(asked, json.dumps(request))
    data = _worker(place, contestant, asked, progress)
    asked.unlink(missing_ok=True)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    saved = {
        "fingerprint": fingerprint(work, contestant),
        "contestant": contestant.label,
        "cell": asdict(cell),
        "when": when,
        "data": data,
    }
    write_atomic(_file(place, ".json"), json.dumps(saved, indent=1) + "\n")
    return Measured(cell=cell, contestant=contestant, data=data, when=when)


def _worker(place: Path, contestant: Contestant, asked: Path, progress: Progress) -> dict[str, Any]:
    """Starts the process, shows how far it is, and reads what it wrote."""
    result, steps, log = (_file(place, end) for end in (".result", ".steps", ".log"))
    for path in (result, steps):
        path.unlink(missing_ok=True)
    command = [sys.executable, "-m", "grpokit.bench.step.worker", contestant.spec.target]
    with log.open("w", encoding="utf-8") as words:
        process = subprocess.Popen(  # noqa: S603  (our own module)
            [*command, str(asked), str(result), str(steps)],
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            env=_environment(contestant),
        )
        try:
            _follow(process, steps, progress)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    steps.unlink(missing_ok=True)
    if not result.is_file():
        return {"failure": f"{_ended(process.returncode)}; its last words stand in {log}"}
    data: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    result.unlink()
    wrong = _other_version(contestant, data)
    if wrong:
        return {**data, "failure": wrong}
    if not data.get("failure"):
        log.unlink()
    return data


def _other_version(contestant: Contestant, data: Mapping[str, Any]) -> str:
    """What was measured is what the label says."""
    name = contestant.spec.against
    wanted, found = contestant.versions.get(name), data.get("versions", {}).get(name)
    return f"{name} {found} was measured, not {wanted}" if name and wanted != found else ""


def _follow(process: subprocess.Popen[bytes], steps: Path, progress: Progress) -> None:
    told = 0
    while True:
        code = process.poll()
        lines = steps.read_text(encoding="utf-8").splitlines() if steps.is_file() else []
        for line in lines[told:]:
            progress.step(line)
        told = len(lines)
        if code is not None:
            return
        time.sleep(POLL)


def _environment(contestant: Contestant) -> dict[str, str]:
    """The other version first; nothing from the hub, nothing to a tracker."""
    found = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if contestant.path is not None:
        before = os.environ.get("PYTHONPATH")
        found["PYTHONPATH"] = os.pathsep.join([str(contestant.path), *([before] if before else [])])
    return found


def _ended(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the process was killed, as it is where memory runs out"
    return f"the process ended with code {code} and without a result"
