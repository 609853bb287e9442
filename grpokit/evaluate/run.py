"""Evaluating a model on held-out questions, through the code paths of training.

Prompts come from ``compose.prompts.make_prompt`` and scores from ``scoring.Scorer``, like those of
a training step. What is held constant over several models is prepared once, in :class:`Exam`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from grpokit import __version__
from grpokit.compose.data import open_dataset
from grpokit.compose.exam import refusals
from grpokit.compose.prompts import make_prompts
from grpokit.errors import ComponentError, PreflightError, RewardError
from grpokit.evaluate.kept import Kept
from grpokit.evaluate.readings import LENIENT, NOTHING, Readings, readings_of
from grpokit.evaluate.records import Evaluation, Item
from grpokit.registry.resolve import source_hash
from grpokit.scoring.budget import check_stop
from grpokit.scoring.facts import facts_of
from grpokit.scoring.scorer import Scorer, scoring_options, setups
from grpokit.spec.contracts import Dataset, Model, ShouldStop
from grpokit.spec.flow import Prompt, Rollout, Sampling, ScoreFailure, Scores
from grpokit.spec.sampling import exam_sampling_of

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.scoring.scorer import RewardSetup, Share
    from grpokit.spec.recipe import EvalSection, Recipe, ScoringSection

__all__ = [
    "BATCH",
    "Exam",
    "Progress",
    "digest",
    "during_training",
    "evaluate",
    "prepare",
    "prepare_single",
]

BATCH = 32
"""Answers a call of ``generate``; constant, because batching can change the last bits."""

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
    pass_at: tuple[int, ...] = (1,)
    cluster: str | None = None
    readings: Readings = NOTHING
    words: tuple[str, ...] = ()
    batch: int
    """Questions a call of ``generate``."""

    def scorer(self) -> Scorer:
        """A new scorer; use it as a context manager."""
        lenient = self.readings.lenient
        more = () if lenient is None else (lenient,)
        return Scorer((*self.rewards, *more), **scoring_options(self.scoring))

    @property
    def plain(self) -> Exam:
        """The same without what is read beside the scores."""
        return replace(self, readings=NOTHING, words=())


def prepare(recipe: Recipe, catalog: Catalog, *, limit: int | None = None) -> Exam:
    """Opens the held-out data set and renders its first ``limit`` questions.

    Raises:
        PreflightError: the recipe names no held-out data set, a row lacks a column, or several answers are
            asked for that would all be the same.
    """
    section = recipe.eval
    for refusal in refusals(section):
        raise PreflightError(refusal.fact, place=f"eval.{refusal.key}", remedy=refusal.remedy)
    if section.dataset is None:
        raise PreflightError(
            "the recipe names no held-out data set",
            place="eval.dataset",
            remedy="add `eval: {dataset: {use: ...}}` to the recipe, or --set eval.dataset.use=NAME",
        )
    dataset = open_dataset(catalog, section.dataset)
    wanted = _count(dataset, limit or section.limit)
    prompts = tuple(make_prompts(recipe.prompt, dataset, range(wanted)))
    if section.cluster is not None:
        _check_clusters(prompts, section.cluster)
    rewards = setups(catalog, section.rewards or recipe.rewards)
    sampling = exam_sampling_of(recipe)
    batch = max(1, BATCH // section.samples)
    fingerprint = {
        "grpokit": __version__,
        "dataset": dataset.fingerprint,
        "items": digest([prompt.id for prompt in prompts]),
        "prompt": recipe.prompt.model_dump(mode="json"),
        "sampling": _sampling_print(sampling),
        "batch": batch,
        "rewards": {reward.name: _reward_print(reward) for reward in rewards},
    }
    decides = _deciding(section.correct, rewards)
    return Exam(
        prompts=prompts,
        sampling=sampling,
        rewards=rewards,
        decides=decides,
        threshold=section.threshold,
        scoring=recipe.scoring,
        fingerprint=fingerprint,
        pass_at=_pass_at(section),
        cluster=section.cluster,
        readings=readings_of(section, rewards, decides, catalog),
        words=tuple(section.words),
        batch=batch,
    )


def prepare_single(recipe: Recipe, catalog: Catalog, *, place: str) -> Exam:
    """The same for what holds one answer a question, right or wrong: :func:`prepare`, which it raises as well.

    Raises:
        PreflightError: the recipe asks for several answers, or for clusters of questions.
    """
    section = recipe.eval
    if section.samples > 1 or section.cluster is not None:
        key = "eval.samples: 1" if section.samples > 1 else "eval.cluster: null"
        raise PreflightError(
            f"{place} counts one answer to each question, each for itself, and the recipe asks for "
            + (f"{section.samples} answers" if section.samples > 1 else "clusters of questions"),
            place=key.partition(":")[0],
            remedy=f"set {key} for it",
        )
    return prepare(recipe, catalog).plain


def _sampling_print(sampling: Sampling) -> dict[str, Any]:
    """Without ``until`` where it is off: evaluations from before there was one compare."""
    return {k: v for k, v in asdict(sampling).items() if (k, v) != ("until", None)}


def _pass_at(section: EvalSection) -> tuple[int, ...]:
    """Powers of two and the number of answers, unless some are named."""
    if section.pass_at:
        return tuple(sorted(set(section.pass_at)))
    powers = takewhile(lambda k: k < section.samples, (1 << n for n in count()))
    return (*powers, section.samples)


def _check_clusters(prompts: Sequence[Prompt], column: str) -> None:
    missing = [prompt.index for prompt in prompts if prompt.row.get(column) is None]
    if missing:
        raise PreflightError(
            f"{len(missing)} questions have no {column!r}, the first is row {missing[0]}",
            place="eval.cluster",
            remedy="name a column that every row has",
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
    kept: Kept | None = None,
) -> Evaluation:
    """Asks every question as often as the exam says and marks the answers.

    The seed of an answer derives from (seed, prompt, sample), so neither order nor batch matters to it. An
    answer that the deciding reward cannot mark is wrong, and counted. ``should_stop`` is called while answers are
    drawn and scored, and nowhere else: processes that ``share`` the work tell each other of what it raises
    there. Whole batches that ``kept`` holds are not asked again.

    Raises:
        CheckpointError: what ``kept`` holds is of another evaluation.
        RewardError: too many answers could not be marked, or a reward wants the run to end.
    """
    start = time.perf_counter()
    mark = {"model": dict(model.identity), **exam.fingerprint}
    whole = digest([mark, exam.decides, exam.threshold, exam.cluster, exam.readings.mark()])
    known = kept.begin(label, whole) if kept else {}
    asked = _Asked(model, exam, scorer, should_stop, share)
    items: list[Item] = []
    if progress:
        progress(0, len(exam.prompts))
    for first in range(0, len(exam.prompts), exam.batch):
        prompts = exam.prompts[first : first + exam.batch]
        found = _known(prompts, exam.sampling.group, known)
        if found is None:
            found = asked.batch(prompts)
            if kept:
                kept.add(label, found)
        items += found
        if progress:
            progress(first + len(prompts), len(exam.prompts))
    _check_budget(exam, items, asked.failures)
    return Evaluation(
        label=label,
        items=tuple(items),
        decides=exam.decides,
        threshold=exam.threshold,
        fingerprint=mark,
        pass_at=exam.pass_at,
        measured=exam.readings.measured(exam.rewards, exam.words),
        asked=len(exam.prompts) * exam.sampling.group,
        seconds=time.perf_counter() - start,
    )


@dataclass
class _Asked:
    """How a batch is answered and marked; ``failures`` are answers that the deciding reward could not mark."""

    model: Model
    exam: Exam
    scorer: Scorer
    should_stop: ShouldStop | None
    share: Share | None
    failures: list[ScoreFailure] = field(default_factory=list)

    def batch(self, prompts: Sequence[Prompt]) -> list[Item]:
        rollout = self.model.generate(prompts, self.exam.sampling, self.should_stop)
        given, wanted = len(rollout.rows()), len(prompts) * self.exam.sampling.group
        if given != wanted:
            raise ComponentError(
                f"the backend gave {given} answers where {wanted} were asked for",
                place="backend.use",
                remedy="a question without an answer would count for nothing; repair the backend",
            )
        facts = facts_of(self.scorer, self.model, rollout, self.should_stop)
        score = partial(self.scorer.score, should_stop=self.should_stop, facts=facts)
        scores = self.share(score, rollout) if self.share else score(rollout)
        check_stop(scores)
        self.failures += [each for each in scores.failures if each.reward == self.exam.decides]
        items = _items(self.exam, rollout, scores)
        return self.exam.readings.add(items, scores, self.scorer, self.should_stop)


def _known(
    prompts: Sequence[Prompt], samples: int, known: Mapping[tuple[str, int], Item]
) -> list[Item] | None:
    """A batch that was answered before; None unless all of it was."""
    keys = [(prompt.id, sample) for prompt in prompts for sample in range(samples)]
    if not all(key in known for key in keys):
        return None
    answers = {prompt.id: prompt.row.get("answer") for prompt in prompts}
    return [replace(known[key], answer=answers[key[0]]) for key in keys]


def _items(exam: Exam, rollout: Rollout, scores: Scores) -> list[Item]:
    reasons: dict[tuple[int, int], dict[str, str]] = {}
    for failure in scores.failures:
        if failure.reward == LENIENT:
            continue
        row = (failure.prompt_index, failure.sample)
        reasons.setdefault(row, {})[failure.reward] = f"{failure.kind}: {failure.message}"
    return [_item(exam, rollout, scores, row, reasons.get(row, {})) for row in rollout.rows()]


def _item(
    exam: Exam, rollout: Rollout, scores: Scores, row: tuple[int, int], failures: Mapping[str, str]
) -> Item:
    p, g = row
    prompt, completion = rollout.prompts[p], rollout.completions[p][g]
    values = {name: table[p][g] for name, table in scores.rewards.items() if name != LENIENT}
    parts = {
        name.removeprefix(f"{exam.decides}/"): value
        for name, table in scores.components.items()
        if name.startswith(f"{exam.decides}/") and (value := table[p][g]) is not None
    }
    decided = values[exam.decides]
    return Item(
        id=prompt.id,
        index=prompt.index,
        question=prompt.messages[-1]["content"],
        answer=prompt.row.get("answer"),
        text=completion.text,
        tokens=len(completion.token_ids),
        finish=completion.finish,
        scores=values,
        total=scores.total[p][g],
        correct=decided is not None and decided >= exam.threshold,
        failures=failures,
        sample=g,
        cluster=None if exam.cluster is None else str(prompt.row[exam.cluster]),
        parts=parts,
        prompt_tokens=len(rollout.prompt_ids[p]) or None,
    )


def _check_budget(exam: Exam, items: Sequence[Item], failures: Sequence[ScoreFailure]) -> None:
    failed = [item for item in items if exam.decides in item.failures]
    if not failed or len(failed) <= exam.scoring.max_error_rate * len(items):
        return
    first = failed[0]
    plugins = [f" of {each.plugin}" for each in failures[:1]]  # not known of answers that were kept
    raise RewardError(
        f"{len(failed)} of {len(items)} answers could not be marked; the first one, row {first.index}: "
        f"{first.failures[exam.decides].replace(': ', ', ', 1)}",
        place=f"reward {exam.decides}{''.join(plugins)}",
        remedy=next((each.remedy for each in failures if each.remedy), "")
        or "repair the reward, or raise scoring.max_error_rate",
    )


def during_training(
    recipe: Recipe, catalog: Catalog
) -> Callable[[Model, ShouldStop, Share], dict[str, float]]:
    """A function that evaluates the policy of a running training; metrics with flat names."""
    exam = prepare(recipe, catalog).plain

    def run(model: Model, should_stop: ShouldStop, share: Share) -> dict[str, float]:
        with exam.scorer() as scorer:
            found = evaluate(
                model, exam, label="policy", scorer=scorer, should_stop=should_stop, share=share
            )
        low, high = found.interval
        means = {f"reward/{name}": mean for name, mean in found.rewards().items()}
        passes = {f"pass@{k}": share for k, (share, _) in found.passes.items() if k > 1}
        return {
            "accuracy": found.accuracy,
            "accuracy_low": low,
            "accuracy_high": high,
            "questions": float(len(found.counts)),
            "truncated": found.truncated,
            **passes,
            **{name: mean for name, mean in means.items() if mean is not None},
        }

    return run
