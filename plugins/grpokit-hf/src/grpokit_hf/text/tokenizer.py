"""ChatTokenizer: the one way from messages to token ids, used by training, evaluation and plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.api import Message, PreflightError, Until
from grpokit_hf.text.answers import Answers, Endings, opened
from grpokit_hf.text.ends import Ends, find_ends, show
from grpokit_hf.text.template import ChatTemplate

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["ChatTokenizer", "read_json"]

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class ChatTokenizer:
    """Renders, encodes and decodes, and knows which ids end a turn.

    Reads ``tokenizer.json``, ``tokenizer_config.json`` and the chat template of a model folder.
    The text of a rendered prompt is encoded without added tokens, because templates write their
    own beginning-of-sequence token; so it is never there twice.

    Attributes:
        ends: the ids that stop a completion, and what had to be repaired.
        pad_id: an id to fill rows with; masks go by length, never by this id.
        notes: sentences about repairs, for people.
    """

    def __init__(
        self, folder: Path, *, eos: str | None = None, chat_template: str | None = None
    ) -> None:
        self.folder = folder
        self.backend = load_backend(folder)
        self.settings = read_json(folder / "tokenizer_config.json")
        self.tokens = special_tokens(folder, self.settings)
        self.vocabulary: dict[str, int] = self.backend.get_vocab(with_added_tokens=True)
        self.special = self._special()
        place, source = template_source(folder, self.settings, chat_template)
        self.template_place = place
        self.template = ChatTemplate(source, self.tokens, place)
        self.ends: Ends = find_ends(
            render=lambda messages, open_turn: self.template.render(messages, open_turn=open_turn),
            encode=self.encode_text,
            special=self.special,
            vocabulary=self.vocabulary,
            declared=self._declared(),
            wanted=eos,
            place=str(folder),
        )
        self.pad_id, pad_notes = self._pad()
        self.answers: dict[Until, Answers] = {}
        self.notes = (*self.ends.notes, *pad_notes, *self._date_note())

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt as text, ending where the assistant's answer begins."""
        return self.template.render(messages)

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of the rendered prompt."""
        return self.encode_text(self.render(messages))

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Token ids of text that is already rendered."""
        return tuple(self.backend.encode(text, add_special_tokens=False).ids)

    def encode_target(self, before: str, target: str) -> tuple[tuple[int, ...], int]:
        """Token ids of ``before + target`` as one text, and how many at the end overlap ``target``.

        A token may reach over the border; it belongs to the target then. None does where the target
        is empty. What looks like a special token is text: a completion cannot end its own turn.
        """
        self.backend.encode_special_tokens = True
        try:
            found = self.backend.encode(before + target, add_special_tokens=False)
        finally:
            self.backend.encode_special_tokens = False
        border = len(before)
        inside = [end > border for _, end in found.offsets]
        first = inside.index(True) if target and any(inside) else len(inside)
        return tuple(found.ids), len(inside) - first

    def count(self, text: str) -> int:
        return len(self.encode_text(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Text without special tokens."""
        return str(self.backend.decode(list(ids), skip_special_tokens=True))

    def endings(self, until: Until | None, prompts: Sequence[Sequence[int]]) -> Endings | None:
        """What ends a completion of each of these prompts besides the end of the turn."""
        if until is None:
            return None
        if until not in self.answers:
            self.answers[until] = Answers(self.backend, until)
        known = {ids: opened(self.decode(ids)) for ids in set(map(tuple, prompts))}
        return Endings(self.answers[until], [known[tuple(ids)] for ids in prompts])

    def words(self) -> dict[str, str]:
        """What the files say about turns and filling, for people."""

        def named(token: int) -> str:
            return show(self.special.get(token, ""), token)

        declared = {
            source: ", ".join(map(named, tokens)) for source, tokens in self._declared().items()
        }
        return {
            "chat template": self.template_place,
            "end of turn": named(self.ends.main),
            "also stops at": ", ".join(map(named, sorted(self.ends.ids - {self.ends.main}))) or "-",
            **{f"eos in {source}": text for source, text in declared.items()},
            "pad": named(self.pad_id),
        }

    @cached_property
    def template_hash(self) -> str:
        return hashlib.sha256(self.template.source.encode()).hexdigest()[:16]

    @cached_property
    def tokenizer_hash(self) -> str:
        return hashlib.sha256((self.folder / "tokenizer.json").read_bytes()).hexdigest()[:16]

    def _special(self) -> dict[int, str]:
        added = self.backend.get_added_tokens_decoder()
        special = {index: token.content for index, token in added.items() if token.special}
        for name in NAMED:
            text = self.tokens.get(name)
            if text is not None and text in self.vocabulary:
                special.setdefault(self.vocabulary[text], text)
        return special

    def _declared(self) -> dict[str, list[int]]:
        """File -> ids that it calls the end of a sequence."""
        declared: dict[str, list[int]] = {}
        named = self.tokens.get("eos_token")
        if named is not None and named in self.vocabulary:
            declared["tokenizer_config.json"] = [self.vocabulary[named]]
        for name in ("generation_config.json", "config.json"):
            ids = read_json(self.folder / name).get("eos_token_id")
            found = [ids] if isinstance(ids, int) else ids if isinstance(ids, list) else []
            if found:
                declared[name] = [int(token) for token in found]
        return declared

    def _pad(self) -> tuple[int, tuple[str, ...]]:
        named = self.tokens.get("pad_token")
        if named is not None and named in self.vocabulary:
            return self.vocabulary[named], ()
        unknown = self.tokens.get("unk_token")
        chosen = self.vocabulary.get(unknown or "", self.ends.main)
        note = (
            f"the tokenizer has no pad token; rows are filled with id {chosen} and masked by length"
        )
        return chosen, (note,)

    def _date_note(self) -> tuple[str, ...]:
        if "strftime_now" not in self.template.source:
            return ()
        return ("the chat template asks for today's date and always gets 26 July 2024",)


def load_backend(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise PreflightError(
            "the model has no tokenizer.json",
            place=str(folder),
            remedy="write one with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)",
        )
    try:
        backend = Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise PreflightError(
            f"the tokenizer cannot be read: {error}",
            place=str(path),
            remedy="bring the model again, or upgrade the package tokenizers",
        ) from error
    backend.no_truncation()
    backend.no_padding()
    return backend


def special_tokens(folder: Path, settings: Mapping[str, Any]) -> dict[str, str]:
    """Name -> text of the named special tokens."""
    both = {**read_json(folder / "special_tokens_map.json"), **settings}
    tokens = {}
    for name in NAMED:
        value = both.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            tokens[name] = text
    return tokens


def template_source(
    folder: Path, settings: Mapping[str, Any], override: str | None
) -> tuple[str, str]:
    """Where the template stands, and its text: the recipe's file, else the model's own."""
    if override is not None:
        path = Path(override).expanduser()
        try:
            return str(path), path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PreflightError(
                f"model.chat_template cannot be read: {getattr(error, 'strerror', error)}",
                place=str(path),
                remedy="give the path of a Jinja file",
            ) from error
    path = folder / "chat_template.jinja"
    if path.is_file():
        return str(path), path.read_text(encoding="utf-8")
    stored = settings.get("chat_template")
    if stored is None:
        stored = read_json(folder / "chat_template.json").get("chat_template")
    if isinstance(stored, list):
        named = {
            item.get("name"): item.get("template") for item in stored if isinstance(item, dict)
        }
        stored = named.get("default")
    if isinstance(stored, str) and stored:
        return str(folder / "tokenizer_config.json"), stored
    raise PreflightError(
        "the model has no chat template (base models often have none)",
        place=str(folder),
        remedy="set model.chat_template to a Jinja file, or use the instruct version of the model",
    )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty if the file is not there."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PreflightError(
            f"cannot be read: {error}", place=str(path), remedy="bring the model again"
        ) from error
    return value if isinstance(value, dict) else {}
