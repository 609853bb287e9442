"""What the policy says about texts: for rewards that need it, between drawing and scoring.

The forward is that of training: no logits of a batch are ever held. Rows that ask for the same (the
answer without any reasoning is the same for a whole group) are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from grpokit.api import Measurement, OutOfMemoryError, Rollout, ShouldStop, Wanted
from grpokit_hf.job import free_memory
from grpokit_hf.nn.batch import Row, micro_batches, to_batch
from grpokit_hf.nn.forward import Forward
from grpokit_hf.policy import Policy

__all__ = ["Limits", "measure"]

Values = tuple[tuple[float, ...], tuple[float, ...]]
"""Log-probs of a row's last tokens, and KL(U || p) at each."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much goes into a forward; ``longest`` is what the model reads, prompt included."""

    rows: int | None
    tokens: int
    longest: float


@dataclass(frozen=True)
class Text:
    """Tokens after a prompt; of the last ``count`` of them something is wanted."""

    prompt: int
    tokens: tuple[int, ...]
    count: int


def measure(
    policy: Policy,
    rollout: Rollout,
    wanted: Wanted,
    limits: Limits,
    should_stop: ShouldStop | None = None,
) -> Measurement:
    """What is wanted of each completion."""
    with policy.sampling():  # processes that share weights enter it together, whatever they want
        forward = policy.forward()
        own = _completions(rollout) if wanted.logprobs or wanted.self_certainty else []
        others = _continuations(policy, rollout, wanted, limits)
        texts = list(dict.fromkeys([*own, *(text for row in others for text in row if text)]))
        found = _Measuring(policy, forward, rollout, limits, should_stop).values(texts)
    known = dict(zip(texts, found, strict=True))
    return Measurement(
        logprobs=tuple(known[text][0] for text in own) if wanted.logprobs else None,
        self_certainty=tuple(known[text][1] for text in own) if wanted.self_certainty else None,
        continuations=tuple(
            tuple(None if text is None else known[text][0] for text in row) for row in others
        ),
        vocabulary=forward.vocabulary,
    )


def _completions(rollout: Rollout) -> list[Text]:
    texts = []
    for p, g in rollout.rows():
        tokens = rollout.completions[p][g].token_ids
        texts.append(Text(p, tokens, len(tokens)))
    return texts


def _continuations(
    policy: Policy, rollout: Rollout, wanted: Wanted, limits: Limits
) -> list[list[Text | None]]:
    """The texts of each row; None where there is no target, or the text is too long."""
    if not wanted.continuations:
        return []
    found: list[list[Text | None]] = []
    for (p, _), row in zip(rollout.rows(), wanted.continuations, strict=True):
        texts: list[Text | None] = []
        for one in row:
            ids, count = policy.tokenizer.encode_target(one.before, one.target)
            fits = len(rollout.prompt_ids[p]) + len(ids) <= limits.longest
            texts.append(Text(p, ids, count) if count and fits else None)
        found.append(texts)
    return found


@dataclass(frozen=True)
class _Measuring:
    policy: Policy
    forward: Forward
    rollout: Rollout
    limits: Limits
    should_stop: ShouldStop | None

    def values(self, texts: Sequence[Text]) -> list[Values]:
        """In micro-batches, in the order of the texts."""
        rows = [self._row(index, text) for index, text in enumerate(texts)]
        found: dict[int, Values] = {row.index: ((), ()) for row in rows}
        parts = micro_batches(
            [row for row in rows if row.tokens],
            limit_rows=self.limits.rows,
            limit_tokens=self.limits.tokens,
            shared=self.forward.shared,
        )
        for part in parts:
            found.update(self._fitting(part, texts))
        return [found[row.index] for row in rows]

    def _row(self, index: int, text: Text) -> Row:
        return Row(
            index=index,
            prompt=text.prompt,
            prompt_ids=self.rollout.prompt_ids[text.prompt],
            tokens=text.tokens,
            advantage=0.0,
            weight=1.0,
            truncated=False,
            sampler_logprobs=None,
        )

    def _fitting(self, rows: Sequence[Row], texts: Sequence[Text]) -> dict[int, Values]:
        """The rows at once, or in halves where they do not fit into a GPU's memory."""
        try:
            return self._values(rows, texts)
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise OutOfMemoryError(
                    "measuring one completion does not fit in memory",
                    place=f"step {self.rollout.sampling.step}",
                    remedy="lower rollout.max_tokens or backend.with.logit_rows",
                ) from error
        free_memory(self.policy.device)
        half = (len(rows) + 1) // 2
        return self._fitting(rows[:half], texts) | self._fitting(rows[half:], texts)

    def _values(self, rows: Sequence[Row], texts: Sequence[Text]) -> dict[int, Values]:
        if self.should_stop is not None:
            self.should_stop()
        counts = [texts[row.index].count for row in rows]
        wanted = [
            position >= len(row.tokens) - count
            for row, count in zip(rows, counts, strict=True)
            for position in range(len(row.tokens))
        ]
        device = self.policy.device
        batch = to_batch(rows, self.policy.tokenizer.pad_id, device)
        both = self.forward.certainty(batch, torch.tensor(wanted, device=device))
        logprobs, certainty = (torch.split(values.cpu(), counts) for values in both)
        return {
            row.index: (tuple(own.tolist()), tuple(sure.tolist()))
            for row, own, sure in zip(rows, logprobs, certainty, strict=True)
        }
