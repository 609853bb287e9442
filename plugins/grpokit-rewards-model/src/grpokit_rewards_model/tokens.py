"""A conversation as the tokens of a reward model.

A completion may spell special tokens, such as the end of a turn and a user's praise after it. They
would be read as such, so where a completion holds one it is tokenised as plain text, apart from what
the template puts around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Encoded", "Encoder"]

MARK = "grpokit completion 5b0f7c"
"""Stands for the completion while the template is rendered around it."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Tokens of one conversation; none where it is too long to be scored."""

    ids: Sequence[int]
    types: Sequence[int] = ()
    tokens: int = 0
    cut: bool = False
    note: str = ""


class Encoder:
    """Makes tokens, at most ``limit`` of them."""

    def __init__(
        self, tokenizer: Any, *, limit: int, too_long: Literal["abstain", "cut-start", "cut-end"]
    ) -> None:
        self._tokenizer = tokenizer
        self._limit = limit
        self._too_long = too_long
        added = tokenizer.added_tokens_decoder.values()
        self._special = {*tokenizer.all_special_tokens, *(str(t) for t in added if t.special)}
        if too_long != "abstain":
            tokenizer.truncation_side = "left" if too_long == "cut-start" else "right"

    def chat(self, messages: Sequence[Mapping[str, Any]], completion: str) -> Encoded:
        """The conversation with the completion as the assistant's turn, by the model's template."""
        if not messages:
            raise ValueError("this row has no messages; form: completion needs none")
        completion = _clean(completion)
        if self._spelled(completion):
            before, _, after = self._rendered(messages, MARK).rpartition(MARK)
            ids = [*self._ids(before), *self._ids(completion, plain=True), *self._ids(after)]
        else:
            ids = self._ids(self._rendered(messages, completion))
        return self._limited(ids)

    def pair(self, prompt: str, completion: str) -> Encoded:
        """Two texts, as the tokenizer joins them."""
        return self._framed(_clean(prompt), _clean(completion))

    def text(self, completion: str) -> Encoded:
        """The completion alone."""
        return self._framed(_clean(completion))

    def _framed(self, *texts: str) -> Encoded:
        plain = self._spelled(texts[-1])
        whole = self._tokenizer(*texts, split_special_tokens=plain)
        count = len(whole["input_ids"])
        if count > self._limit and self._too_long != "abstain":
            whole = self._tokenizer(
                *texts,
                split_special_tokens=plain,
                truncation="longest_first",
                max_length=self._limit,
            )
        if len(whole["input_ids"]) > self._limit:
            return self._abstained(count)
        return Encoded(
            ids=whole["input_ids"],
            types=whole.get("token_type_ids", ()),
            tokens=count,
            cut=count > self._limit,
        )

    def _limited(self, ids: Sequence[int]) -> Encoded:
        count = len(ids)
        if count <= self._limit:
            return Encoded(ids=ids, tokens=count)
        if self._too_long == "abstain":
            return self._abstained(count)
        kept = ids[-self._limit :] if self._too_long == "cut-start" else ids[: self._limit]
        return Encoded(ids=kept, tokens=count, cut=True)

    def _abstained(self, count: int) -> Encoded:
        note = f"{count} tokens are more than the reward model's {self._limit}"
        return Encoded(ids=(), tokens=count, note=note)

    def _rendered(self, messages: Sequence[Mapping[str, Any]], completion: str) -> str:
        talk = [*messages, {"role": "assistant", "content": completion}]
        return str(self._tokenizer.apply_chat_template(talk, tokenize=False))

    def _ids(self, text: str, *, plain: bool = False) -> list[int]:
        found = self._tokenizer(text, add_special_tokens=False, split_special_tokens=plain)
        return list(found["input_ids"])

    def _spelled(self, text: str) -> bool:
        return any(token in text for token in self._special)


def _clean(text: str) -> str:
    """Lone surrogates become question marks: no tokenizer takes them."""
    return text.encode("utf-8", "replace").decode("utf-8")
