"""Weights & Biases. Without a key nothing leaves this machine: the run is recorded offline, in its folder."""

from __future__ import annotations

import netrc
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from grpokit.api import Completion, Problem, Recipe
from grpokit.builtins.callbacks.offline import held
from grpokit.builtins.callbacks.tracker import (
    Note,
    Tracker,
    TrackerConfig,
    missing,
    settings_of,
)

__all__ = ["Wandb", "WandbConfig", "preflight"]

HOSTS = ("api.wandb.ai", "api.forge.coreweave.com")
"""Where Weights & Biases is, by its old and its new name."""
PATIENCE = 60.0
"""Seconds that the end of a run waits for uploads; what is left can be sent with ``wandb sync``."""


class WandbConfig(TrackerConfig):
    """Settings of the callback `wandb`."""

    project: str = "grpokit"
    """The project."""
    entity: str | None = None
    """User or team; your default one if left out."""
    mode: Literal["online", "offline", "disabled"] | None = None
    """Left out, WANDB_MODE decides; without it `online` where a key is configured (`wandb login`), else `offline`."""
    group: str | None = None
    """Group of runs that belong together."""
    tags: tuple[str, ...] = ()
    """Tags of the run."""


def preflight(config: WandbConfig) -> Iterator[Problem]:
    yield from missing("wandb", "wandb", "wandb")
    stated = config.mode or os.environ.get("WANDB_MODE")
    if not stated and _mode(config) == "offline":
        yield Problem(
            level="warning",
            fact="no key for Weights & Biases is configured: the run is recorded offline, in its folder",
            remedy="`wandb login` before the run, or `wandb sync RUN/wandb/offline-run-*` after it; "
            "`mode: offline` says that it is meant",
        )


class Wandb(Tracker):
    def __init__(self, config: WandbConfig) -> None:
        super().__init__(config)
        self.config = config
        self.name = "-".join(["wandb", *([config.entity] if config.entity else []), config.project])
        self.run: Any = None

    def open(self, run: Path, recipe: Recipe, note: Note) -> None:
        import wandb

        again, note.id = bool(note.id), note.id or secrets.token_hex(6)
        mode = _mode(self.config)
        if again and mode == "offline":
            note.step, note.evaluated = held(run / "wandb", note.id)
        self.run = wandb.init(
            project=self.config.project,
            entity=self.config.entity,
            group=self.config.group,
            tags=list(self.config.tags) or None,
            name=run.name,
            id=note.id,
            resume="allow" if mode == "online" else None,  # offline there is nothing to ask
            mode=mode,
            dir=str(run),
            config=settings_of(recipe),
            settings=wandb.Settings(
                silent=True, console="off", save_code=False, finish_timeout=PATIENCE
            ),
        )
        if again and mode == "online":
            note.step = min(note.step, int(self.run.summary.get("step", 0)))
        # Not wandb's own step: it drops what comes late, such as an evaluation of a step that is sent.
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")

    def send(self, step: int, numbers: Mapping[str, float]) -> None:
        self.run.log({"step": step, **numbers})

    def show(self, step: int, samples: Sequence[Completion]) -> None:
        import wandb

        rows = [[step, place, each.text, each.finish] for place, each in enumerate(samples)]
        table = wandb.Table(columns=["step", "sample", "completion", "finish"], data=rows)
        self.run.log({"step": step, "samples": table})

    def close(self, *, complete: bool) -> None:
        self.run.finish(exit_code=0 if complete else 1)


def _mode(config: WandbConfig) -> str:
    chosen = config.mode or os.environ.get("WANDB_MODE")
    return chosen or ("online" if any(_keys()) else "offline")


def _keys() -> Iterable[bool]:
    """Where a key may stand, as wandb looks for it; the key itself is not kept."""
    yield "WANDB_API_KEY" in os.environ or "WANDB_IDENTITY_TOKEN_FILE" in os.environ
    own = urlsplit(os.environ.get("WANDB_BASE_URL", "")).hostname
    hosts = [own] if own else HOSTS
    given = os.environ.get("NETRC")
    for path in [given] if given else ["~/.netrc", "~/_netrc"]:
        try:
            known = netrc.netrc(str(Path(path).expanduser())).hosts
        except (OSError, netrc.NetrcParseError):
            continue
        yield any(host in known for host in hosts)
