"""The rates that stand beside an accuracy: what can be wrong with answers, or with how they are marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from grpokit.answers.normal import marked_answer
from grpokit.evaluate.texts import lengths, thinks, unclosed, word_rates

if TYPE_CHECKING:
    from grpokit.evaluate.records import Item

__all__ = ["constant_answer", "failures", "rates"]


def rates(
    items: Sequence[Item],
    *,
    decides: str,
    reads: bool = False,
    forms: Mapping[str, float] | None = None,
    words: Sequence[str] = (),
) -> dict[str, Any]:
    """Shares of all answers, and counts of failures.

    Args:
        items: every answer.
        decides: the reward that means "correct".
        reads: whether it says how it reads an answer.
        forms: the rewards that look at the form alone, with their full scores.
        words: those to count.
    """
    texts = [item.text for item in items]
    tokens = [item.tokens for item in items]
    kinds = failures(items, decides)
    return {
        "ended": _share(item.finish == "stop" for item in items),
        "form": {
            name: _share(
                score is not None and score >= full
                for item in items
                for score in (item.scores.get(name),)
            )
            for name, full in (forms or {}).items()
        },
        "no_answer": _share(item.read is None and "answer" not in item.unread for item in items)
        if reads
        else None,
        "unread": sum(bool(item.unread) for item in items),
        "timeouts": kinds["timeout"],
        "errors": kinds.total() - kinds["timeout"],
        "undecided": _share(bool(item.parts.get("undecided")) for item in items),
        "unclosed_thinking": _share(map(unclosed, texts)) if any(map(thinks, texts)) else None,
        "tokens": lengths(tokens),
        "constant": constant_answer(items) if reads else None,
        "words": word_rates(words, texts, sum(tokens)),
    }


def failures(items: Sequence[Item], reward: str) -> Counter[str]:
    """How many answers a reward could not score, by kind: ``timeout``, ``exception``, ``crash``, ..."""
    return Counter(
        item.failures[reward].partition(":")[0] for item in items if reward in item.failures
    )


def constant_answer(items: Sequence[Item]) -> dict[str, Any] | None:
    """The most frequent answer, and how much more frequent it is than the most frequent gold answer.

    A policy that always says the same is as often right as that gold answer. None where no answer was read.
    """
    said = Counter(item.read for item in items if item.read is not None)
    if not said:
        return None
    golds = Counter(marked_answer(item.answer) for item in items)
    del golds[None]
    answer, often = min(said.items(), key=lambda pair: (-pair[1], pair[0]))
    gold, known = min(golds.items(), key=lambda pair: (-pair[1], str(pair[0])), default=(None, 0))
    share, base = often / len(items), known / len(items)
    return {
        "answer": answer,
        "share": share,
        "gold": gold,
        "gold_share": base,
        "excess": share - base,
    }


def _share(values: Iterable[bool]) -> float | None:
    known = list(values)
    return fmean(known) if known else None
