"""Calls one reward in a process of its own and says what the trainer's border does not show.

Started by path, as the workers are. It reads one JSON object and writes one: import time and torch,
scores from the main thread, from another one and from four at once, seconds of each call, and what
was opened, written and changed meanwhile.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import replace
from typing import Any

__all__ = ["main"]

CALLS = 100
"""Calls whose seconds are measured, unless they take longer than ``PATIENCE``."""
PATIENCE = 1.0
THREADS = 4
SWITCH = 1e-5
"""Seconds until another thread has its turn, so that threads meet within a call."""
SHOWN = 5


def main() -> None:
    """Answers the one request."""
    inbox, outbox = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    with os.fdopen(inbox, "rb") as file:
        request = json.loads(file.read())
    sys.path[:] = request["path"]
    sys.dont_write_bytecode = True
    answer = _audit(request)
    with os.fdopen(outbox, "wb") as file:
        file.write(json.dumps(answer).encode("ascii"))
    os._exit(0)  # whatever threads the reward has left


def _audit(request: dict[str, Any]) -> dict[str, Any]:
    from grpokit.errors import GrpokitError
    from grpokit.registry.resolve import create
    from grpokit.scoring import memory
    from grpokit.scoring.call import RewardCall
    from grpokit.scoring.wire import entry_from_json, request_from_json

    entry = entry_from_json(request["entry"])
    memory.limit(request["memory"])
    before = time.monotonic()
    try:
        function = create(entry, request["settings"])
        call = RewardCall(function, entry.spec.needs)
    except GrpokitError as error:
        return {"error": str(error)}
    answer: dict[str, Any] = {
        "import_seconds": time.monotonic() - before,
        "torch": "torch" in sys.modules,
    }
    batch, _, _ = request_from_json(request["request"])
    kept = copy.deepcopy([dict(question.row) for question in batch.questions])
    first = _scores(call, batch)
    events = _listen()
    seconds: list[float] = []
    end = time.monotonic() + PATIENCE
    while len(seconds) < CALLS and (not seconds or time.monotonic() < end):
        _scores(call, batch, seconds)
    answer |= {"main": first, "seconds": seconds}
    answer["mutated"] = _changed(kept, [dict(question.row) for question in batch.questions])
    call.close()
    answer["alone"] = _in_threads(function, entry.spec.needs, batch, 1)
    answer["together"] = _in_threads(function, entry.spec.needs, batch, THREADS)
    answer["connected"] = sorted(events["connected"])[:SHOWN]
    answer["written"] = sorted(events["written"])[:SHOWN]
    return answer


def _scores(call: Any, batch: Any, seconds: list[float] | None = None) -> list[Any]:
    """What the reward says about each item: a number, None, or the text of its failure."""
    found: list[Any] = [None] * len(batch.items)
    units = batch.units(call.asked)
    began = time.monotonic()

    def book(number: int, outcomes: list[Any]) -> None:
        nonlocal began
        now = time.monotonic()
        if seconds is not None:
            seconds.extend([(now - began) / len(outcomes)] * len(outcomes))
        for position, outcome in zip(units[number], outcomes, strict=True):
            fault = outcome.fault
            found[position] = outcome.value if fault is None else f"{fault.kind}: {fault.message}"
        began = time.monotonic()

    call.run(batch, units, book)
    return found


def _in_threads(function: Any, needs: Any, batch: Any, count: int) -> list[list[Any]]:
    """The scores that each thread got. Each begins with another item: two that judge the same at
    the same time would not notice what they share.
    """
    from grpokit.scoring.call import RewardCall

    found: list[list[Any]] = [[] for _ in range(count)]
    sys.setswitchinterval(SWITCH)

    def work(number: int) -> None:
        call = RewardCall(function, needs)
        turn = number % len(batch.items) if call.asked.form == "row" else 0
        items = [*batch.items[turn:], *batch.items[:turn]]
        scores = _scores(call, replace(batch, items=items))
        found[number] = [*scores[len(scores) - turn :], *scores[: len(scores) - turn]]
        call.close()

    threads = [threading.Thread(target=work, args=(k,), daemon=True) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _changed(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> bool:
    return json.dumps(before, default=repr) != json.dumps(after, default=repr)


def _listen() -> dict[str, set[str]]:
    """Collects connections and files opened for writing, from now on."""
    events: dict[str, set[str]] = {"connected": set(), "written": set()}
    temporary = os.path.realpath(tempfile.gettempdir())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.getaddrinfo"):
            events["connected"].add(str(arguments[1 if event == "socket.connect" else 0])[:200])
        elif event == "open":
            path, mode, flags = arguments
            writes = any(c in mode for c in "wax+") if mode else bool((flags or 0) & 3)
            if writes and isinstance(path, str | bytes) and not _allowed(os.fsdecode(path)):
                events["written"].add(os.fsdecode(path)[:200])
        elif event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir"):
            path = str(arguments[0])
            if not _allowed(path):
                events["written"].add(path[:200])

    def _allowed(path: str) -> bool:
        return path.startswith(("/dev/", "/proc/")) or os.path.realpath(path).startswith(temporary)

    sys.addaudithook(hook)
    return events


if __name__ == "__main__":
    main()
