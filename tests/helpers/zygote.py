"""Starts ``grpokit`` commands in fresh processes without paying for imports each time.

    python zygote.py [MODULE ...]   reads one JSON request a line on stdin

A request ``{"argv": [...], "cwd": "...", "log": "...", "kill": N | null, "where": "fsync"}`` forks
a child that runs the real command line. With ``kill`` the child sends SIGKILL to itself at its N-th
call of ``where`` (``fsync``, ``rename``, ``unlink``, ``stage``). The answer is ``{"pid": ...}`` at
once and ``{"pid": ..., "status": ...}`` at its end, status as ``os.waitstatus_to_exitcode`` gives it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

HEAVY = ("torch", "peft", "transformers.models.llama.modeling_llama", "grpokit_hf.backend")


def die_at(call: int, function: Callable[..., Any]) -> Callable[..., Any]:
    count = 0

    def wrapped(*arguments: Any, **settings: Any) -> Any:
        nonlocal count
        count += 1
        if count == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **settings)

    return wrapped


def arm(where: str, call: int) -> None:
    if where == "stage":
        from grpokit.cli.live import PlainTraining

        PlainTraining.stage = die_at(call, PlainTraining.stage)  # type: ignore[method-assign]
    else:
        owner = Path if where == "rename" else os
        setattr(owner, where, die_at(call, getattr(owner, where)))


def child(request: dict[str, Any]) -> None:
    os.chdir(request["cwd"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    if request.get("kill"):
        arm(request["where"], request["kill"])
    sys.argv = ["grpokit", *request["argv"]]
    from grpokit.cli.main import run

    status = 0
    try:
        run()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(bool(error.code))
    sys.stdout.flush()
    os._exit(status)


def main() -> None:
    for name in (*HEAVY, *sys.argv[1:]):
        import_module(name)  # before the first fork, and never used in this process
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(request)
        print(json.dumps({"pid": pid}), file=answers)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"pid": pid, "status": os.waitstatus_to_exitcode(status)}), file=answers)


if __name__ == "__main__":
    main()
