"""The tokenizer of a GGUF file: tokens by id, their kinds, merges, and which way text is cut first.

A GGUF file names its first cut (``tokenizer.ggml.pre``) and does not describe it, so only those that
are recognised by their definition are written. Everything else is refused: a wrong name makes
programs of the llama.cpp family read other tokens, without a word.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from grpokit.api import PreflightError
from grpokit_hf.text.tokenizer import ChatTokenizer

__all__ = ["Words", "byte_letters", "words_of"]

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
DIGITS = {"n": r"\p{N}", "n3": r"\p{N}{1,3}"}
CUT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {CUT % DIGITS["n"]: "qwen2", CUT % DIGITS["n3"]: "llama-bpe"}
SINGLE = r"[\s\S]"


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the file's ``tokenizer.ggml.*`` keys say."""

    pre: str
    tokens: list[str]
    kinds: list[int]
    merges: list[str]
    notes: tuple[str, ...] = ()


def words_of(tokenizer: ChatTokenizer, size: int) -> Words:
    """Reads ``tokenizer.json``; ``size`` is the number of the model's token embeddings.

    Raises:
        PreflightError: the tokenizer is of a kind that is not written.
    """
    data: dict[str, Any] = json.loads(tokenizer.backend.to_str())
    model = data["model"]
    letters = model["type"] == "WordLevel" and one_letter(data)
    if not letters and model["type"] != "BPE":
        raise unknown(tokenizer, f"its model is {model['type']}")
    pre = "gpt-2" if letters else first_cut(data, tokenizer)
    tokens, kinds = table(data, tokenizer, size, letters=letters)
    notes = ("text outside of ASCII is read differently by llama.cpp",) if letters else ()
    # llama.cpp wants merges; this one joins two bytes that no UTF-8 text has.
    merges = (
        [" ".join(2 * [byte_letters()[0xFF]])]
        if letters
        else [as_pair(merge) for merge in model["merges"]]
    )
    return Words(pre=pre, tokens=tokens, kinds=kinds, merges=merges, notes=notes)


def table(
    data: dict[str, Any], tokenizer: ChatTokenizer, size: int, *, letters: bool
) -> tuple[list[str], list[int]]:
    """Text and kind of every id; ids that no token has are filled up."""
    added = {each["id"]: each for each in data["added_tokens"]}
    by_id = {index: text for text, index in tokenizer.vocabulary.items()}
    tokens, kinds = [], []
    for index in range(max(size, max(by_id) + 1)):
        if index not in by_id:
            tokens.append(f"[PAD{index}]")
            kinds.append(UNUSED)
        elif index in added or index in tokenizer.special:
            tokens.append(by_id[index])
            kinds.append(CONTROL if index in tokenizer.special else USER_DEFINED)
        else:
            tokens.append(encoded(by_id[index]) if letters else by_id[index])
            kinds.append(NORMAL)
    if len(tokens) > size:
        raise PreflightError(
            f"the tokenizer has {len(tokens)} tokens, the model has {size} embeddings",
            place=str(tokenizer.folder),
            remedy="use --merged",
        )
    return tokens, kinds


def first_cut(data: dict[str, Any], tokenizer: ChatTokenizer) -> str:
    """The name that llama.cpp has for the way in which text is cut before merges are applied."""
    steps = flat(data.get("pre_tokenizer"))
    *before, last = steps or [{}]
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        raise unknown(tokenizer, "it is not byte-level")
    kinds = [step["type"] for step in before]
    if not kinds and last.get("use_regex", True):
        return "gpt-2"
    digits = kinds == ["Digits"] and before[0].get("individual_digits")
    if digits and last.get("use_regex", True):
        return "smollm"
    if kinds == ["Split"] and not last.get("use_regex", True) and plain_split(before[0]):
        pattern = before[0]["pattern"].get("Regex", "")
        if pattern in PATTERNS:
            return PATTERNS[pattern]
    raise unknown(tokenizer, "its way of cutting text is not one that is known here")


def plain_split(step: dict[str, Any]) -> bool:
    return step.get("behavior") == "Isolated" and not step.get("invert")


def flat(step: dict[str, Any] | None) -> list[dict[str, Any]]:
    if step is None:
        return []
    if step["type"] == "Sequence":
        return [inner for each in step["pretokenizers"] for inner in flat(each)]
    return [step]


def one_letter(data: dict[str, Any]) -> bool:
    """A token a character, as in tiny models: byte-level BPE without merges reads ASCII alike."""
    steps = flat(data.get("pre_tokenizer"))
    single = [step for step in steps if step.get("pattern", {}).get("Regex") == SINGLE]
    special = {each["content"] for each in data["added_tokens"]}
    letters = data["model"]["vocab"].keys() - special
    return len(steps) == len(single) == 1 and all(
        len(text) == 1 and text.isascii() for text in letters
    )


def encoded(letter: str) -> str:
    return byte_letters()[ord(letter)]


def byte_letters() -> list[str]:
    """How byte-level BPE writes each byte: printable Latin-1 as itself, the others from U+0100 on."""
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def as_pair(merge: str | list[str]) -> str:
    return merge if isinstance(merge, str) else " ".join(merge)


def unknown(tokenizer: ChatTokenizer, why: str) -> PreflightError:
    return PreflightError(
        f"this tokenizer cannot be written into a GGUF file: {why}",
        place=str(tokenizer.folder / "tokenizer.json"),
        remedy="use --merged, and convert that folder with llama.cpp's own program",
    )
