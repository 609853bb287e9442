"""Rewards for TRL's GRPOTrainer.

``grpokit.interop.trl.math_boxed`` is the reward ``math/boxed`` with its default settings, for
``reward_funcs``. It finds the gold answer under ``answer``, ``solution``, ``ground_truth`` or
``target``. ``functions`` gives the rewards of a recipe, with settings and weights.

A reward that abstains gives None, which TRL leaves out. One that fails gives None too, and beyond
``max_error_rate`` the run stops with its message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from grpokit.errors import RewardError
from grpokit.interop.names import dotted, find_reward, installed
from grpokit.interop.rewards import Asking, Rewards
from grpokit.interop.rows import unpack, with_answer
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
        _cache[name] = functions(rewards, aliases=True)[0]
    return _cache[name]


def functions(
    rewards: Rewards, *, group: int | None = None, aliases: bool = False
) -> list[Function]:
    """One function a reward, for ``reward_funcs``; ``rewards.weights`` are the ``reward_weights``.

    All rewards are scored together, once a batch: where one with a weight fails, the completion gets
    None from all of them, so that it has no total, as in grpokit.

    Args:
        rewards: the rewards of a recipe.
        group: completions a prompt, where the trainer keeps them together.
        aliases: look for the gold answer under its names elsewhere.
    """
    batch = _Batch(rewards, group, aliases=aliases)
    return [_function(batch, name) for name in rewards.names]


class _Batch:
    """The rewards' scores of the batch that TRL asks about, one reward after the other."""

    def __init__(self, rewards: Rewards, group: int | None, *, aliases: bool) -> None:
        self.rewards, self.group, self.aliases = rewards, group, aliases
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
        row = unpack({name: values[index] for name, values in columns.items()})
        return with_answer(row) if self.aliases else row

    def _spans(self, asked: Sequence[Any]) -> list[tuple[int, int]]:
        """Where one prompt's completions begin and end."""
        size = self.group
        if size and len(asked) % size == 0:
            spans = [(first, first + size) for first in range(0, len(asked), size)]
            if all(asked[i] == asked[first] for first, last in spans for i in range(first, last)):
                return spans
        starts = [i for i in range(len(asked)) if i == 0 or asked[i] != asked[i - 1]]
        spans = list(zip(starts, [*starts[1:], len(asked)], strict=True))
        self._refuse_torn(spans)
        return spans

    def _refuse_torn(self, spans: Sequence[tuple[int, int]]) -> None:
        torn = self.group is not None and any(last - first != self.group for first, last in spans)
        groups = (
            [n for n, asked in self.rewards.asked().items() if asked.form == "group"]
            if torn
            else []
        )
        if groups:
            raise RewardError(
                f"{', '.join(groups)} compares the {self.group} completions of a prompt, and this "
                "process has only some of them",
                remedy="make per_device_train_batch_size a multiple of num_generations",
            )


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

    reward.__name__ = reward.__qualname__ = name
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


def text_of(completion: Any) -> str:
    """The text of a completion: itself, or what the assistant says in a list of messages."""
    if isinstance(completion, str):
        return completion
    said = [each for each in completion if each.get("role", "assistant") == "assistant"]
    return "".join(_content(each.get("content")) for each in said)


def messages_of(prompt: Any) -> list[dict[str, Any]]:
    """The messages of a prompt; plain text is what the user says."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": each["role"], "content": _content(each.get("content"))} for each in prompt]


def _content(content: Any) -> str:
    """Text, or the text parts of a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())
