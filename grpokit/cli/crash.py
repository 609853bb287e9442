"""An exception that nobody raised on purpose: one line for the user, the traceback in a file."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence

from grpokit import __version__
from grpokit.cli.render import safe, warn

__all__ = ["report_crash"]


def report_crash(error: BaseException, args: Sequence[str]) -> None:
    """Writes a crash file and says where it is and what to do with it."""
    path = _write(error, args)
    what = safe(f"{type(error).__name__}: {error}", limit=300, one_line=True)
    where = f"the traceback is in {path}" if path else "the traceback could not be written"
    warn(f"unexpected error: {what}")
    warn(
        f"This is a bug in grpokit or in a plugin; {where}. "
        "Report it with that file to the issue tracker, or see it at once with --debug."
    )


def _write(error: BaseException, args: Sequence[str]) -> str:
    text = "".join(traceback.format_exception(error))
    head = (
        f"grpokit {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"command: grpokit {' '.join(args)}\n\n"
    )
    try:
        handle, path = tempfile.mkstemp(prefix="grpokit-crash-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(head + text)
    except OSError:
        sys.stderr.write(safe(text, limit=20_000) + "\n")
        return ""
    return path
