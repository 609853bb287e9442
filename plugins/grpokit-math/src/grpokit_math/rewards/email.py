"""The e-mail example of rewards without a verifier: small things that can be checked, added up."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pydantic import Field

from grpokit.api import Config, Score, strip_thinking

__all__ = ["EmailConfig", "email"]

ADDRESS_AT = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{1,63}")
PHONE = re.compile(r"\+?\d[\d ()/.-]{5,20}\d")
STREET = re.compile(
    r"^[^\w\n+]{0,4}\d{1,5}[a-z]?,? [^\W\d]|[^\W\d][^\n\d]{0,60} \d{1,5}[a-z]?(?:,|$)", re.MULTILINE
)


class EmailConfig(Config):
    """Settings of the reward `email`."""

    max_words: int = Field(default=200, ge=1)
    """Words of the longest reply that is not too long."""
    signature_lines: int = Field(default=8, ge=1, le=50)
    """Lines at the end in which the signature stands."""


def email(config: EmailConfig) -> Callable[..., Score | None]:
    """Builds the reward of the e-mail example; the score is the sum of its parts (R08).

    ``keyword`` +1 if the row's column of this name occurs, ``exact`` +1 if the reply is the column
    ``answer``, ``recipient`` +1 if that column occurs, ``signature`` +1 for a block with a phone number,
    an e-mail address and a postal address, ``length`` -1 if the reply is too long. A part whose column
    the row does not have, or has empty, is left out; it is not 0. Case and white space do not count.
    An empty reply to a row without any of the columns earns 0: it has no signature and is not too long.
    """

    def score(
        completion: str, answer: Any = None, keyword: Any = None, recipient: Any = None
    ) -> Score | None:
        text = strip_thinking(completion) or ""
        reply = _plain(text)
        parts: dict[str, float] = {}
        for name, value in (("keyword", keyword), ("recipient", recipient)):
            wanted = _plain(str(value)) if value is not None else ""
            if wanted:
                parts[name] = float(_has_words(reply, wanted))
        ideal = _plain(str(answer)) if answer is not None else ""
        if ideal:
            parts["exact"] = float(reply == ideal)
        parts["signature"] = float(_has_signature(text, config.signature_lines))
        parts["length"] = -1.0 if len(reply.split()) > config.max_words else 0.0
        return Score(value=sum(parts.values()), components=parts)

    return score


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _has_words(text: str, words: str) -> bool:
    """Whether the words stand there by themselves: ``Ann`` is not in ``planning``."""
    position = text.find(words)
    while position >= 0:
        end = position + len(words)
        before = text[position - 1 : position] if position else ""
        if not before.isalnum() and not text[end : end + 1].isalnum():
            return True
        position = text.find(words, position + 1)
    return False


def _has_signature(text: str, lines: int) -> bool:
    tail = "\n".join(line[:200] for line in text.rstrip().split("\n")[-lines:])
    return all(pattern.search(tail) is not None for pattern in (ADDRESS_AT, PHONE, STREET))
