"""Questions with many completions each, drawn and scored as training draws and scores."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from grpokit.compose.rules import reward_name
from grpokit.evaluate.run import Progress
from grpokit.scoring.budget import ErrorBudget
from grpokit.scoring.facts import facts_of
from grpokit.scoring.scorer import Scorer
from grpokit.spec.contracts import Model, ShouldStop
from grpokit.spec.flow import Prompt, Rollout, Sampling, Scores

if TYPE_CHECKING:
    from grpokit.spec.recipe import Recipe

__all__ = ["Asked", "Asker", "Passing", "Question", "passing_of"]


@dataclass(frozen=True, kw_only=True)
class Passing:
    """Which completions pass: the score of one training reward reaches a threshold."""

    reward: str
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question and what came of it, completion by completion.

    Attributes:
        index: row of the data set.
        totals: None where every reward abstained or failed.
        passed: None where the reward that decides has no score.
        scores: reward, and "reward/part", to scores.
        tokens: lengths; ``truncated`` are those at the limit.
        distinct: different texts.
        gold: completions whose text holds the gold answer anywhere; None where the row has none.
    """

    index: int
    id: str
    totals: tuple[float | None, ...]
    passed: tuple[bool | None, ...]
    scores: Mapping[str, tuple[float | None, ...]]
    tokens: tuple[int, ...]
    truncated: int
    distinct: int
    gold: int | None

    @property
    def pass_rate(self) -> float | None:
        """Of the completions that could be marked; None if none could."""
        known = [each for each in self.passed if each is not None]
        return fmean(known) if known else None

    @property
    def mean_total(self) -> float | None:
        known = [each for each in self.totals if each is not None]
        return fmean(known) if known else None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """All questions of one policy, and what drawing and scoring took."""

    questions: tuple[Question, ...]
    seconds: float
    first: tuple[Rollout, Scores] | None = None

    @property
    def completions(self) -> int:
        return sum(len(question.totals) for question in self.questions)

    @property
    def tokens(self) -> int:
        return sum(sum(question.tokens) for question in self.questions)


def passing_of(recipe: Recipe) -> Passing:
    """What `eval` means by correct, if training has that reward; else the first one that weighs."""
    names = {reward_name(each): each.weight for each in recipe.rewards}
    asked = recipe.eval.correct
    weighs = [name for name, weight in names.items() if weight] or list(names)
    return Passing(reward=asked if asked in names else weighs[0], threshold=recipe.eval.threshold)


@dataclass
class Asker:
    """How questions are asked: a model, how it draws, the rewards, and what passing means."""

    model: Model
    sampling: Sampling
    scorer: Scorer
    passing: Passing
    budget: ErrorBudget
    poll: ShouldStop
    seconds: float = field(default=0.0, init=False)

    def batch(self, prompts: Sequence[Prompt]) -> tuple[list[Question], Rollout, Scores]:
        """One call of the model.

        Raises:
            Interrupted: a signal came.
            RewardError: more failures than the recipe's budget, or a reward wants an end.
        """
        start = time.perf_counter()
        rollout = self.model.generate(prompts, self.sampling, self.poll)
        facts = facts_of(self.scorer, self.model, rollout, self.poll)
        scores = self.scorer.score(rollout, should_stop=self.poll, facts=facts)
        self.budget.add(scores)
        self.poll()
        self.seconds += time.perf_counter() - start
        return (
            [_question(rollout, scores, p, self.passing) for p in range(len(prompts))],
            rollout,
            scores,
        )

    def ask(self, prompts: Sequence[Prompt], size: int, progress: Progress) -> Asked:
        """All of them, ``size`` a call; the first call is kept whole."""
        questions: list[Question] = []
        first: tuple[Rollout, Scores] | None = None
        before = self.seconds
        progress(0, len(prompts))
        for start in range(0, len(prompts), size):
            found, rollout, scores = self.batch(prompts[start : start + size])
            questions += found
            first = first or (rollout, scores)
            progress(len(questions), len(prompts))
        return Asked(questions=tuple(questions), seconds=self.seconds - before, first=first)


def _question(rollout: Rollout, scores: Scores, p: int, passing: Passing) -> Question:
    prompt, group = rollout.prompts[p], rollout.completions[p]
    tables = {**scores.rewards, **scores.components}
    deciding = scores.rewards[passing.reward][p]
    gold = _gold(prompt.row.get("answer"))
    return Question(
        index=prompt.index,
        id=prompt.id,
        totals=tuple(scores.total[p]),
        passed=tuple(None if each is None else each >= passing.threshold for each in deciding),
        scores={name: tuple(table[p]) for name, table in tables.items()},
        tokens=tuple(len(one.token_ids) for one in group),
        truncated=sum(one.finish == "length" for one in group),
        distinct=len({one.text for one in group}),
        gold=None if gold is None else sum(bool(gold.search(one.text)) for one in group),
    )


def _gold(answer: Any) -> re.Pattern[str] | None:
    """The gold answer as a word of a text; of a worked solution, what follows its last ####."""
    text = "" if answer is None else str(answer).rpartition("####")[2].strip()
    if not text or len(text) > 100:
        return None
    return re.compile(rf"(?<![\w.,-]){re.escape(text)}(?![\w]|[.,]\d)", re.IGNORECASE)
