"""The process in which one reward runs. Started by path, so that it needs nothing on ``sys.path``.

Its standard input and output are the channel to the trainer. Both are moved to private descriptors
before any foreign code runs: a reward that prints writes to standard error, which the trainer drains.
What it writes into other descriptors, or a process that it forked says, is no answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import fcntl
import os
import signal
import sys
import threading
import time
from functools import cache
from json import loads  # before foreign code can replace it
from typing import IO, Any

__all__ = ["main"]


def main() -> None:
    """Builds the reward, says what it asks for, then answers requests until the trainer is gone."""
    inbox, outbox = _private_channel()
    opening = loads(inbox.readline() or b"null")
    if opening is None:
        return
    _die_with(opening["parent"], opening["lifeline"], by_kernel=opening["by_kernel"])
    _offer_to_oom_killer()
    faulthandler.enable()
    sys.path[:] = opening["path"]
    _serve(opening, inbox, outbox)


def _serve(opening: dict[str, Any], inbox: IO[bytes], outbox: IO[bytes]) -> None:
    from grpokit.errors import GrpokitError
    from grpokit.registry.resolve import create, resolve
    from grpokit.scoring import memory
    from grpokit.scoring.call import RewardCall, ahead_of, reading_of
    from grpokit.scoring.wire import (
        asked_to_json,
        dump,
        entry_from_json,
        outcome_to_json,
        request_from_json,
    )

    key, own = opening.pop("key").encode("ascii"), os.getpid()

    def say(message: object) -> None:
        if os.getpid() != own:  # the reward forked, and the child came back as well
            os._exit(1)
        outbox.write(key + dump(message))
        outbox.flush()

    entry = entry_from_json(opening["entry"])
    memory.limit(opening["memory"])
    try:
        # where there is nothing to check no pydantic: half of the start-up
        checked = entry.spec.config or opening["settings"]
        function = (
            create(entry, opening["settings"]) if checked else resolve(entry.spec.target, entry)
        )
        call = RewardCall(function, entry.spec.needs)
        ahead = ahead_of(entry, opening["settings"])
    except GrpokitError as error:
        if isinstance(error.__cause__, MemoryError):
            memory.release_reserve()
            error.remedy = f"raise scoring.memory ({memory.limited()} GiB), or let it load less"
        place = error.place or f"reward {entry.origin}"
        say({"error": {"fact": error.fact, "place": place, "remedy": error.remedy}})
        return
    say({"asked": asked_to_json(call.asked), "ahead": ahead and asked_to_json(ahead.asked)})
    reading = cache(lambda kind: reading_of(entry, opening["settings"], kind))
    for line in inbox:
        message = loads(line)
        batch, units, timeout = request_from_json(message)
        ask = message["ask"]
        chosen = {"score": call, "continuations": ahead}.get(ask) or reading(ask)
        chosen.run(
            batch,
            units,
            lambda unit, found: say({"unit": unit, "outcomes": [*map(outcome_to_json, found)]}),
            timeout,
        )
        say({"done": True})
    call.close()


def _private_channel() -> tuple[IO[bytes], IO[bytes]]:
    inbox = os.fdopen(os.dup(0), "rb")
    outbox = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return inbox, outbox


def _die_with(parent: int, lifeline: int, *, by_kernel: bool) -> None:
    """Ends this process when the trainer dies, also by SIGKILL and in the middle of a call.

    The kernel's signal on the parent's death follows the *thread* that started this process, so it
    is used only if that was the main thread. Otherwise the kernel kills this process when the other
    end of ``lifeline`` closes. A thread looks twice a second as well: other systems than Linux have
    no such signal, and a process that the trainer forked may hold the pipe open.
    """
    if by_kernel and sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG
        with contextlib.suppress(OSError, AttributeError):
            if ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL, 0, 0, 0) == 0:
                if os.getppid() != parent:  # it died before the call
                    os._exit(0)
                return
    if sys.platform == "linux":
        _die_when_closed(lifeline)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(0)

    threading.Thread(target=watch, name="grpokit-parent-watch", daemon=True).start()


def _die_when_closed(pipe: int) -> None:
    """Has the kernel kill this process when the pipe's other end closes: no Python must run for it."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)


def _offer_to_oom_killer() -> None:
    """When memory runs out, the worker goes before the trainer."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("500")


if __name__ == "__main__":
    main()
