"""Rewards for TRL's GRPOTrainer.

``grpokit.interop.trl.math_boxed`` is the reward ``math/boxed`` with its default settings, for
``reward_funcs``. It finds the gold answer under ``answer``, ``solution``, ``ground_truth`` or
``target``. ``functions`` gives the rewards of a recipe, with settings and weights.

A reward that abstains gives None, which TRL leaves out. One that fails gives None too, and beyond
``max_error_rate`` the run stops with its message. TRL adds up the rest: among several dotted names the
sum then lacks one reward. ``functions`` gives None for all of them instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from grpokit.errors import RewardError
from grpokit.interop.names import dotted, find_reward, installed
from grpokit.interop.rewards import Asking, Rewards, refuse
from grpokit.interop.rows import PACKED, unpack, with_answer
from grpokit.interop.talk import messages_of, text_of
from grpokit.scoring.budget import ErrorBudget
from grpokit.spec.flow import Scores

__all__ = ["TRLS_OWN", "functions"]

TRLS_OWN = (
    "prompt",
    "completion",
    "completion_ids",
    "trainer_state",
    "log_extra",
    "log_metric",
    "environments",
)
"""Names that TRL gives to reward functions beside the columns, and columns that it keeps back."""

Function = Callable[..., list[float | None]]
_cache: dict[str, Function] = {}


def __getattr__(name: str) -> Any:
    """The reward of a dotted name; asked for by import systems, so plugins need not exist here."""
    if name.startswith("_"):
        raise AttributeError(name)
    if name not in _cache:
        entry = find_reward(name, installed())
        rewards = Rewards([{"use": entry.id, "name": dotted(entry.spec.name)}])
        (function,) = functions(rewards)
        function.__qualname__ = name  # another process finds it by this name
        _cache[name] = function
    return _cache[name]


def functions(rewards: Rewards, *, group: int | None = None) -> list[Function]:
    """One function a reward, for ``reward_funcs``; ``rewards.weights`` are the ``reward_weights``.

    All rewards are scored together, once a batch: where one with a weight fails, the completion gets
    None from all of them, so that it has no total, as in grpokit.

    Args:
        rewards: the rewards of a recipe.
        group: ``num_generations``, which rewards that compare the completions of a prompt need.
    """
    batch = _Batch(rewards, group)
    return [_function(batch, name) for name in rewards.names]


class _Batch:
    """The rewards' scores of the batch that TRL asks about, one reward after the other."""

    def __init__(self, rewards: Rewards, group: int | None) -> None:
        self.rewards, self.group = rewards, group
        self._budget = ErrorBudget(rewards.max_error_rate)
        self._asked: tuple[Any, ...] = ()
        self._served: set[str] = set()
        self._scores: Scores | None = None

    def scores(
        self, name: str, prompts: Any, completions: Any, ids: Any, columns: Mapping[str, Any]
    ) -> Scores:
        # TRL hands the same lists to every function of a batch, once to each; holding them keeps
        # their identity. Whoever asks one function again has new questions, even in the same lists.
        asked = (prompts, completions, ids, *(part for each in columns.items() for part in each))
        if self._scores is None:
            self._refuse_cut()
        if self._scores is None or name in self._served or not _same(asked, self._asked):
            scores = self.rewards.score(list(self._askings(prompts, completions, ids, columns)))
            self._budget.add(scores)
            self._asked, self._scores, self._served = asked, scores, set()
        self._served.add(name)
        return self._scores

    def _askings(
        self, prompts: Any, completions: Any, ids: Any, columns: Mapping[str, Any]
    ) -> Iterator[Asking]:
        rows = [self._row(columns, index) for index in range(len(completions))]
        texts = [text_of(each) for each in completions]
        for first, last in self._spans([(p, r) for p, r in zip(prompts, rows, strict=True)]):
            yield Asking(
                row=rows[first],
                messages=messages_of(prompts[first]),
                texts=texts[first:last],
                tokens=None if ids is None else [len(each) for each in ids[first:last]],
            )

    def _row(self, columns: Mapping[str, Any], index: int) -> dict[str, Any]:
        found = {name: values[index] for name, values in columns.items()}
        row = unpack(found)
        return row if PACKED in found else with_answer(row)  # what we exported is as it was

    def _spans(self, asked: Sequence[Any]) -> list[tuple[int, int]]:
        """Where one prompt's completions begin and end."""
        size = self.group
        if size and len(asked) % size == 0:
            spans = [(first, first + size) for first in range(0, len(asked), size)]
            if all(asked[i] == asked[first] for first, last in spans for i in range(first, last)):
                return spans
        self._refuse_torn()
        starts = [i for i in range(len(asked)) if i == 0 or asked[i] != asked[i - 1]]
        return list(zip(starts, [*starts[1:], len(asked)], strict=True))

    def _refuse_torn(self) -> None:
        asked = self.rewards.asked()
        groups = ", ".join(name for name, each in asked.items() if each.form == "group")
        if groups and not self.group:
            raise RewardError(
                f"{groups} compares the completions of a prompt, and TRL does not say how many there are",
                remedy="take it from functions(rewards, group=NUM_GENERATIONS)",
            )
        if groups:
            raise RewardError(
                f"{groups} compares the {self.group} completions of a prompt, and this "
                "process has only some of them",
                remedy="make per_device_train_batch_size a multiple of num_generations",
            )

    def _refuse_cut(self) -> None:
        """TRL counts tokens, and does not say whether there would have been more."""
        if self.rewards.max_tokens is None:
            unknown, why = ("finish", "truncated"), "TRL does not say whether a completion was cut"
            remedy = "take it from functions(Rewards(..., max_tokens=MAX_COMPLETION_LENGTH))"
            refuse(self.rewards, unknown, why, remedy)


def _same(first: Sequence[Any], second: Sequence[Any]) -> bool:
    return len(first) == len(second) and all(a is b for a, b in zip(first, second, strict=True))


def _function(batch: _Batch, name: str) -> Function:
    def reward(
        prompts: Any,
        completions: Any,
        completion_ids: Any = None,
        *,
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        own = {key: values for key, values in columns.items() if key not in TRLS_OWN}
        scores = batch.scores(name, prompts, completions, completion_ids, own)
        if log_metric is not None:
            _log(scores, name, log_metric)
        # A total that is missing must stay missing: TRL adds up what it gets.
        return [
            None if total is None else value
            for totals, values in zip(scores.total, scores.rewards[name], strict=True)
            for total, value in zip(totals, values, strict=True)
        ]

    reward.__name__ = name
    reward.__doc__ = f"The reward {name} of grpokit."
    return reward


def _log(scores: Scores, name: str, log_metric: Callable[[str, float], None]) -> None:
    """Means of the reward's components, and how many of its calls failed."""
    for key, table in scores.components.items():
        values = [value for group in table for value in group if value is not None]
        if key.startswith(f"{name}/") and values:
            log_metric(f"components/{key}", sum(values) / len(values))
    failed = sum(failure.reward == name for failure in scores.failures)
    log_metric(f"failed/{name}", float(failed))
