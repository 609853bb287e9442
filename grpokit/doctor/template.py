"""What a chat template does to turns, seen through a backend's own rendering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpokit.errors import GrpokitError

if TYPE_CHECKING:
    from grpokit.spec.flow import Message

__all__ = ["Turns", "look_at_turns"]

ASKED = "What is six times seven?"
ANSWERED = "Forty-two."
ASKED_NEXT = "And seven times six?"


@dataclass(frozen=True, kw_only=True)
class Turns:
    """What stands between the turns of a conversation.

    Attributes:
        opening: text between a question and the place where the model begins to write.
        closing: text between an answer and the next question.
        same: whether an earlier answer stands behind the same text as the one to come; where it does
            not, the template treats the answer to be written in its own way (thinking, for instance).
        problem: why nothing can be said.
    """

    opening: str = ""
    closing: str = ""
    same: bool = False
    problem: str = ""

    @property
    def works(self) -> bool:
        """Whether the model is asked to write: something opens its turn."""
        return not self.problem and bool(self.opening.strip())


def look_at_turns(render: Callable[[Sequence[Message]], str]) -> Turns:
    """Renders one question, then a conversation, and reads what the template put between them."""
    first: Message = {"role": "user", "content": ASKED}
    answer: Message = {"role": "assistant", "content": ANSWERED}
    second: Message = {"role": "user", "content": ASKED_NEXT}
    try:
        asked = render([first])
        talk = render([first, answer, second])
    except GrpokitError as error:
        return Turns(problem=str(error))
    _, found, opening = asked.rpartition(ASKED)
    if not found:
        return Turns(problem="the template changes or drops the question")
    before, found, rest = talk.partition(ANSWERED)
    if not found:
        return Turns(opening=opening, problem="the template drops an assistant's earlier answer")
    between = before.rpartition(ASKED)[2]
    closing = rest.partition(ASKED_NEXT)[0]
    return Turns(opening=opening, closing=closing, same=between == opening)
