"""What ends the model's turn. Tokenizers are often wrong about it; the chat template rarely is.

The end is found by rendering an assistant's message and reading what the template puts after it.
Declared ends (tokenizer, config.json, generation_config.json) are kept as further stops, except
one that opens turns: stopping there is harmless, but taking it for *the* end means that the model
is never seen to finish.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from grpokit.api import Message, PreflightError

__all__ = ["Ends", "find_ends", "show", "turn_end"]

MARK = "Forty-two."
Render = Callable[[Sequence[Message], bool], str]
Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Ends:
    """The ids that stop a completion; ``main`` is the one that ends a turn."""

    main: int
    ids: frozenset[int]
    notes: tuple[str, ...] = ()


def turn_end(render: Render, encode: Encode, special: frozenset[int]) -> int | None:
    """The special token that the template puts right after an assistant's message, or None."""
    talk: list[Message] = [
        {"role": "user", "content": "What is six times seven?"},
        {"role": "assistant", "content": MARK},
    ]
    try:
        text = render(talk, False)
    except PreflightError:  # a template that knows no assistant turns tells nothing
        return None
    _, found, after = text.rpartition(MARK)
    if not found:
        return None
    ids = encode(after.lstrip())
    return ids[0] if ids and ids[0] in special else None


def find_ends(
    *,
    render: Render,
    encode: Encode,
    special: Mapping[int, str],
    vocabulary: Mapping[str, int],
    declared: Mapping[str, Sequence[int]],
    wanted: str | None,
    place: str,
) -> Ends:
    """Puts together what ends a turn.

    Args:
        render: (messages, open_turn) -> text.
        encode: text -> ids without added tokens.
        special: id -> text of the special tokens.
        vocabulary: token text -> id.
        declared: file -> ids that it calls end of sequence.
        wanted: the recipe's ``model.eos``.
        place: the model, for messages.
    """
    if wanted is not None:
        main: int | None = chosen_end(wanted, vocabulary, special, place)
    else:
        main = turn_end(render, encode, frozenset(special))
    opening = set(encode(opening_text(render)))
    notes: list[str] = []
    ids: set[int] = set()
    for source, tokens in declared.items():
        for token in tokens:
            name = special.get(token, "")
            if token in opening and token != main:
                notes.append(f"{source} names {show(name, token)} as the end, but it opens turns")
            else:
                ids.add(token)
    if main is None:
        if not ids:
            raise PreflightError(
                "nothing says which token ends the model's turn"
                + (f" ({'; '.join(notes)})" if notes else ""),
                place=place,
                remedy="set model.eos to the token, for instance `--set model.eos='<|im_end|>'`",
            )
        main = next(token for tokens in declared.values() for token in tokens if token in ids)
    if notes or (declared and main not in ids):
        origin = "model.eos says" if wanted is not None else "the chat template ends turns with"
        missing = [] if main in ids or notes else ["no file of the model names the end of a turn"]
        notes = [*notes, *missing]
        notes[-1] += f"; {origin} {show(special.get(main, ''), main)}, which is used"
    return Ends(main=main, ids=frozenset(ids | {main}), notes=tuple(notes))


def opening_text(render: Render) -> str:
    """What the template adds to open the assistant's turn."""
    talk: list[Message] = [{"role": "user", "content": "Hello"}]
    closed, opened = render(talk, False), render(talk, True)
    return opened[len(closed) :] if opened.startswith(closed) else ""


def chosen_end(
    wanted: str, vocabulary: Mapping[str, int], special: Mapping[int, str], place: str
) -> int:
    if wanted in vocabulary:
        return vocabulary[wanted]
    names = list(special.values())
    near = get_close_matches(wanted, names, n=3) or names[:8]
    raise PreflightError(
        f"model.eos {wanted!r} is no token of this model",
        place=place,
        remedy=f"special tokens are {', '.join(near)}",
    )


def show(name: str, token: int) -> str:
    """A token for people: its text where it is special, and its id."""
    return f"{name} (id {token})" if name else f"id {token}"
