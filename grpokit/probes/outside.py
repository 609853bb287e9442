"""Each reward in a process of its own: threads, start-up, files, connections, seconds of a call."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grpokit.probes.contract import broken
from grpokit.probes.expand import Case
from grpokit.probes.library import Way
from grpokit.probes.report import Finding
from grpokit.scoring.call import Batch, Item, Question
from grpokit.scoring.scorer import RewardSetup
from grpokit.scoring.signature import Asked
from grpokit.scoring.wire import UnsendableError, dump, entry_to_json, request

__all__ = ["Audit", "audited", "percentile", "start_audits"]

AUDIT = Path(__file__).with_name("audit.py")
AUDIT_SECONDS = 60.0
LATENCY = 0.05
IMPORT = 5.0


@dataclass
class Audit:
    """A reward in a process of its own; see ``audit.py``."""

    setup: RewardSetup
    process: subprocess.Popen[bytes]
    texts: Sequence[str]
    began: float

    def finish(self, end: float | None) -> dict[str, Any]:
        """What it found; nothing if it took too long or died."""
        limit = self.began + AUDIT_SECONDS
        left = min(limit, end or limit) - time.monotonic()
        try:
            output, errors = self.process.communicate(timeout=max(left, 0.1))
        except subprocess.TimeoutExpired:
            self.close()
            return {"lost": "it did not end in time"}
        if self.process.returncode or not output:
            told = errors.decode("utf-8", "replace").strip().splitlines()[-1:]
            return {
                "lost": f"it ended with exit code {self.process.returncode}: {told[0] if told else ''}"
            }
        answer: dict[str, Any] = json.loads(output)
        return answer

    def close(self) -> None:
        """Ends the process if it runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def start_audits(
    setups: Sequence[RewardSetup], asked: Mapping[str, Asked], case: Case, way: Way
) -> list[Audit]:
    """Starts one process a reward; the check goes on meanwhile."""
    texts = [way.write(case.gold), way.write(case.wrong), "", "It is 7.", way.write("x" * 200)]
    batch = Batch(
        [Question(case.prompt.row, case.prompt.messages)],
        [Item(0, number, text, "stop", len(text) // 4 + 1) for number, text in enumerate(texts)],
    )
    audits = []
    for setup in setups:
        try:
            sent = request(batch, [], asked[setup.name], 10.0)
        except UnsendableError:
            continue
        opening = {
            "path": sys.path,
            "entry": entry_to_json(setup.entry),
            "settings": dict(setup.settings),
            "request": json.loads(sent),
        }
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and file
            [sys.executable, "-P", str(AUDIT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={"PYTHONHASHSEED": "0", **os.environ},
        )
        assert process.stdin is not None
        process.stdin.write(dump(opening))
        process.stdin.close()
        process.stdin = None
        audits.append(Audit(setup, process, texts, time.monotonic()))
    return audits


def audited(audit: Audit, answer: Mapping[str, Any], *, compare: bool = True) -> Iterator[Finding]:
    """What the process saw, as findings; scores of threads are compared where that says something."""
    name, weight = audit.setup.name, audit.setup.weight
    if "lost" in answer or "error" in answer:
        told = answer.get("lost") or answer["error"]
        yield broken("contract.threads", name, f"calls from other threads: {told}", weight=weight)
        return
    if compare and getattr(audit.setup.entry.spec, "deterministic", True):
        yield from _elsewhere(audit, answer)
    if answer["torch"]:
        yield broken("contract.import_torch", name, "importing the reward imports torch")
    if answer["import_seconds"] > IMPORT:
        fact = f"importing the reward takes {answer['import_seconds']:.1f} s"
        yield broken("contract.import_time", name, fact)
    yield from _effects(name, answer)


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
        yield broken(
            "contract.latency_p99", name, f"99 of 100 calls take up to {slow * 1000:.0f} ms"
        )
    if answer["mutated"]:
        yield broken("contract.no_input_mutation", name, "the row is changed by a call")
    if answer["pickle"]:
        yield broken("contract.pickle_spawn", name, f"pickle refuses it: {answer['pickle']}")


def percentile(seconds: Sequence[float]) -> float | None:
    """The 99th percentile; None of nothing."""
    return sorted(seconds)[min(len(seconds) - 1, int(0.99 * len(seconds)))] if seconds else None
