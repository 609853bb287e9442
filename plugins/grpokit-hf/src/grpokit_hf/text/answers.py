"""Completions that end where their answer is complete (``Sampling.until``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from grpokit.api import CLOSING, Until, answered

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from grpokit_hf.nn.rows import Drawn

__all__ = ["Answers", "Endings", "opened"]

OPEN, CLOSE = "<think>", "</think>"


def opened(prompt: str) -> bool:
    """Whether a rendered prompt ends within thinking: its template has opened it."""
    return prompt.rfind(OPEN) > prompt.rfind(CLOSE)


class Answers:
    """Says of a completion's tokens whether the last one completes its first answer.

    The text is looked at only where a token holds the character that can close an answer.
    """

    def __init__(self, backend: Tokenizer, until: Until) -> None:
        self.backend = backend
        self.until = until
        ids = sorted(backend.get_vocab(with_added_tokens=True).values())
        texts = backend.decode_batch([[token] for token in ids], skip_special_tokens=True)
        self.closing = frozenset(
            token for token, text in zip(ids, texts, strict=True) if CLOSING[until] in text
        )

    def __call__(self, tokens: Sequence[int], *, thinking: bool) -> bool:
        """``thinking`` says that the completion begins within thinking."""
        if tokens[-1] not in self.closing:
            return False
        text = str(self.backend.decode(list(tokens), skip_special_tokens=True))
        return answered(OPEN + text if thinking else text, self.until)


class Endings:
    """:class:`Answers` for the rows of one call."""

    def __init__(self, answers: Answers, thinking: Sequence[bool]) -> None:
        self.answers = answers
        self.thinking = thinking

    def __call__(self, row: int, tokens: Sequence[int]) -> bool:
        return self.answers(tokens, thinking=self.thinking[row])

    def cut(self, rows: Sequence[Drawn]) -> list[Drawn]:
        """The completions without what a sampler drew after their answers."""
        return [self._cut(row, drawn) for row, drawn in enumerate(rows)]

    def _cut(self, row: int, drawn: Drawn) -> Drawn:
        for end in range(1, len(drawn.tokens) + 1):
            if self(row, drawn.tokens[:end]):
                tokens, logprobs = drawn.tokens[:end], drawn.logprobs[:end]
                return replace(drawn, tokens=tokens, logprobs=logprobs, ended=True)
        return drawn
