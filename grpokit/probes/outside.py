"""Each reward in a process of its own: threads, start-up, files, connections, seconds of a call."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from grpokit.probes.contract import broken
from grpokit.probes.expand import Case
from grpokit.probes.library import Way
from grpokit.probes.measure import MADE_UP, Cell, rollout_of, tokens_of
from grpokit.probes.report import Finding
from grpokit.scoring.call import Batch, Item, Question
from grpokit.scoring.facts import facts_of
from grpokit.scoring.scorer import RewardSetup, Scorer
from grpokit.scoring.wire import UnsendableError, dump, entry_to_json, request

__all__ = ["Audit", "audit_texts", "audited", "percentile", "start_audits", "unheard"]

AUDIT = Path(__file__).with_name("audit.py")
AUDIT_SECONDS = 60.0
LATENCY = 0.05
ENOUGH = 100
"""Calls of which one may be slower."""
IMPORT = 5.0
LONGEST = 1 << 22
LAST = 1 << 14
"""Bytes of its answer and of its standard error that are kept."""


class Audit:
    """A reward in a process of its own; see ``audit.py``. Of what it says, the last part is kept."""

    def __init__(self, setup: RewardSetup, texts: Sequence[str], opening: bytes) -> None:
        self.setup = setup
        self.texts = texts
        self.began = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603  # our own interpreter and file
            [sys.executable, "-P", str(AUDIT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={"PYTHONHASHSEED": "0", **os.environ},
        )
        self._output = bytearray()
        self._errors = bytearray()
        assert self.process.stdout
        assert self.process.stderr
        self._readers = [
            threading.Thread(target=_drain, args=arguments, daemon=True)
            for arguments in (
                (self.process.stdout, self._output, LONGEST),
                (self.process.stderr, self._errors, LAST),
            )
        ]
        for reader in self._readers:
            reader.start()
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died: the exit code says so
            self.process.stdin.write(opening)
            self.process.stdin.close()

    def finish(self, end: float | None) -> dict[str, Any]:
        """What it found; nothing if it took too long or died."""
        limit = self.began + AUDIT_SECONDS
        left = min(limit, end or limit) - time.monotonic()
        try:
            self.process.wait(timeout=max(left, 0.1))
        except subprocess.TimeoutExpired:
            self.close()
            return {"lost": "it did not end in time"}
        self.close()
        try:
            answer: dict[str, Any] = json.loads(self._output)
        except ValueError:
            said = self._errors.decode("utf-8", "replace").strip().splitlines()[-1:]
            told = f"it ended with exit code {self.process.returncode}"
            return {"lost": f"{told}: {said[0][-200:]}" if said else told}
        return answer

    def close(self) -> None:
        """Ends the process and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for reader in self._readers:
            reader.join(timeout=1.0)


def _drain(pipe: IO[bytes], kept: bytearray, size: int) -> None:
    """Reads until the end, so that whoever prints a gigabyte is not held up, and keeps the last part."""
    with pipe:
        while part := os.read(pipe.fileno(), 1 << 16):
            kept += part
            del kept[:-size]


def start_audits(scorer: Scorer, case: Case, way: Way) -> list[Audit]:
    """Starts one process for each reward; the check goes on meanwhile."""
    texts = audit_texts(case, way)
    batch = Batch(
        [Question(case.prompt.row, case.prompt.messages)],
        [Item(0, number, text, "stop", tokens_of(text)) for number, text in enumerate(texts)],
    )
    facts = facts_of(scorer, MADE_UP, rollout_of([case.prompt], [texts]))
    audits = []
    for setup, asked in zip(scorer.setups, scorer.asked().values(), strict=True):
        own = batch if facts is None else facts.work(setup.name, batch)[0]
        try:
            sent = request(own, [], asked, 10.0)
        except UnsendableError:
            continue  # ``unheard`` says so
        opening = {
            "path": sys.path,
            "entry": entry_to_json(setup.entry),
            "settings": dict(setup.settings),
            "memory": scorer.memory,
            "request": json.loads(sent),
        }
        audits.append(Audit(setup, texts, dump(opening)))
    return audits


