"""One process of a run that several share: ``python -m grpokit.cli.worker RUN [--plain]``.

Internal: ``grpokit train --processes N`` starts it. The first process shows the run; the others are
silent but for what they print into their log.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from grpokit.cli import main as top
from grpokit.cli.consent import FLAG
from grpokit.errors import ExitCode

__all__ = ["main"]


def main() -> None:
    """The entry of the module."""
    top.prepare_process()
    # Until the run listens to signals there is nothing to save; and Python would hear of Ctrl-C only
    # once the processes have met, which never happens if another one has ended.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _die_with_launcher()
    arguments = sys.argv[1:]
    debug = os.environ.get("GRPOKIT_DEBUG", "") not in ("", "0")
    sys.exit(top.guarded(lambda: _work(arguments), arguments, debug=debug))


def _work(arguments: list[str]) -> int:
    from grpokit.cli.train import run_here
    from grpokit.engine.rundir import RunDir
    from grpokit.registry.catalog import Catalog

    run = RunDir.existing(Path(arguments[0]))
    run_here(
        run.recipe(),
        run,
        Catalog.load(foreign_rewards=FLAG in arguments),
        title=run.path.name,
        plain="--plain" in arguments,
        silent=os.environ.get("RANK", "0") != "0",
    )
    return ExitCode.OK


def _die_with_launcher() -> None:
    """Saves and ends when the launcher is gone, so that nothing trains on unseen."""
    launcher = int(os.environ.get("GRPOKIT_LAUNCHER", "0"))

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    if launcher:
        threading.Thread(target=watch, name="grpokit-launcher-watch", daemon=True).start()


if __name__ == "__main__":
    main()
