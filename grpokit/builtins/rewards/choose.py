"""Where the answer of a completion stands: the first form of a list that the completion uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from grpokit.api import has_boxed, last_boxed, last_hash, last_tag

__all__ = ["AnswerForm", "find_answer"]

AnswerForm = Literal["boxed", "answer", "hash", "last", "whole"]

_FORMS: dict[str, tuple[Callable[[str], bool], Callable[[str], str | None]]] = {
    "boxed": (has_boxed, last_boxed),
    "answer": (lambda text: "<answer>" in text, lambda text: last_tag(text, "answer")),
    "hash": (lambda text: "####" in text, last_hash),
}


def find_answer(text: str, forms: Sequence[AnswerForm]) -> tuple[AnswerForm, str] | None:
    """The form that was used and its content; None if there is no answer.

    A form that was begun ends the search, also when it is empty or not closed: a truncated box is no
    answer, and looking further would make one up.
    """
    for form in forms:
        if form in ("last", "whole"):
            return form, text
        begun, read = _FORMS[form]
        if begun(text):
            content = read(text)
            return None if content is None else (form, content)
    return None
