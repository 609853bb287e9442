"""Evaluating a model on held-out questions, through the code paths of training.

Prompts come from ``compose.prompts.make_prompt`` and scores from ``scoring.Scorer``, like those of
a training step. What is held constant over several models is prepared once, in :class:`Exam`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from grpokit import __version__
from grpokit.compose.data import open_dataset
from grpokit.compose.prompts import make_prompts
from grpokit.errors import PreflightError, RewardError
from grpokit.evaluate.records import Evaluation, Item
from grpokit.registry.resolve import source_hash
from grpokit.scoring.budget import check_stop
from grpokit.scoring.facts import facts_of
from grpokit.scoring.scorer import Scorer, scoring_options, setups
from grpokit.spec.contracts import Dataset, Model, ShouldStop
from grpokit.spec.flow import Prompt, Rollout, Sampling, ScoreFailure, Scores

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.scoring.scorer import RewardSetup, Share
    from grpokit.spec.recipe import Recipe, ScoringSection

__all__ = ["BATCH", "Exam", "Progress", "digest", "during_training", "evaluate", "prepare"]

BATCH = 32
"""Questions a call of ``generate``; constant, because batching can change the last bits."""

Progress = Callable[[int, int], None]
"""(questions done, of how many)."""


@dataclass(frozen=True, kw_only=True)
class Exam:
    """The questions and the way they are asked and marked: the same for every model."""

    prompts: tuple[Prompt, ...]
    sampling: Sampling
    rewards: tuple[RewardSetup, ...]
    decides: str
    threshold: float
    scoring: ScoringSection
    fingerprint: Mapping[str, Any]

    def scorer(self) -> Scorer:
        """A new scorer; use it as a context manager."""
        return Scorer(self.rewards, **scoring_options(self.scoring))


def prepare(recipe: Recipe, catalog: Catalog, *, limit: int | None = None) -> Exam:
    """Opens the held-out data set and renders its first ``limit`` questions.

    Raises:
        PreflightError: the recipe names no held-out data set, or a row lacks a column.
    """
    section = recipe.eval
    if section.dataset is None:
        raise PreflightError(
            "the recipe names no held-out data set",
            place="eval.dataset",
            remedy="add `eval: {dataset: {use: ...}}` to the recipe, or --set eval.dataset.use=NAME",
        )
    dataset = open_dataset(catalog, section.dataset)
    count = _count(dataset, limit or section.limit)
    prompts = tuple(make_prompts(recipe.prompt, dataset, range(count)))
    rewards = setups(catalog, section.rewards or recipe.rewards)
    sampling = Sampling(
        group=1,
        max_tokens=section.max_tokens or recipe.rollout.max_tokens,
        temperature=section.temperature,
        top_p=section.top_p,
        seed=section.seed,
    )
    fingerprint = {
        "grpokit": __version__,
        "dataset": dataset.fingerprint,
        "items": digest([prompt.id for prompt in prompts]),
        "prompt": recipe.prompt.model_dump(mode="json"),
        "sampling": asdict(sampling),
        "batch": BATCH,
        "rewards": {reward.name: _reward_print(reward) for reward in rewards},
    }
    return Exam(
        prompts=prompts,
        sampling=sampling,
        rewards=rewards,
        decides=_deciding(section.correct, rewards),
        threshold=section.threshold,
        scoring=recipe.scoring,
        fingerprint=fingerprint,
    )


def _count(dataset: Dataset, wanted: int | None) -> int:
    if dataset.size is None and wanted is None:
        raise PreflightError(
            "the held-out data set is endless, and no limit is set",
            place="eval.limit",
            remedy="add --limit 200",
        )
    return min(n for n in (dataset.size, wanted) if n is not None)


def _reward_print(reward: RewardSetup) -> str:
    entry = reward.entry
    code = f"{entry.id} {entry.plugin.version} {source_hash(entry)}"
    return f"{code} {digest(dict(reward.settings))}"


def _deciding(asked: str | None, rewards: Sequence[RewardSetup]) -> str:
    names = [reward.name for reward in rewards]
    if asked is None:
        return names[0]
    if asked not in names:
        raise PreflightError(
            f"no reward is called {asked!r}; there are {', '.join(names)}",
            place="eval.correct",
            remedy="name one of them",
        )
    return asked


def digest(data: Any) -> str:
    """First 16 hex digits of the SHA-256 of plain data."""
    text = json.dumps(data, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def evaluate(
    model: Model,
    exam: Exam,
    *,
    label: str,
    scorer: Scorer,
    progress: Progress | None = None,
    should_stop: ShouldStop | None = None,
    share: Share | None = None,
) -> Evaluation:
    """Asks every question once and marks the answers.

    The seed of an answer derives from (seed, prompt), so neither order nor batch matters to what
    is sampled. An answer that the deciding reward cannot mark is wrong, and counted. ``should_stop``
    is called while answers are drawn and scored, and nowhere else: processes that ``share`` the
    work tell each other of what it raises there.

    Raises:
        RewardError: more answers than ``scoring.max_error_rate`` could not be marked, or a reward
            wants the run to end.
    """
    start = time.perf_counter()
    items: list[Item] = []
    failures: list[ScoreFailure] = []
    total = len(exam.prompts)

    if progress:
        progress(0, total)
    for first in range(0, total, BATCH):
        rollout = model.generate(exam.prompts[first : first + BATCH], exam.sampling, should_stop)
        facts = facts_of(scorer, model, rollout, should_stop)
        score = partial(scorer.score, should_stop=should_stop, facts=facts)
        scores = share(score, rollout) if share else score(rollout)
        check_stop(scores)
        items += _items(exam, rollout, scores)
        failures += [each for each in scores.failures if each.reward == exam.decides]
        if progress:
            progress(len(items), total)
    _check_budget(exam, failures)
    return Evaluation(
        label=label,
        items=tuple(items),
        decides=exam.decides,
        threshold=exam.threshold,
        fingerprint={"model": dict(model.identity), **exam.fingerprint},
        seconds=time.perf_counter() - start,
    )


def _items(exam: Exam, rollout: Rollout, scores: Scores) -> list[Item]:
    reasons: dict[int, dict[str, str]] = {}
    for failure in scores.failures:
        reasons.setdefault(failure.prompt_index, {})[failure.reward] = (
            f"{failure.kind}: {failure.message}"
        )
    found = []
    for row, (prompt, group) in enumerate(zip(rollout.prompts, rollout.completions, strict=True)):
        completion = group[0]
        values = {name: scores_PG[row][0] for name, scores_PG in scores.rewards.items()}
        decided = values[exam.decides]
        found.append(
            Item(
                id=prompt.id,
                index=prompt.index,
                question=prompt.messages[-1]["content"],
                answer=prompt.row.get("answer"),
                text=completion.text,
                tokens=len(completion.token_ids),
                finish=completion.finish,
                scores=values,
                total=scores.total[row][0],
                correct=decided is not None and decided >= exam.threshold,
                failures=reasons.get(row, {}),
            )
        )
    return found


def _check_budget(exam: Exam, failures: Sequence[ScoreFailure]) -> None:
    if not failures or len(failures) <= exam.scoring.max_error_rate * len(exam.prompts):
        return
    worst = failures[0]
    raise RewardError(
        f"{len(failures)} of {len(exam.prompts)} answers could not be marked; "
        f"the first one, row {worst.row}: {worst.kind}, {worst.message}",
        place=f"reward {worst.reward} of {worst.plugin}",
        remedy=worst.remedy or "repair the reward, or raise scoring.max_error_rate",
    )


def during_training(
    recipe: Recipe, catalog: Catalog
) -> Callable[[Model, ShouldStop, Share], dict[str, float]]:
    """A function that evaluates the policy of a running training; metrics with flat names."""
    exam = prepare(recipe, catalog)

    def run(model: Model, should_stop: ShouldStop, share: Share) -> dict[str, float]:
        with exam.scorer() as scorer:
            found = evaluate(
                model, exam, label="policy", scorer=scorer, should_stop=should_stop, share=share
            )
        low, high = found.interval
        means = {f"reward/{name}": mean for name, mean in found.rewards().items()}
        return {
            "accuracy": found.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
            "questions": float(len(found.items)),
            "truncated": found.truncated,
            **{name: mean for name, mean in means.items() if mean is not None},
        }

    return run
