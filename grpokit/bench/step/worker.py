"""One contestant, one work file, one process.

    python -m grpokit.bench.step.worker TARGET WORK RESULT [LOG]

TARGET is ``module:function``. The result is written whole or not at all; lines of LOG say how far it is.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from grpokit.bench.step.watch import Watch
from grpokit.errors import GrpokitError
from grpokit.spec.stepwork import StepWork

__all__ = ["main", "read_work"]


def read_work(data: dict[str, Any]) -> StepWork:
    """The work as a contestant gets it."""
    lists = ("prompts", "completions", "rewards", "advantages", "keep")
    return StepWork(**{**data, **{name: _frozen(data[name]) for name in lists}})


def main(argv: list[str]) -> int:
    """Runs the contestant; 0 if there is a result, which may be what went wrong."""
    target, work, result = argv[0], Path(argv[1]), Path(argv[2])
    log = Path(argv[3]) if len(argv) > 3 else None
    data = json.loads(work.read_text(encoding="utf-8"))
    watch = Watch(lambda line: _tell(log, line))
    try:
        module, _, name = target.partition(":")
        getattr(import_module(module), name)(read_work(data["work"]), watch)
    except GrpokitError as error:
        found: dict[str, Any] = {"failure": " ".join(str(error).split())}
    except Exception as error:  # noqa: BLE001  (the border to foreign code: it is the cell's result)
        traceback.print_exc()
        found = {"failure": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    else:
        found = watch.result()
    found["versions"] = _versions(data["versions"])
    temporary = result.with_suffix(".tmp")
    temporary.write_text(json.dumps(found), encoding="utf-8")
    temporary.replace(result)
    return 0


def leave_with_parent() -> None:
    """Ends this process soon after the one that started it, which may have been killed."""
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def _versions(names: list[str]) -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _tell(log: Path | None, line: str) -> None:
    if log is not None:
        with log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _frozen(value: Any) -> Any:
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value


if __name__ == "__main__":
    leave_with_parent()
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # threads of a trainer that wait for something must not hold the bench up
