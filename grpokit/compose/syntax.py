"""What a YAML syntax error means, said with the likely cause and what to change.

PyYAML's two parsers word the same error differently, so only its kind and place are used.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from grpokit.compose.diagnostics import Report
from grpokit.compose.nodes import Mark

__all__ = ["explain"]

_CAUSES: tuple[tuple[str, str, str], ...] = (
    # what the parser's sentence holds, what is wrong, what to do
    (
        "mapping values are not allowed",
        "a second `:` makes this a mapping inside a value",
        "quote text that holds `: `, or check the indentation of this line and the one before",
    ),
    (
        "could not find expected ':'",
        "this line should be `key: value`, but the `:` is missing",
        "write a `:` and a space after the key, or close the quote or bracket before it",
    ),
    (
        "end of stream",
        "the file ends inside a quoted text",
        "close the quote that opens here",
    ),
    (
        "unknown escape character",
        "a backslash in double quotes begins an escape that does not exist",
        "use single quotes: '\\boxed{}' is then taken as it is",
    ),
    (
        "expected escape sequence",
        "a backslash in double quotes begins a broken escape",
        "use single quotes: '\\boxed{}' is then taken as it is",
    ),
    (
        "expected ',' or ']'",
        "a list in brackets is not closed, or a comma is missing in it",
        "write a comma between the items and `]` at the end",
    ),
    (
        "expected ',' or '}'",
        "a mapping in braces is not closed, or a comma is missing in it",
        "write a comma between the pairs and `}` at the end",
    ),
    (
        "node content",
        "a value is missing here, or a bracket before it is not closed",
        "write the value, or close the bracket",
    ),
    (
        "expected <block end>",
        "this line does not fit the indentation of those above it",
        "indent the keys of one mapping equally",
    ),
    (
        "expected block end",
        "this line does not fit the indentation of those above it",
        "indent the keys of one mapping equally",
    ),
    (
        "expected key",
        "this line does not fit the indentation of those above it",
        "indent the keys of one mapping equally",
    ),
    (
        "expected '-' indicator",
        "this line does not fit the list above it",
        "begin each item with `- `, all equally indented",
    ),
    (
        "block sequence entries are not allowed",
        "a list item begins where none can stand",
        "put the first `- ` on a line of its own, below the key",
    ),
    (
        "sequence entries are not allowed",
        "a list item begins where none can stand",
        "put the first `- ` on a line of its own, below the key",
    ),
    (
        "that cannot start any token",
        "a value cannot begin with this character",
        "quote the text: @, `, % and | > & * ! have a meaning in YAML",
    ),
    (
        "document start",
        "something follows the end of the recipe",
        "indent it like the lines above, or remove it",
    ),
    (
        "anchor",
        "the name after & or * is malformed",
        "quote text that begins with & or *",
    ),
    (
        "alias",
        "the name after & or * is malformed",
        "quote text that begins with & or *",
    ),
    (
        "tag",
        "a YAML tag is malformed; recipes have no tags",
        "quote text that begins with !",
    ),
    (
        "directive",
        "a line that begins with % is a YAML directive, and this one is malformed",
        "remove it",
    ),
)


_IN_A_NAME = ("an anchor", "an alias", "a tag", "a directive")
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_CLOSED_VALUE = re.compile(r"""(?::|-)\s+(\{.*\}|\[.*\]|".*"|'.*')\s*$""")


def explain(error: yaml.YAMLError, text: str, file: str, report: Report) -> None:
    """Adds the diagnostic of a syntax error."""
    problem = str(getattr(error, "problem", "") or "")
    context = str(getattr(error, "context", "") or "")
    place: Any = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    begins_earlier = "end of stream" in problem or "expected ':'" in problem
    if begins_earlier and getattr(error, "context_mark", None) is not None:
        place = error.context_mark  # type: ignore[attr-defined]  # where the quote or key stands
    line, column = (place.line, place.column) if place is not None else (0, 0)
    tab = _tab_in_indentation(text, line)
    if tab is not None:
        report.add(
            "Y202",
            Mark(file, tab[0] + 1, tab[1] + 1),
            "this line is indented with a tab",
            allowed="YAML indents with spaces",
            remedy="replace the tab by spaces",
        )
        return
    message, remedy = "this is not YAML", "check quotes, brackets and indentation around here"
    if any(words in context for words in _IN_A_NAME):  # of an anchor, an alias or a tag
        problem = context
        line, column = error.context_mark.line, error.context_mark.column  # type: ignore[attr-defined]
    for words, cause, cure in _CAUSES:
        if words in problem:
            message, remedy = cause, cure
            break
    lines = _LINE_BREAK.split(text)
    before = lines[line][:column] if line < len(lines) else ""
    if _CLOSED_VALUE.search(before):
        message = "text follows a value that is already complete"
        remedy = (
            "quote the whole text: a value that begins with a quote, { or [ ends where it closes"
        )
    report.add("Y201", Mark(file, line + 1, column + 1), message, remedy=remedy)


def _tab_in_indentation(text: str, line: int) -> tuple[int, int] | None:
    """A tab among the leading blanks of the line, or of the one before it."""
    lines = _LINE_BREAK.split(text)
    for number in (line, line - 1):
        if 0 <= number < len(lines):
            blanks = lines[number][: len(lines[number]) - len(lines[number].lstrip(" \t"))]
            if "\t" in blanks and lines[number].strip():
                return number, blanks.index("\t")
    return None
