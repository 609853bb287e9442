"""Whether a backend's packages can be imported: tried in a process of its own, never in this one."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from grpokit.spec.contracts import Problem

__all__ = ["import_problems"]

SECONDS = 180.0
"""After which an import counts as hanging. The slowest, vLLM uncompiled, took a tenth of it."""
MARK = "grpokit-doctor-import "
CODE = f"""
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        words = " ".join(str(error).split())[:300]
        print(f"\\n{MARK}{{name}}: {{type(error).__name__}}: {{words}}", file=sys.stderr)
        raise SystemExit(1)
"""


def import_problems(modules: Sequence[str], seconds: float = SECONDS) -> tuple[Problem, ...]:
    """Imports the modules one after the other; what the first that fails says.

    In an empty folder, because some packages write into the one they find themselves in.
    """
    with tempfile.TemporaryDirectory(prefix="grpokit-doctor-") as folder:
        try:
            done = subprocess.run(  # noqa: S603  names of the table and of installed plugins
                [sys.executable, "-W", "ignore", "-c", CODE, *modules],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return (_problem(f"{', '.join(modules)}: not imported after {seconds:g} s"),)
    if done.returncode == 0:
        return ()
    told = [line for line in done.stderr.splitlines() if line.startswith(MARK)]
    if told:
        return (_problem(told[-1].removeprefix(MARK)),)
    return (_problem(f"{', '.join(modules)}: {_end(done.returncode)}"),)


def _end(code: int) -> str:
    if code >= 0:
        return f"the process ended with {code}"
    try:
        return f"the process died of {signal.Signals(-code).name}"
    except ValueError:
        return f"the process died of signal {-code}"


def _problem(fact: str) -> Problem:
    return Problem(
        level="error",
        code="V704",
        key="backend.use",
        fact=f"cannot be imported: {fact}",
        remedy="install it again (`pip install --force-reinstall --no-deps PACKAGE==VERSION`), or "
        "make a fresh environment from the constraints file",
    )
