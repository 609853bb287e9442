"""Stored answers, marked again by other rewards, through the code that marks new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from grpokit.errors import PreflightError
from grpokit.evaluate.records import Evaluation, Item
from grpokit.evaluate.run import Exam, Progress, evaluate
from grpokit.evaluate.stored import Stored
from grpokit.scoring.facts import needs_model, no_model
from grpokit.scoring.scorer import Scorer
from grpokit.spec.contracts import ShouldStop
from grpokit.spec.flow import Completion, Message, Prompt, Rollout, Sampling

__all__ = ["Flip", "flips", "mark_again", "settings_of"]


@dataclass
class Replayed:
    """A model that says what was said: implements ``Model``. Tokens are known by number only."""

    stored: Stored
    answers: dict[str, list[Item]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for item in self.stored.evaluation.items:
            self.answers.setdefault(item.id, []).append(item)

    @property
    def identity(self) -> Mapping[str, Any]:
        return dict(self.stored.evaluation.fingerprint["model"])

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        raise NotImplementedError  # nothing that marks asks for it

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: ShouldStop | None = None
    ) -> Rollout:
        if should_stop:
            should_stop()
        rows = [self.answers[prompt.id] for prompt in prompts]
        return Rollout(
            prompts=tuple(prompts),
            prompt_ids=tuple((0,) * (row[0].prompt_tokens or 0) for row in rows),
            completions=tuple(tuple(map(_completion, row)) for row in rows),
            sampling=sampling,
        )


def _completion(item: Item) -> Completion:
    finish = cast("Any", item.finish)
    return Completion(token_ids=(0,) * item.tokens, text=item.text, finish=finish)


def settings_of(stored: Stored) -> list[str]:
    """What ``eval`` has to be for the questions of a stored evaluation, as overrides of a recipe."""
    sampling = stored.evaluation.fingerprint["sampling"]
    return [
        f"eval.limit={len(stored.evaluation.counts)}",
        f"eval.samples={sampling['group']}",
        *(f"eval.{key}={sampling[key]}" for key in ("max_tokens", "temperature", "top_p", "seed")),
    ]


def mark_again(
    stored: Stored,
    exam: Exam,
    scorer: Scorer,
    *,
    progress: Progress | None = None,
    should_stop: ShouldStop | None = None,
) -> Evaluation:
    """The same answers under the rewards of ``exam``.

    Raises:
        PreflightError: the exam asks other questions, or a reward wants to know what the policy says.
        RewardError: more answers than allowed could not be marked.
    """
    blind = [setup.entry for setup in exam.rewards if needs_model(setup.entry)]
    if blind:
        raise no_model(blind, place="eval rescore, of answers that were stored")
    old = stored.evaluation
    asked = {prompt.id for prompt in exam.prompts}
    if asked != old.counts.keys() or exam.sampling.group != old.samples:
        raise PreflightError(
            f"the recipe asks other questions than were answered: {len(asked - old.counts.keys())} of "
            f"{len(asked)} have no answer, {len(old.counts.keys() - asked)} answers have no question",
            place=str(stored.folder),
            remedy="leave eval.dataset, eval.limit, eval.samples and prompt as they were",
        )
    found = evaluate(
        Replayed(stored),
        exam,
        label=old.label,
        scorer=scorer,
        progress=progress,
        should_stop=should_stop,
    )
    # The answers are still those of then; only who marks them is new.
    mark = {**old.fingerprint, "rewards": exam.fingerprint["rewards"]}
    return replace(found, fingerprint=mark, seconds=old.seconds)


@dataclass(frozen=True, kw_only=True)
class Flip:
    """An answer that is right by one marking and wrong by the other."""

    item: Item
    before: bool

    def as_dict(self) -> dict[str, Any]:
        item = self.item
        return {
            "id": item.id,
            "index": item.index,
            "sample": item.sample,
            "before": self.before,
            "after": item.correct,
        }


def flips(old: Evaluation, new: Evaluation) -> list[Flip]:
    """Answers whose mark changed, in the order of the data set."""
    before = {(item.id, item.sample): item.correct for item in old.items}
    return [
        Flip(item=item, before=before[item.id, item.sample])
        for item in new.items
        if before[item.id, item.sample] != item.correct
    ]
