"""The process that compares expressions. One question a line of JSON, one answer a line.

It has a limit on its memory. The kernel ends it when a question takes too long, whatever it is doing,
and it ends by itself when its parent is gone: then its input ends, or that timer does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

__all__ = ["main"]

MEMORY = 2 << 30
GRACE = 0.5


def main() -> None:
    """Answers questions until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    _limit_memory()
    sys.set_int_max_str_digits(0)  # what takes too long is ended
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # nothing else gets between the answers
    try:
        from grpokit_math.verify import proof
    except ImportError as error:
        answers.write(json.dumps({"error": f"sympy cannot be imported: {error}"[:200]}) + "\n")
        answers.flush()
        return
    answers.write("{}\n")
    answers.flush()
    # The default action of this signal ends the process, also inside of C code.
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for line in sys.stdin:
        question = json.loads(line)
        _timer(question["seconds"] + GRACE)
        answer = _answer(proof, question)
        _timer(0)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _timer(seconds: float) -> None:
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _answer(proof: Any, question: dict[str, Any]) -> dict[str, Any]:
    first, second, tolerance = question["first"], question["second"], question["tolerance"]
    try:
        if tolerance and proof.near(first, second, tolerance):
            return {"same": True}
        return {"same": not tolerance and proof.same(first, second)}
    # sympy raises of every kind on odd input; the parent counts it.
    except Exception as error:  # noqa: BLE001
        return {"error": f"{type(error).__name__}: {error}"[:200]}


def _limit_memory() -> None:
    """As far as the system lets us: macOS refuses this limit, Windows has none."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
