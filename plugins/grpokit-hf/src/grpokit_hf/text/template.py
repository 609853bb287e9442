"""Chat templates: Jinja in a sandbox, with the few names that templates on the hub expect."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from grpokit.api import Message, PreflightError

if TYPE_CHECKING:
    from jinja2.parser import Parser

__all__ = ["TODAY", "ChatTemplate"]

TODAY = datetime(2024, 7, 26, tzinfo=UTC)
"""What templates get that ask for the date. A fixed one: a prompt must not change overnight, or a
resumed run would not continue the one that was stopped. It is the default of Llama's own templates."""


class GenerationTag(Extension):
    """``{% generation %}...{% endgeneration %}`` marks what an assistant wrote; here it only passes through."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own declaration

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON; Jinja's own filter would escape for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def strftime_now(form: str) -> str:
    return TODAY.strftime(form)


def environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    made.filters["tojson"] = to_json
    helpers: dict[str, Callable[[str], str]] = {
        "raise_exception": raise_exception,
        "strftime_now": strftime_now,
    }
    made.globals.update(helpers)
    return made


class ChatTemplate:
    """A compiled chat template and the special tokens that it may name."""

    def __init__(self, source: str, tokens: Mapping[str, str], place: str) -> None:
        self.source = source
        self.tokens = dict(tokens)
        self.place = place
        try:
            self.compiled: Template = environment().from_string(source)
        except TemplateError as error:
            raise PreflightError(
                f"the chat template does not compile: {error}",
                place=place,
                remedy="correct it, or set model.chat_template to a file with a template that works",
            ) from error

    def render(self, messages: Sequence[Message], *, open_turn: bool = True) -> str:
        """The conversation as text; with ``open_turn`` it ends where the assistant would begin."""
        try:
            return self.compiled.render(
                messages=[dict(message) for message in messages],
                tools=None,
                documents=None,
                add_generation_prompt=open_turn,
                **self.tokens,
            )
        except (TemplateError, TypeError, ValueError, KeyError, ArithmeticError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise PreflightError(
                f"the chat template refuses a conversation of [{roles}]: {error}",
                place=self.place,
                remedy="change `prompt` (some templates take no system message), "
                "or set model.chat_template to a file with another template",
            ) from error
