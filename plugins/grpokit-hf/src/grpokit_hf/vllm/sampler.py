"""What the backend needs of a vLLM, wherever it runs; and what it raises when it is gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from grpokit.api import GrpokitError, ShouldStop
from grpokit_hf.nn.decode import Drawn

__all__ = ["Ask", "Ended", "EngineGone", "Sampler", "Weights"]

Ended = Callable[[int, Drawn], None]
"""Takes a row's place in the ask and its completion."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What the engine shall compute with.

    Attributes:
        version: counts up by one with each change; names the adapter.
        adapter: folder of the adapter, or None for the model as it was loaded.
        model: folder whose weights replace those that were loaded; None where nothing was replaced.
    """

    version: int = 0
    adapter: Path | None = None
    model: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One call for completions. Row n continues ``prompts[owners[n]]`` with its own ``settings[n]``."""

    prompts: Sequence[Sequence[int]]
    owners: Sequence[int]
    settings: Sequence[Mapping[str, Any]]
    with_logprobs: bool = field(default=True)
    until: Mapping[str, Any] | None = None
    """How an engine of ours can end rows at their answers: ``word``, the tokenizer's ``folder``, and
    ``thinking`` row by row. Others go on; what they draw then is cut off."""


class EngineGone(GrpokitError):
    """The engine's process ended, or the server does not answer."""


class Sampler(Protocol):
    """A running vLLM. Any method may raise :class:`EngineGone`."""

    def sample(
        self, ask: Ask, should_stop: ShouldStop | None, ended: Ended | None = None
    ) -> list[Drawn]:
        """The completions in the order of the rows; aborts them all when ``should_stop`` raises.

        ``ended`` hears of each row when it ends, from the thread that called, in any order; when it
        raises, the rest is aborted too.
        """

    def score(self, ids: Sequence[int]) -> list[float]:
        """Log-probs of ``ids[1:]`` at temperature 1, each given the tokens before it."""

    def load(self, weights: Weights) -> None:
        """From now on computes with these weights; nothing that was cached under others is used."""

    def sleep(self) -> None:
        """Gives memory back until ``wake``, where the settings ask for it."""

    def wake(self) -> None: ...

    def restart(self, should_stop: ShouldStop | None = None) -> None:
        """Starts again with the weights as they were loaded first, or waits for a server to be back."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Engine and version, for evaluations."""

    def close(self) -> None:
        """Ends what was started; leaves no process behind."""
