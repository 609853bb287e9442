"""What an evaluation reads in answers beside their scores: the answer itself, a confidence, a lenient verdict.

The deciding reward's spec says how it reads an answer and a confidence, and under which settings it is lenient (see
:class:`grpokit.api.RewardSpec`). All of it happens in the rewards' own processes, under the same deadlines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from grpokit.evaluate.records import Item, Measured
from grpokit.scoring.scorer import RewardSetup, Scorer
from grpokit.spec.components import RewardSpec

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.scoring.call import Reading
    from grpokit.scoring.values import Outcome
    from grpokit.spec.flow import Scores
    from grpokit.spec.recipe import EvalSection

__all__ = ["LENIENT", "NOTHING", "Readings", "readings_of"]

LENIENT = "lenient reading"
"""Name of the lenient reward among the others: no recipe can give this one."""


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What is read.

    Attributes:
        answer: name of the reward that says how it reads an answer.
        confidence: name of the reward that says how it reads a confidence.
        lenient: the reward that takes an answer wherever it stands, with weight 0.
        threshold: its score from which an answer is right.
    """

    answer: str = ""
    confidence: str = ""
    lenient: RewardSetup | None = None
    threshold: float = 1.0

    @property
    def told(self) -> str:
        """The lenient reward in words."""
        if self.lenient is None:
            return ""
        settings = json.dumps(dict(self.lenient.settings), default=str).replace('"', "")
        return f"{self.lenient.entry.id} {settings}"

    def mark(self) -> dict[str, Any]:
        """What answers that are kept must have in common."""
        return {"answer": self.answer, "confidence": self.confidence, "lenient": self.told}

    def measured(self, rewards: Sequence[RewardSetup], words: Sequence[str]) -> Measured:
        """What stands beside right and wrong, as data."""
        return Measured(
            answer=bool(self.answer),
            confidence=self.confidence,
            lenient=self.told,
            forms={
                each.name: spec.range[1]
                for each in rewards
                if isinstance(spec := each.entry.spec, RewardSpec) and spec.form and spec.range
            },
            words=tuple(words),
        )

    def add(
        self,
        items: Sequence[Item],
        scores: Scores,
        scorer: Scorer,
        should_stop: Callable[[], None] | None = None,
    ) -> list[Item]:
        """The items, in the order of the scores, with what is read in them.

        What fails is said in ``unread`` and fails nothing else.
        """
        found = [_Found() for _ in items]
        texts = [item.text for item in items]
        self._answers(found, scorer, texts, should_stop)
        if self.lenient is not None:
            table = scores.rewards[LENIENT]
            places = [(p, g) for p, group in enumerate(table) for g in range(len(group))]
            rows = dict(zip(places, found, strict=True))
            for (p, g), each in rows.items():
                score = table[p][g]
                each.lenient = None if score is None else score >= self.threshold
            for failure in scores.failures:
                if failure.reward == LENIENT:
                    told = f"{failure.kind}: {failure.message}"
                    rows[failure.prompt_index, failure.sample].unread["lenient"] = told
        return [replace(item, **asdict(each)) for item, each in zip(items, found, strict=True)]

    def _answers(
        self,
        found: Sequence[_Found],
        scorer: Scorer,
        texts: Sequence[str],
        should_stop: Callable[[], None] | None,
    ) -> None:
        kinds: Mapping[Reading, str] = {"answer": self.answer, "confidence": self.confidence}
        for kind, reward in kinds.items():
            if not reward:
                continue
            outcomes = scorer.read(kind, reward, texts, should_stop)
            for each, outcome in zip(found, outcomes, strict=True):
                each.take(kind, outcome)


NOTHING = Readings()


@dataclass
class _Found:
    read: str | None = None
    confidence: float | None = None
    lenient: bool | None = None
    unread: dict[str, str] = field(default_factory=dict)

    def take(self, kind: Reading, outcome: Outcome) -> None:
        if outcome.fault is not None:
            self.unread[kind] = f"{outcome.fault.kind}: {outcome.fault.message}"
        elif kind == "answer":
            self.read = outcome.note or None
        else:
            self.confidence = outcome.value


def readings_of(
    section: EvalSection, rewards: Sequence[RewardSetup], decides: str, catalog: Catalog
) -> Readings:
    """What can be read: answers as the deciding reward does, a confidence as the first reward does that can."""
    deciding = next(reward for reward in rewards if reward.name == decides)
    sure = [
        each.name for each in (deciding, *rewards) if getattr(each.entry.spec, "confidence", "")
    ]
    return Readings(
        answer=decides if getattr(deciding.entry.spec, "answer", "") else "",
        confidence=next(iter(sure), ""),
        lenient=_lenient(section, deciding, catalog),
        threshold=section.threshold if section.lenient is None else section.lenient.threshold,
    )


def _lenient(section: EvalSection, deciding: RewardSetup, catalog: Catalog) -> RewardSetup | None:
    """The one that the recipe names, else the deciding one as it declares, unless that is how it is set already."""
    if section.lenient is not None:
        entry = catalog.find("reward", section.lenient.use)
        return RewardSetup(name=LENIENT, entry=entry, settings=section.lenient.with_, weight=0.0)
    declared = dict(getattr(deciding.entry.spec, "lenient", ()))
    settings = {**deciding.settings, **declared}
    if not declared or settings == deciding.settings:
        return None
    return replace(deciding, name=LENIENT, settings=settings, weight=0.0)
