r"""How a row becomes chat messages. Training, evaluation and plan call this and nothing else.

A template is text with ``{column}`` in it; ``{{`` and ``}}`` are braces. Nothing else is
understood: no attributes, no indexes, no format codes. A column's text is put in as it is, so
braces inside a question are safe.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from grpokit.builtins.prompts import SPECS
from grpokit.errors import PreflightError
from grpokit.spec.contracts import Dataset
from grpokit.spec.recipe import PromptSection

if TYPE_CHECKING:
    from grpokit.spec.components import PromptSpec
    from grpokit.spec.flow import Message, Prompt

__all__ = [
    "TEMPLATES",
    "PromptMaker",
    "Template",
    "TemplateError",
    "build_messages",
    "fill",
    "make_prompt",
    "make_prompts",
    "placeholders",
    "prompt_id",
    "resolve_template",
    "with_texts",
]

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Template:
    """The system message (may be empty), the user message, and what it is for."""

    summary: str
    user: str = "{question}"
    system: str = ""


TEMPLATES: dict[str, Template] = {
    spec.name: Template(summary=spec.summary, user=spec.user, system=spec.system) for spec in SPECS
}
"""The built-in templates of ``prompt.use``."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME = re.compile(r"[^\W\d][\w -]*")


class TemplateError(ValueError):
    """A template has a stray brace, or something in braces that is no column name."""


def placeholders(template: str) -> tuple[str, ...]:
    """The columns a template uses, in order of appearance; raises :class:`TemplateError`."""
    names: dict[str, None] = {}
    for match in _TOKEN.finditer(template):
        token, name = match.group(0), match.group(1)
        if token in {"{{", "}}"}:
            continue
        if name is None:
            raise TemplateError(f"a single `{token}` at character {match.start() + 1}")
        if not _NAME.fullmatch(name):
            raise TemplateError(f"`{token}` is no column name")
        names[name] = None
    return tuple(names)


def fill(template: str, row: Row, *, place: str = "") -> str:
    """The template with the row's columns put in.

    Numbers are written as Python writes them; a column that is missing or None is an error,
    because a model would otherwise be asked the word "None".
    """

    def replace(match: re.Match[str]) -> str:
        token, name = match.group(0), match.group(1)
        if token in {"{{", "}}"}:
            return token[0]
        if row.get(name) is None:
            raise _missing_column(name, row, place)
        return str(row[name])

    placeholders(template)
    return _TOKEN.sub(replace, template)


def _missing_column(name: str, row: Row, place: str) -> PreflightError:
    if name in row:
        return PreflightError(
            f"the column {name!r}, which the prompt uses, is empty here",
            place=place,
            remedy="remove the row, or choose another column in prompt.template",
        )
    return PreflightError(
        f"the prompt uses the column {name!r}; the data set has {', '.join(sorted(row)) or 'none'}",
        place=place,
        remedy=f"map it with dataset.columns: {{{name}: EXISTING_COLUMN}}, or set prompt.template",
    )


def resolve_template(section: PromptSection) -> Template:
    """The named template, with the recipe's own system and user messages in place of its.

    The texts of a plugin's template are in the section already (see :func:`with_texts`).
    """
    base = TEMPLATES.get(section.use)
    if base is None and section.template is not None:
        base = Template(summary="", user=section.template)
    if base is None:
        raise PreflightError(
            f"there is no prompt template {section.use!r}",
            place="prompt.use",
            remedy=f"use one of {', '.join(TEMPLATES)}",
        )
    return Template(
        summary=base.summary,
        user=base.user if section.template is None else section.template,
        system=base.system if section.system is None else section.system,
    )


def with_texts(section: PromptSection, spec: PromptSpec) -> PromptSection:
    """The section with a plugin's texts where the recipe has none of its own.

    So what is recorded of a run says every word of its prompts, whatever becomes of the plugin.
    """
    texts: dict[str, Any] = {}
    if section.system is None:
        texts["system"] = spec.system
    if section.template is None:
        texts["template"] = spec.user
    if "examples" not in section.model_fields_set and spec.examples:
        texts["examples"] = [{"question": q, "answer": a} for q, a in spec.examples]
    return section.model_copy(update=texts)


def build_messages(section: PromptSection, row: Row, *, place: str = "") -> tuple[Message, ...]:
    """System message if there is one, each example as a user and an assistant turn, the question.

    Examples pass through the same user template as the row, so that they look alike to the model;
    the example's ``answer`` is the assistant's turn, word for word.
    """
    template = resolve_template(section)
    messages: list[Message] = []
    if template.system:
        messages.append({"role": "system", "content": fill(template.system, row, place=place)})
    for number, example in enumerate(section.examples):
        where = f"prompt.examples.{number}"
        user = fill(template.user, {**row, **example}, place=where)
        messages.append({"role": "user", "content": user})
        messages.append({"role": "assistant", "content": example["answer"]})
    messages.append({"role": "user", "content": fill(template.user, row, place=place)})
    return tuple(messages)


def prompt_id(messages: tuple[Message, ...], answer: object) -> str:
    """The first 16 hex digits of the SHA-256 of messages and gold answer, as canonical JSON."""
    text = json.dumps(
        [list(messages), answer],
        ensure_ascii=True,
        sort_keys=True,
        separators=(",", ":"),
        default=str,
    )
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def make_prompt(section: PromptSection, row: Row, index: int) -> Prompt:
    """The prompt of one data set row."""
    from grpokit.spec.flow import Prompt  # checking a recipe needs templates only

    messages = build_messages(section, row, place=f"data set row {index}")
    return Prompt(
        id=prompt_id(messages, row.get("answer")), index=index, row=row, messages=messages
    )


class PromptMaker:
    """The prompts of one step, in as many calls as it has rounds.

    Equal ones stay apart: the second is called ``id#2``. Random numbers derive from the id, so that a
    question which appears twice in a step gets different answers.
    """

    def __init__(self, section: PromptSection, dataset: Dataset) -> None:
        self.section = section
        self.dataset = dataset
        self.seen: Counter[str] = Counter()

    def __call__(self, rows: Iterable[int]) -> list[Prompt]:
        """The prompts of these rows of the data set."""
        prompts = []
        for index in rows:
            prompt = make_prompt(self.section, self.dataset[index], index)
            self.seen[prompt.id] += 1
            if self.seen[prompt.id] > 1:
                prompt = replace(prompt, id=f"{prompt.id}#{self.seen[prompt.id]}")
            prompts.append(prompt)
        return prompts


def make_prompts(section: PromptSection, dataset: Dataset, rows: Iterable[int]) -> list[Prompt]:
    """The prompts of these rows, equal ones apart."""
    return PromptMaker(section, dataset)(rows)
