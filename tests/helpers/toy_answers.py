"""A model that answers the toy questions of ``toy_parts.py`` several times, right as often as a rule says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from grpokit.errors import Interrupted
from grpokit.spec.flow import Completion, Prompt, Rollout, Sampling
from grpokit.spec.recipe import Recipe

__all__ = ["Answers", "Sayings", "sampled_recipe"]


def sampled_recipe(limit: int, samples: int, **changes: Any) -> Recipe:
    """Toy questions with several answers each; ``changes`` are of ``eval``, or whole other sections."""
    sections = {key: changes.pop(key) for key in ("rewards", "scoring") if key in changes}
    exam = {"dataset": {"use": "sums"}, "limit": limit, "samples": samples, "temperature": 0.7}
    data = {
        "grpokit": 1,
        "model": {"id": "toy"},
        "dataset": {"use": "sums"},
        "prompt": {"use": "boxed"},
        "rewards": [{"use": "boxed"}],
        "eval": exam | changes,
    }
    return Recipe.model_validate(data | sections)


class Answers:
    """The first ``right(level)`` answers to a question are right; answer g has 5 + g tokens.

    Attributes:
        asked: the levels of each call, and its sampling. After ``batches`` calls comes an interrupt.
    """

    def __init__(
        self,
        right: Callable[[int], int],
        *,
        before: str = "",
        batches: int | None = None,
        weights: str = "w",
    ) -> None:
        self.right, self.before, self.batches = right, before, batches
        self.identity = {"weights": weights}
        self.asked: list[tuple[list[int], Sampling]] = []

    @property
    def levels(self) -> list[int]:
        return [level for levels, _ in self.asked for level in levels]

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: Any = None
    ) -> Rollout:
        if len(self.asked) == self.batches:
            raise Interrupted(2)
        self.asked.append(([prompt.row["level"] for prompt in prompts], sampling))
        return Rollout(
            prompts=tuple(prompts),
            prompt_ids=tuple((1,) for _ in prompts),
            completions=tuple(
                tuple(self._answer(prompt, g) for g in range(sampling.group)) for prompt in prompts
            ),
            sampling=sampling,
        )

    def _answer(self, prompt: Prompt, g: int) -> Completion:
        value = prompt.row["answer"] if g < self.right(prompt.row["level"]) else -1
        text = f"{self.before}\\boxed{{{value}}}"
        return Completion(token_ids=tuple(range(5 + g)), text=text, finish="stop")


class Sayings(Answers):
    """Answers word for word: ``said(level)`` are the texts to a question, one for each sample."""

    def __init__(self, said: Callable[[int], Sequence[str]], **more: Any) -> None:
        super().__init__(lambda _: 0, **more)
        self.said = said

    def _answer(self, prompt: Prompt, g: int) -> Completion:
        text = self.said(prompt.row["level"])[g]
        return Completion(token_ids=tuple(range(10)), text=text, finish="stop")
