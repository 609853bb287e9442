"""The rewards of a recipe outside of grpokit's own loop.

They run as in a training run: in worker processes with deadlines, a reward that fails has no score,
and a completion for which a weighted reward failed has no total. Nothing becomes 0.0.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grpokit.errors import ComponentError, RewardError
from grpokit.interop.names import installed
from grpokit.interop.together import Together
from grpokit.registry.catalog import Catalog, Entry
from grpokit.registry.resolve import build_config
from grpokit.scoring.facts import needs_model, no_model
from grpokit.scoring.memory import MEMORY
from grpokit.scoring.scorer import RewardSetup, Scorer, setups
from grpokit.scoring.signature import Asked
from grpokit.spec.flow import Completion, Message, Prompt, Rollout, Sampling, Scores
from grpokit.spec.recipe import RewardSection

if TYPE_CHECKING:
    from pydantic import ValidationError

__all__ = [
    "UNKNOWN",
    "Asking",
    "Rewards",
    "reason",
    "refuse",
    "refuse_measured",
]

UNKNOWN = ("finish", "truncated", "sample")
"""Facts of a completion that a trainer does not tell where it hands over the text alone."""
ALONE = "use a reward that scores a completion by itself, from its text"

_LEFT: list[Scorer] = []
"""Scorers of a process that this one was forked from: their workers are not ours to end."""


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
        memory: GiB a worker may take, as ``scoring.memory``; None is no limit.
        max_tokens: length limit of completions: whoever has as many tokens counts as truncated.
        catalog: the installed components by default.
        foreign: import rewards that are named by path (``verl:file.py``).

    Nothing starts before the first score, and a copy in another process (forked, or pickled) starts
    workers of its own. Safe to use from several threads.
    """

    def __init__(
        self,
        sections: Sequence[Mapping[str, Any]],
        *,
        timeout: float = 10.0,
        max_error_rate: float = 0.05,
        isolate: bool = True,
        memory: float | None = MEMORY,
        max_tokens: int | None = None,
        catalog: Catalog | None = None,
        foreign: bool = False,
    ) -> None:
        self.sections = tuple(RewardSection.model_validate(dict(each)) for each in sections)
        self.timeout, self.max_error_rate, self.isolate = timeout, max_error_rate, isolate
        self.memory, self.max_tokens = memory, max_tokens
        self._catalog, self._foreign = catalog, foreign
        self._setups: tuple[RewardSetup, ...] = ()
        self._begin()

    def _begin(self) -> None:
        """What belongs to one process."""
        self._process = os.getpid()
        self._scorer: Scorer | None = None
        self._asked: dict[str, Asked] | None = None
        self._lock = threading.RLock()
        self._together = Together(self.score)

    def __getstate__(self) -> dict[str, Any]:
        own = ("_process", "_scorer", "_asked", "_lock", "_together", "_setups")
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._setups = ()
        self._begin()

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
            refuse_measured([each.entry for each in found])
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
        """Reward name -> what it asks for. It never changes, so only the first to ask waits."""
        here = self._here()  # before anything is read: in a fork it is the parent's
        if self._asked is None:
            with here:
                self._asked = self._started().asked()
        return self._asked

    def score(self, askings: Sequence[Asking]) -> Scores:
        """Scores all completions of the prompts."""
        with self._here():
            scorer = self._started()
            if all(each.tokens is not None for each in askings):
                return scorer.score(self._rollout(askings))
            return scorer.score_texts(
                [each.row for each in askings],
                [each.texts for each in askings],
                messages=[_messages(each) for each in askings],
            )

    def score_one(self, asking: Asking) -> Scores:
        """Scores one question. Those that several threads ask at the same time are scored together.

        A judge would otherwise answer one completion after the other, where a trainer asks about
        each in a thread of its own.
        """
        if all(each.form == "row" for each in self.asked().values()):
            return self._together(asking)
        return self.score([asking])  # who is scored together would be a matter of chance

    def close(self) -> None:
        """Ends the workers; the next score starts them again."""
        with self._here():
            if self._scorer is not None:
                atexit.unregister(self.close)
                self._scorer.close()
                self._scorer = None

    def _here(self) -> threading.RLock:
        """The lock of this process. A fork has its parent's workers, and leaves them alone."""
        if self._process != os.getpid():
            if self._scorer is not None:
                _LEFT.append(self._scorer)
            self._begin()
        return self._lock

    def _started(self) -> Scorer:
        if self._scorer is None:
            scorer = Scorer(
                self.setups, timeout=self.timeout, isolate=self.isolate, memory=self.memory
            )
            scorer.start()
            self._scorer = scorer
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
        raise ComponentError(
            "its settings are wrong: " + "; ".join(_problems(error)),
            place=f"reward {setup.entry.origin}",
            remedy=f"`grpokit plugins show {setup.entry.id}` lists them; `grpokit export reward "
            f"{setup.entry.id} --to TRAINER --with KEY=VALUE` writes a file with settings",
        ) from error


def _problems(error: ValidationError) -> tuple[str, ...]:
    """What is wrong with settings, a line each."""
    told = []
    for each in error.errors():
        fact = each["msg"].removeprefix("Value error, ")
        told.append(f"{'.'.join(map(str, each['loc']))}: {fact}" if each["loc"] else fact)
    return tuple(told)


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


def refuse_correct(rewards: Rewards, correct: tuple[str, float] | None) -> None:
    """Refuses a name that no reward has as the one that decides what is right."""
    if correct is not None and correct[0] not in rewards.names:
        raise RewardError(
            f"correct names {correct[0]!r}, and the rewards are {', '.join(rewards.names)}",
            remedy="name one of them",
        )


def refuse_measured(entries: Sequence[Entry]) -> None:
    """Refuses rewards that ask what the policy says about a completion: no other trainer tells.

    Raises:
        PreflightError: there are some.
    """
    if any(map(needs_model, entries)):
        raise no_model(entries, place="rewards in another trainer")


def refuse(rewards: Rewards, unknown: Sequence[str], why: str, remedy: str = ALONE) -> None:
    """Refuses rewards that ask for what a trainer does not tell: they would get an invented value.

    ``group`` among the unknown is a completion's group: each would be compared with itself alone.
    """
    for name, asked in rewards.asked().items():
        lacking = [f"`{fact}`" for fact in unknown if {fact, f"{fact}s"} & {*asked.required}]
        if "group" in unknown and asked.form == "group":
            what = "compares the completions of a prompt"
        elif lacking:
            what = f"asks for {' and '.join(lacking)}"
        else:
            continue
        raise RewardError(f"{name} {what}, and {why}", remedy=remedy)
