"""A loop whose completions are the model's own and, every other one, written by us."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from grpokit.engine.halves import Pending
from grpokit.engine.loop import Loop
from grpokit.scoring.early import Early
from grpokit.smoke.gold import Gold
from grpokit.spec.contracts import Measures
from grpokit.spec.flow import Completion, Message, Prompt, Rollout, Sampling, Wanted

__all__ = ["GoldLoop"]

RIGHT, WRONG = range(2)
ORDER = (RIGHT, RIGHT, WRONG)
"""What is written, in turn. More right ones than wrong ones, so that the votes of a group are no tie."""


@dataclass(kw_only=True)
class GoldLoop(Loop):
    """The engine's loop; what it does with a completion does not depend on who wrote it.

    Attributes:
        gold: what is written.
        before: where the weights are saved as they are before the first step.
        written: completions that were written so far.
        cut: those of them that did not fit into ``rollout.max_tokens``.
    """

    gold: Gold
    before: Path
    written: list[int] = field(default_factory=lambda: [0, 0])

    def begin(self, index: int) -> Pending:
        if index == 1:
            self.before.mkdir(parents=True, exist_ok=True)
            self.backend.save_policy(self.before)
        return super().begin(index)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling
    ) -> tuple[Rollout, Early | None]:
        rollout, early = super().generate(prompts, sampling)
        mixed = tuple(
            self._mixed(place, prompt, group, sampling)
            for place, (prompt, group) in enumerate(
                zip(rollout.prompts, rollout.completions, strict=True)
            )
        )
        return self._measured(replace(rollout, completions=mixed)), early

    def _mixed(
        self, place: int, prompt: Prompt, group: tuple[Completion, ...], sampling: Sampling
    ) -> tuple[Completion, ...]:
        """Every other completion is written; in groups of one, that of every other group."""
        texts, found = self.gold.texts(prompt), list(group)
        for number, sample in enumerate(range(place % 2, len(group), 2)):
            text = texts[ORDER[number % len(ORDER)]]
            found[sample] = self._completion(text, sampling.max_tokens)
        return tuple(found)

    def _completion(self, text: str, most: int) -> Completion:
        """The text in tokens. The chat template of the tiny model puts one before, and two behind."""
        message: Message = {"role": "assistant", "content": text}
        ids = self.backend.encode([message])[1:-1]
        self.written[0] += 1
        if len(ids) <= most:
            return Completion(token_ids=ids, text=text, finish="stop")
        self.written[1] += 1
        short = text.encode()[:most].decode(errors="ignore")
        return Completion(token_ids=ids[:most], text=short, finish="length")

    def _measured(self, rollout: Rollout) -> Rollout:
        """With the log-probs that the sampler would have given, where the backend can say them."""
        if not isinstance(self.backend, Measures) or rollout.sampling.temperature != 1:
            return rollout
        known = cast("Measures", self.backend).measure(rollout, Wanted(logprobs=True)).logprobs
        if known is None:
            return rollout
        values = iter(known)
        filled = tuple(
            tuple(
                replace(each, logprobs=each.logprobs or said)
                for each, said in zip(group, values, strict=False)
            )
            for group in rollout.completions
        )
        return replace(rollout, completions=filled)
