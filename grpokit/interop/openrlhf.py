"""Rewards for OpenRLHF: a file for ``--reward.remote_url`` that has ``reward_func``.

``grpokit export reward NAME --to openrlhf`` writes such a file::

    from grpokit.interop.openrlhf import reward_func as make
    from grpokit.interop.rewards import Rewards

    reward_func = make(Rewards([{"use": "number"}]))

OpenRLHF gives the prompt, the label (``--data.label_key``) and the text of prompt and completion with
special tokens. The label is the row's ``answer``; a label that is a mapping is the row.

A completion without a score raises. OpenRLHF logs that and keeps the sample without a reward, and its
trainer stops at such a sample. With a ``fallback`` it gets that score, and ``unscored`` counts it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from grpokit.errors import RewardError
from grpokit.interop.rewards import UNKNOWN, Asking, Rewards, reason, refuse, refuse_correct
from grpokit.interop.rows import with_answer
from grpokit.spec.flow import Scores

__all__ = ["ENDS", "reward_func"]

ENDS = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|return|>",
    "<end_of_turn>",
    "<eos>",
    "</s>",
    "<pad>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)
"""Tokens that end a completion; OpenRLHF leaves them in the text."""

Function = Callable[[Sequence[str], Sequence[str], Sequence[Any]], dict[str, Any]]


def reward_func(
    rewards: Rewards,
    *,
    fallback: float | None = None,
    correct: tuple[str, float] | None = None,
    ends: Sequence[str] = ENDS,
) -> Function:
    """The weighted rewards of a recipe as OpenRLHF's ``reward_func(queries, prompts, labels)``.

    It returns ``rewards`` (the total), ``scores`` (1 where the reward ``correct[0]`` scores at least
    ``correct[1]``; the total within 0 and 1 without ``correct``), which OpenRLHF uses to filter
    groups, and ``extra_logs``: the score of each reward, and ``unscored``. OpenRLHF needs equal keys for
    all completions, so a score that is missing is NaN there.

    Args:
        rewards: the rewards of a recipe.
        fallback: score of a completion that has no total; it raises without.
        correct: the reward that decides about ``scores``, and from where on.
        ends: tokens to take from the end of the completion.
    """
    checked: list[bool] = []

    def function(
        queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any]
    ) -> dict[str, Any]:
        if len(queries) != 1:
            raise RewardError(
                f"{len(queries)} completions at a time", remedy="OpenRLHF asks about one at a time"
            )
        if not checked:
            refuse(
                rewards,
                ("group", *UNKNOWN),
                "OpenRLHF asks about one completion at a time, by its text",
            )
            refuse_correct(rewards, correct)
            checked.append(True)
        asking = Asking(
            row=_row(labels[0]),
            messages=[{"role": "user", "content": prompts[0]}],
            texts=[completion_of(queries[0], prompts[0], ends)],
        )
        return _result(rewards.score_one(asking), fallback, correct)

    return function


def completion_of(query: str, prompt: str, ends: Sequence[str] = ENDS) -> str:
    """What stands behind the prompt, without the tokens that end it.

    Raises:
        RewardError: the prompt is not in the text, so where the completion begins is not known.
    """
    begin = query.find(prompt)
    if begin < 0:
        raise RewardError(
            "the text does not hold its prompt, so where the completion begins is not known",
            remedy="raise OpenRLHF's prompt length (it cuts long prompts), "
            "or use a tokenizer that decodes what it encodes",
        )
    text = query[begin + len(prompt) :]
    while (
        end := next((each for each in ends if text.rstrip("\n").endswith(each)), None)
    ) is not None:
        text = text.rstrip("\n").removesuffix(end)
    return text


def _row(label: Any) -> dict[str, Any]:
    return with_answer(label) if isinstance(label, Mapping) else {"answer": label}


def _result(
    scores: Scores, fallback: float | None, correct: tuple[str, float] | None
) -> dict[str, Any]:
    total = scores.total[0][0]
    value = fallback if total is None else total
    if value is None:
        error = reason(scores)
        if not scores.failures:
            error.remedy = "give a fallback: the score of completions that no reward applies to"
        raise error
    logs = {name: table[0][0] for name, table in scores.rewards.items()}
    right = min(1.0, max(0.0, value))
    if correct is not None:
        found = logs[correct[0]]
        right = float(found is not None and found >= correct[1])
    kept = {f"reward/{name}": math.nan if each is None else each for name, each in logs.items()}
    return {
        "rewards": float(value),
        "scores": right,
        "extra_logs": {**kept, "unscored": float(total is None)},
    }
