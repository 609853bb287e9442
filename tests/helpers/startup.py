"""How long commands take to start, beside importing the libraries that they are made of.

    python tests/helpers/startup.py [rounds]

Runs are interleaved, so that a busy machine slows all of them alike; medians are compared.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

LIMIT = 3.5
"""A command may take this many times the time of the baseline, with all eight first-party plugins installed."""
BASELINE = ("-c", "import typer, rich, pydantic, pluggy, yaml")
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("--help",),
    ("--version",),
    ("plugins", "list"),
    ("recipes", "list"),
    ("recipes", "check", "quickstart"),
    ("plan", "no-such-recipe"),
)
"""The last one imports and loads all that a plan needs. What a real plan does then is its work and
not its start: it runs each reward on real rows, in processes of their own."""

Times = dict[tuple[str, ...], list[float]]


def measure(commands: Sequence[tuple[str, ...]], rounds: int, times: Times) -> None:
    """Adds the wall time of ``rounds`` runs of the baseline, key ``()``, and of each command."""
    # Bytecode is cached, as it is for an installed package.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(rounds):
        for command in [(), *commands]:
            tail = ("-m", "grpokit", *command) if command else BASELINE
            began = time.perf_counter()
            subprocess.run([sys.executable, *tail], env=environ, capture_output=True, check=False)
            times.setdefault(command, []).append(time.perf_counter() - began)


def ratios(times: Times) -> Mapping[tuple[str, ...], float]:
    """Median of each command over the median of the baseline."""
    base = statistics.median(times[()])
    return {key: statistics.median(runs) / base for key, runs in times.items() if key}


def _main() -> None:
    times: Times = {}
    measure(COMMANDS, int(sys.argv[1]) if len(sys.argv) > 1 else 9, times)
    print(f"{statistics.median(times[()]) * 1000:6.0f} ms  1.00  baseline: {BASELINE[1]}")
    for command, ratio in ratios(times).items():
        milliseconds = statistics.median(times[command]) * 1000
        print(f"{milliseconds:6.0f} ms  {ratio:.2f}  grpokit {' '.join(command)}")


if __name__ == "__main__":
    _main()
