"""The rewards of a recipe outside of grpokit's own loop.

They run as in a training run: in worker processes with deadlines, a reward that fails has no score,
and a completion for which a weighted reward failed has no total. Nothing becomes 0.0.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grpokit.errors import ComponentError, RewardError
from grpokit.interop.names import installed
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import build_config
from grpokit.scoring.scorer import RewardSetup, Scorer, setups
from grpokit.scoring.signature import Asked
from grpokit.spec.flow import Completion, Message, Prompt, Rollout, Sampling, Scores
from grpokit.spec.recipe import RewardSection

__all__ = ["Asking", "Rewards", "reason", "refuse_groups"]


@dataclass(frozen=True, kw_only=True)
class Asking:
    """One prompt and its completions.

    ``tokens`` are the numbers of their tokens, None where only the text is known.
    """

    row: Mapping[str, Any]
    messages: Sequence[Mapping[str, Any]]
    texts: Sequence[str]
    tokens: Sequence[int] | None = None


class Rewards:
    """Rewards with weights, as ``rewards:`` of a recipe lists them.

    Args:
        sections: ``{use, with, weight, name}`` each, as in a recipe.
        timeout: seconds a completion, as ``scoring.timeout``.
        max_error_rate: as ``scoring.max_error_rate``; TRL's and axolotl's runs stop beyond it.
        isolate: call them in worker processes that can be killed.
        max_tokens: length limit of completions: whoever has as many tokens counts as truncated.
        catalog: the installed components by default.
        foreign: import rewards that are named by path (``verl:file.py``).

    Nothing starts before the first score. Safe to use from several threads, one after the other.
    """

    def __init__(
        self,
        sections: Sequence[Mapping[str, Any]],
        *,
        timeout: float = 10.0,
        max_error_rate: float = 0.05,
        isolate: bool = True,
        max_tokens: int | None = None,
        catalog: Catalog | None = None,
        foreign: bool = False,
    ) -> None:
        self.sections = tuple(RewardSection.model_validate(dict(each)) for each in sections)
        self.timeout, self.max_error_rate, self.isolate = timeout, max_error_rate, isolate
        self.max_tokens = max_tokens
        self._catalog, self._foreign = catalog, foreign
        self._scorer: Scorer | None = None
        self._setups: tuple[RewardSetup, ...] = ()
        self._lock = threading.RLock()

    @property
    def setups(self) -> tuple[RewardSetup, ...]:
        """The rewards, found among the installed ones.

        Raises:
            ComponentError: one is not installed here, or its settings are wrong.
        """
        if not self._setups:
            catalog = self._catalog or installed()
            if self._foreign:
                catalog = Catalog(catalog.plugins, foreign_rewards=True)
            found = setups(catalog, self.sections)
            for each in found:
                _check(each)
            self._setups = found
        return self._setups

    @property
    def names(self) -> tuple[str, ...]:
        """Their names in the recipe."""
        return tuple(setup.name for setup in self.setups)

    @property
    def weights(self) -> tuple[float, ...]:
        """Their weights, in the same order."""
        return tuple(setup.weight for setup in self.setups)

    def asked(self) -> dict[str, Asked]:
        """Reward name -> what it asks for."""
        with self._lock:
            return self._started().asked()

    def score(self, askings: Sequence[Asking]) -> Scores:
        """Scores all completions of the prompts."""
        with self._lock:
            scorer = self._started()
            if all(each.tokens is not None for each in askings):
                return scorer.score(self._rollout(askings))
            return scorer.score_texts(
                [each.row for each in askings],
                [each.texts for each in askings],
                messages=[_messages(each) for each in askings],
            )

    def close(self) -> None:
        """Ends the workers; the next score starts them again."""
        with self._lock:
            if self._scorer is not None:
                atexit.unregister(self.close)
                self._scorer.close()
                self._scorer = None

    def _started(self) -> Scorer:
        if self._scorer is None:
            self._scorer = Scorer(self.setups, timeout=self.timeout, isolate=self.isolate)
            self._scorer.start()
            atexit.register(self.close)
        return self._scorer

    def _rollout(self, askings: Sequence[Asking]) -> Rollout:
        completions = tuple(
            tuple(
                Completion(token_ids=(0,) * count, text=text, finish=self._finish(count))
                for text, count in zip(each.texts, each.tokens or (), strict=True)
            )
            for each in askings
        )
        group = max(map(len, completions), default=1)
        return Rollout(
            prompts=tuple(
                Prompt(id=str(index), index=index, row=each.row, messages=_messages(each))
                for index, each in enumerate(askings)
            ),
            prompt_ids=((),) * len(askings),
            completions=completions,
            sampling=Sampling(group=group, max_tokens=self.max_tokens or 1),
        )

    def _finish(self, count: int) -> Any:
        return "length" if self.max_tokens is not None and count >= self.max_tokens else "stop"


def _check(setup: RewardSetup) -> None:
    """Here and not in the worker, where wrong settings would be a crash."""
    from pydantic import ValidationError

    try:
        build_config(setup.entry, setup.settings)
    except ValidationError as error:
        told = [
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors()
        ]
        raise ComponentError(
            "its settings are wrong: " + "; ".join(each.removeprefix(": ") for each in told),
            place=f"reward {setup.entry.origin}",
            remedy=f"`grpokit plugins show {setup.entry.id}` lists them; `grpokit export reward "
            f"{setup.entry.id} --to TRAINER --with KEY=VALUE` writes a file with settings",
        ) from error


def _messages(asking: Asking) -> tuple[Message, ...]:
    return tuple(Message(role=each["role"], content=each["content"]) for each in asking.messages)


def reason(scores: Scores) -> RewardError:
    """Why no completion of these has a total."""
    if scores.failures:
        first = scores.failures[0]
        return RewardError(
            first.message, place=f"reward {first.reward} of {first.plugin}", remedy=first.remedy
        )
    names = ", ".join(scores.rewards)
    return RewardError(f"no reward applies to this completion ({names} returned None)")


def refuse_groups(rewards: Rewards, why: str) -> None:
    """Refuses rewards that compare the completions of a prompt: each would be compared with itself."""
    for name, asked in rewards.asked().items():
        if asked.form == "group":
            raise RewardError(
                f"{name} compares the completions of a prompt, and {why}",
                remedy="use a reward that scores a completion by itself",
            )
