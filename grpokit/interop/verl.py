"""Rewards for verl: ``reward.custom_reward_function.path=pkg://grpokit.interop.verl name=math_boxed``.

``math_boxed`` is the reward ``math/boxed``. Its settings, and what stands where it does not apply,
come from ``reward_kwargs``:

    +reward.custom_reward_function.reward_kwargs.settings.NAME=VALUE
    +reward.custom_reward_function.reward_kwargs.fallback=0.0

``compute_score`` gives the weighted rewards of a recipe as one function.

The gold answer is verl's ``ground_truth``; every other column is what ``extra_info`` holds.

verl has no "does not apply". Without a ``fallback`` such a completion raises, and so does one whose
reward failed: verl 0.9 logs it and trains without that completion (with ``trainer.use_v1=False`` the
run ends). With a ``fallback`` it gets that score, and ``unscored`` counts it.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grpokit.errors import GrpokitError, RewardError
from grpokit.interop.names import dotted, find_reward, installed
from grpokit.interop.rewards import UNKNOWN, Asking, Rewards, reason, refuse, refuse_correct
from grpokit.interop.rows import MESSAGES, PACKED, unpack, with_answer
from grpokit.interop.talk import messages_of
from grpokit.spec.flow import Scores

__all__ = ["VERLS_OWN", "compute_score"]

VERLS_OWN = ("num_turns", "rollout_reward_scores")
"""What verl puts into ``extra_info`` beside the columns."""

Function = Callable[..., dict[str, float]]
_cache: dict[str, Function] = {}


def __getattr__(name: str) -> Any:
    """The reward of a dotted name; verl asks for it by ``name``."""
    if name.startswith("_"):
        raise AttributeError(name)
    if name not in _cache:
        find_reward(name, installed())
        _cache[name] = _single(name)
    return _cache[name]


def compute_score(
    rewards: Rewards,
    *,
    name: str = "compute_score",
    fallback: float | None = None,
    correct: tuple[str, float] | None = None,
    components: Sequence[str] = (),
) -> Function:
    """The weighted rewards of a recipe as verl's one function.

    It returns ``score`` (the total), ``acc`` (1 where the reward ``correct[0]`` scores at least
    ``correct[1]``), each reward's score under ``reward/NAME``, the listed components under
    ``components/NAME/PART``, and ``unscored``. verl needs equal keys for all completions, so what is
    missing is NaN there.

    Args:
        rewards: the rewards of a recipe.
        name: its name in logs.
        fallback: score of a completion that has no total; it raises without.
        correct: the reward that decides about ``acc``, and from where on.
        components: ``NAME/PART`` of each component to report.
    """
    checked: list[bool] = []

    def function(
        data_source: Any,  # noqa: ARG001  # verl's name
        solution_str: str,
        ground_truth: Any,
        extra_info: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> dict[str, float]:
        _refuse_arguments(more, "none: write settings into the file")
        asking = _asking(solution_str, ground_truth, extra_info or {})
        if not checked:
            _refuse(rewards, asking)
            refuse_correct(rewards, correct)
            checked.append(True)
        return _result(rewards.score_one(asking), fallback, correct, components)

    function.__name__ = name
    return function


def _single(name: str) -> Function:
    made: dict[str, Rewards | Exception] = {}
    lock = threading.Lock()

    def rewards(settings: Mapping[str, Any], asking: Asking) -> Rewards:
        key = json.dumps(_data(settings), sort_keys=True)
        with lock:
            if key not in made:
                made[key] = _make(name, json.loads(key), asking)
        found = made[key]
        if isinstance(found, Exception):
            raise found
        return found

    def function(
        data_source: Any,  # noqa: ARG001  # verl's name
        solution_str: str,
        ground_truth: Any,
        extra_info: Mapping[str, Any] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        fallback: float | None = None,
        **more: Any,
    ) -> dict[str, float]:
        _refuse_arguments(more, "settings.NAME=VALUE and fallback")
        asking = _asking(solution_str, ground_truth, extra_info or {})
        found = rewards(settings or {}, asking)
        return _result(found.score_one(asking), fallback, (found.names[0], 1.0), ())

    function.__name__ = function.__qualname__ = name  # another process finds it by this name
    return function


def _make(name: str, settings: Mapping[str, Any], asking: Asking) -> Rewards | Exception:
    """The reward with its settings, or why it cannot be asked: verl would try with each completion."""
    entry = find_reward(name, installed())
    rewards = Rewards([{"use": entry.id, "name": dotted(entry.spec.name), "with": settings}])
    try:
        _refuse(rewards, asking)
    except GrpokitError as error:
        rewards.close()
        return error
    return rewards


def _refuse_arguments(more: Mapping[str, Any], known: str) -> None:
    """What verl adds begins with ``reward_``; anything else somebody wrote, and wants it to count."""
    other = [name for name in more if not name.startswith("reward_")]
    if other:
        raise RewardError(
            f"reward_kwargs has no {', '.join(other)}; it takes {known}",
            place="reward.custom_reward_function",
            remedy=f"settings of the reward stand under settings: settings.{other[0]}=...",
        )


def _refuse(rewards: Rewards, asking: Asking) -> None:
    unknown = ("group", *UNKNOWN, *(() if asking.messages else ("prompt", "messages")))
    refuse(rewards, unknown, "verl asks about one completion at a time, by its text")


def _asking(text: str, gold: Any, extra: Mapping[str, Any]) -> Asking:
    row = unpack({key: value for key, value in extra.items() if key not in VERLS_OWN})
    # A data set of verl's own keeps the whole solution under `answer` in `extra_info`; one that we
    # exported has the row as it was, and its answer as text in `ground_truth`.
    if PACKED not in extra:
        row = with_answer(row if gold is None else {**row, "answer": gold})
    said = extra.get(MESSAGES)
    messages = (
        json.loads(said) if isinstance(said, str) else messages_of(extra.get("raw_prompt", ()))
    )
    return Asking(row=row, messages=messages, texts=[text])


def _result(
    scores: Scores,
    fallback: float | None,
    correct: tuple[str, float] | None,
    components: Sequence[str],
) -> dict[str, float]:
    total = scores.total[0][0]
    if total is None and fallback is None:
        error = reason(scores)
        if not scores.failures:
            error.remedy = "give a fallback: the score of completions that no reward applies to"
        raise error
    score = fallback if total is None else total
    assert score is not None
    found: dict[str, float] = {"score": float(score)}
    if correct is not None:
        value = scores.rewards[correct[0]][0][0]
        found["acc"] = float(value is not None and value >= correct[1])
    for name, table in scores.rewards.items():
        found[f"reward/{name}"] = _or_nan(table[0][0])
    for name in components:
        component = scores.components.get(name)
        found[f"components/{name}"] = math.nan if component is None else _or_nan(component[0][0])
    return {**found, "unscored": float(total is None)}


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _data(value: Any) -> Any:
    """Plain data of what verl's configuration holds: OmegaConf's containers are no dicts."""
    if isinstance(value, Mapping):
        return {str(key): _data(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_data(each) for each in value]
    return value
