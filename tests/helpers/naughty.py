"""Set-ups of the rewards in ``naughty_rewards`` as if a plugin had registered them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grpokit.api import RewardSpec
from grpokit.registry.catalog import Entry
from grpokit.registry.record import PluginRecord
from grpokit.scoring.scorer import RewardSetup

PLUGIN = PluginRecord(
    name="naughty",
    distribution="grpokit-naughty",
    version="1.2",
    module="naughty_rewards",
    state="loaded",
)


def naughty(
    name: str,
    *,
    weight: float = 1.0,
    module: str = "naughty_rewards",
    settings: Mapping[str, Any] | None = None,
    **spec: Any,
) -> RewardSetup:
    reward = RewardSpec(name=name, summary="", target=f"{module}:{name}", **spec)
    entry = Entry(id=f"naughty/{name}", kind="reward", spec=reward, plugin=PLUGIN)
    return RewardSetup(name=name, entry=entry, settings=settings or {}, weight=weight)


def children(pid: int | None = None) -> set[int]:
    """Processes whose parent is ``pid`` (this one by default), zombies included."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid or os.getpid()}/task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Waits for the end of a process; whether it came."""
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)