def audit_texts(case: Case, way: Way) -> list[str]:
    """What the reward is asked there."""
    return [way.write(case.gold), way.write(case.wrong), "", "It is 7.", way.write("x" * 200)]


def unheard(setups: Sequence[RewardSetup], audits: Sequence[Audit]) -> list[str]:
    """Notes about the rewards that got no process of their own."""
    there = {audit.setup.name for audit in audits}
    return [
        f"{setup.name}: its row cannot be sent to another process, so threads were not tried"
        for setup in setups
        if setup.name not in there
    ]


def audited(
    audit: Audit,
    answer: Mapping[str, Any],
    here: Sequence[Cell] | None = None,
    *,
    compare: bool = True,
) -> Iterator[Finding]:
    """What the process saw, as findings; scores are compared where that says something.

    ``here``: what the same completions got in the worker of training.
    """
    name, weight = audit.setup.name, audit.setup.weight
    if "lost" in answer or "error" in answer:
        told = answer.get("lost") or answer["error"]
        yield broken("contract.threads", name, f"calls from other threads: {told}", weight=weight)
        return
    if compare and getattr(audit.setup.entry.spec, "deterministic", True):
        yield from _anew(audit, answer["main"], here or ())
        yield from _elsewhere(audit, answer)
    if answer["torch"]:
        yield broken("contract.import_torch", name, "importing the reward imports torch")
    if answer["import_seconds"] > IMPORT:
        fact = f"importing the reward takes {answer['import_seconds']:.1f} s"
        yield broken("contract.import_time", name, fact)
    yield from _effects(name, answer)


def _anew(audit: Audit, there: Sequence[Any], here: Sequence[Cell]) -> Iterator[Finding]:
    """Scores that depend on the process: on its number, its hash seed, its start."""
    name = audit.setup.name
    for text, other, cell in zip(audit.texts, there, here, strict=False):
        if name in cell.faults or isinstance(other, str):
            continue  # failures are findings of their own
        if other != cell.values[name]:
            fact = f"{cell.values[name]} in one process, {other} in another"
            weight = audit.setup.weight
            yield broken("contract.pickle_spawn", name, fact, weight=weight, completion=text)
            return


def _elsewhere(audit: Audit, answer: Mapping[str, Any]) -> Iterator[Finding]:
    """Scores that another thread, or four at once, got otherwise."""
    name, weight = audit.setup.name, audit.setup.weight
    first = answer["main"]
    promise_of = {"alone": "contract.main_thread", "together": "contract.threads"}
    for key, promise in promise_of.items():
        for found in answer[key]:
            hit = next((k for k, value in enumerate(found) if value != first[k]), None)
            if hit is None and len(found) == len(first):
                continue
            what = (
                f"{first[hit]} in the main thread, {found[hit]} elsewhere"
                if hit is not None
                else "no scores"
            )
            shown = audit.texts[hit] if hit is not None else ""
            yield broken(promise, name, what, weight=weight, completion=shown)
            break


def _effects(name: str, answer: Mapping[str, Any]) -> Iterator[Finding]:
    """What calls did beside scoring."""
    for key, promise, verb in (
        ("connected", "contract.no_network", "connects to"),
        ("written", "contract.no_fs_write", "writes"),
    ):
        if answer[key]:
            yield broken(promise, name, f"{verb} {', '.join(answer[key])}")
    slow = percentile(answer["seconds"])
    if slow is not None and slow > LATENCY:
        count = len(answer["seconds"])
        told = "99 of 100 calls take" if count >= ENOUGH else f"the slowest of {count} calls takes"
        up_to = "up to " if count >= ENOUGH else ""
        yield broken("contract.latency_p99", name, f"{told} {up_to}{slow * 1000:.0f} ms")
    if answer["mutated"]:
        yield broken("contract.no_input_mutation", name, "the row is changed by a call")


def percentile(seconds: Sequence[float]) -> float | None:
    """The 99th percentile (of fewer than 100, the largest); None of nothing."""
    return sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1] if seconds else None
