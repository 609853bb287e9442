"""Will this recipe learn? From the numbers of a probe, with the recipe keys that would change the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from grpokit.spec.recipe import Recipe

__all__ = ["VERDICTS", "verdict"]

VERDICTS = ("will learn", "may learn slowly", "will not learn")
"""From the best to the worst."""

LIVE = 0.02
"""Live share whose upper bound must be higher for a recipe to learn at all."""
FEW = 0.25
"""Live share below which learning is slow: most completions are drawn for nothing."""
CUT = 0.5
"""Truncated share from which answers rather than their content decide."""
SEEN = 0.1
"""Share of completions that hold the gold answer, from which a reward should have found some."""


class Finding(NamedTuple):
    """What was found, what to do, and how bad it is: a place in ``VERDICTS``."""

    level: int
    fact: str
    remedy: str


def verdict(data: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The worst of all findings; ``reasons`` has each with its remedy, the worst first."""
    found = sorted(_findings(data, recipe), key=lambda each: -each.level)
    worst = max((each.level for each in found), default=0)
    shown = [
        {"verdict": VERDICTS[each.level], "fact": each.fact, "remedy": each.remedy}
        for each in found
    ]
    return {"verdict": VERDICTS[worst], "reasons": shown}


def _findings(data: Mapping[str, Any], recipe: Recipe) -> Iterator[Finding]:
    dead = data["dead"][str(data["group"])]
    stuck = 1 - dead["interval"][0] <= LIVE or dead["now"] == 1.0
    yield from _scoreless(data)
    if stuck:
        yield from _stuck(data, recipe)
    else:
        yield from _slow(data, recipe)
    if data["truncated"] >= CUT:
        level = 2 if stuck and data["truncated"] >= 0.9 else 1
        yield Finding(
            level,
            f"{data['truncated']:.0%} of the completions are cut off at {recipe.rollout.max_tokens} tokens",
            "raise rollout.max_tokens, or ask for shorter answers in prompt.system",
        )
    yield from _unseen(data, stuck=stuck)
    if data["rehearsal"]["ended"]:
        yield Finding(
            2,
            f"the rehearsal ended: {data['rehearsal']['ended']}",
            "take questions that are solved sometimes, or another algorithm.parts.allocate",
        )


def _scoreless(data: Mapping[str, Any]) -> Iterator[Finding]:
    absent = data["total"]["abstained"]
    if absent == 1:
        yield Finding(
            2, "no completion has a score", "`grpokit rewards try` shows why; see rewards"
        )
    elif absent > 0.5:
        yield Finding(
            1, f"{absent:.0%} of the completions have no score", "repair or replace rewards"
        )


def _stuck(data: Mapping[str, Any], recipe: Recipe) -> Iterator[Finding]:
    """No group is live. One of four reasons."""
    solved, total = data["solved"], data["total"]
    name = data["passing"]["reward"]
    if total["abstained"] == 1:
        return
    if solved["known"] and solved["always"] == solved["known"]:
        yield Finding(
            2,
            "every question is solved already, every time",
            "take harder questions (dataset, `grpokit difficulty`)",
        )
    elif solved["mean"] == 0:
        yield Finding(
            2,
            f"no completion passes `{name}`, and nothing else tells completions apart",
            "take easier questions (dataset), show the form of an answer (prompt.examples), add a reward that pays "
            "a part (rewards), or begin with a model that has seen such answers (model.id)",
        )
    elif total["low"] == total["high"]:
        yield Finding(
            2,
            "every completion has the same total",
            "see rewards: weights, and what they pay for",
        )
    else:
        low, high = data["suggested"]["band"]["low"], data["suggested"]["band"]["high"]
        yield Finding(
            2,
            "each question is solved always or never, so all totals of a group are equal",
            f"take questions between (`grpokit difficulty`, then band {low:g} to {high:g}), raise "
            f"rollout.group above {recipe.rollout.group}, or rollout.temperature",
        )


def _slow(data: Mapping[str, Any], recipe: Recipe) -> Iterator[Finding]:
    dead = data["dead"][str(data["group"])]
    name = data["passing"]["reward"]
    if data["solved"]["mean"] == 0:
        yield Finding(
            1,
            f"no completion passes `{name}` yet: until one does, only the other rewards teach",
            "take easier questions (dataset), or a larger rollout.group",
        )
    if 1 - dead["share"] < FEW:
        size = data["suggested"]["group"]
        more = (
            f"rollout.group: {size['size']}"
            if size and size["size"] > data["group"]
            else "rollout.group"
        )
        yield Finding(
            1,
            f"about {dead['share']:.0%} of the groups will be dead",
            f"a larger {more}, questions of the band below, or algorithm.use: dapo",
        )
    rounds = data["rounds"]
    if rounds is not None and rounds["over"] > 0.05:
        yield Finding(
            1,
            f"{rounds['over']:.0%} of the steps would reach the bound of {rounds['most']} rounds",
            "take questions that are solved sometimes, or raise max_rounds of algorithm.parts.allocate",
        )
    if data["duplicates"] > 0.5 and recipe.rollout.temperature < 0.8:
        yield Finding(
            1,
            f"{data['duplicates']:.0%} of the completions repeat another of their group",
            f"raise rollout.temperature above {recipe.rollout.temperature:g}",
        )


def _unseen(data: Mapping[str, Any], *, stuck: bool) -> Iterator[Finding]:
    """The gold answers are there, and the reward finds none of them."""
    gold, name = data["gold_in_text"], data["passing"]["reward"]
    if data["solved"]["mean"] == 0 and gold is not None and gold >= SEEN:
        yield Finding(
            2 if stuck else 1,
            f"{gold:.0%} of the completions hold the gold answer somewhere, and `{name}` counts none of them",
            "what the prompt asks for and what the reward reads differ: compare prompt.system with the "
            f"settings (`with`) of {name}",
        )
