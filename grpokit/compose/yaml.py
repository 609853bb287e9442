"""Recipe text to nodes: YAML with positions, strict where YAML is dangerous or surprising.

Only PyYAML's parser is used (events with line and column); the values are built here, so no tag
can construct anything. Refused: tags, equal keys, merge keys (``extends`` does that, across
files and with provenance), several documents, deep nesting, alias bombs, tabs as indentation.
Anchors and aliases are allowed within small limits. Keys are always text: ``on:`` and ``1:`` are
the keys "on" and "1". Reading goes on after a problem wherever it can.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import yaml

from grpokit.compose.diagnostics import Report, clip
from grpokit.compose.nodes import Mark, Node
from grpokit.compose.scalars import has_leading_zero, resolve
from grpokit.compose.syntax import explain

__all__ = ["LIMITS", "parse_nodes", "parse_yaml", "plain_scalar"]

LIMITS: Final = {"depth": 32, "nodes": 20_000, "anchors": 16}
"""Nesting, values (aliases counted in full) and anchors of one file."""

_STRING_TAGS = frozenset({"!", "tag:yaml.org,2002:str"})


def parse_yaml(text: str, file: str, report: Report, *, fast: bool = True) -> Node | None:
    """The top mapping of one recipe, or None when the problems leave nothing to work with.

    Args:
        text: the whole file.
        file: its name in positions.
        report: takes the problems.
        fast: use libyaml where PyYAML has it; both parsers give the same nodes and positions.
    """
    try:
        top = _build(text, file, report, fast=fast)
    except _StopReading:
        return None
    if top is None:
        report.add(
            "F109",
            Mark(file, 1, 1),
            "the file holds no recipe",
            allowed="a recipe is a mapping that begins with `grpokit: 1`",
            remedy="start from one with `grpokit recipes show quickstart`",
        )
        return None
    if not isinstance(top.value, dict):
        kind = "a list" if isinstance(top.value, list) else "a single value"
        report.add(
            "Y212",
            top.mark,
            f"the top of the file is {kind}",
            allowed="a recipe is a mapping of `key: value` lines",
            remedy="put `grpokit: 1` first, and each section under its name",
        )
        return None
    return top


def parse_nodes(text: str, file: str, report: Report) -> Node | None:
    """The top value of another file of these rules, whatever it is; None when there is nothing to read."""
    try:
        return _build(text, file, report)
    except _StopReading:
        return None


def _build(text: str, file: str, report: Report, *, fast: bool = True) -> Node | None:
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader) if fast else yaml.SafeLoader
    try:
        return _Builder(file, report).build(yaml.parse(text, Loader=loader))
    except yaml.YAMLError as error:
        explain(error, text, file, report)
        raise _StopReading from error


def plain_scalar(text: str, mark: Mark, report: Report) -> Node:
    """The node of an unquoted scalar; numbers that are traps are reported."""
    try:
        value = resolve(text)
    except ValueError as error:
        report.add(
            "Y214",
            mark,
            f"this is {error}",
            remedy="write a shorter number, such as 1e9, or quote it if it is text",
        )
        return Node(text, mark, text=text, told=True)
    if has_leading_zero(text):
        report.add(
            "Y213",
            mark,
            f"`{text}` has a leading zero: {value} in YAML 1.2, octal in YAML 1.1",
            remedy=f"write {value}, or 0o17 for octal, or quote it if it is text",
        )
    return Node(value, mark, text=text)


class _StopReading(Exception):
    """A limit is passed: reading on would be slow and tell nothing."""


class _Builder:
    def __init__(self, file: str, report: Report) -> None:
        self._file = file
        self._report = report
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0
        self._depth = 0
        self._events: Iterator[yaml.Event] = iter(())

    def _mark(self, event: yaml.Event) -> Mark:
        start: Any = event.start_mark
        return Mark(self._file, start.line + 1, start.column + 1)

    def build(self, events: Iterator[yaml.Event]) -> Node | None:
        self._events = events
        top: Node | None = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                self._check_document(event, documents)
            elif isinstance(event, yaml.NodeEvent):
                top = self._node(event)
        empty = top is not None and top.value is None and not top.text
        return None if empty else top

    def _check_document(self, event: yaml.DocumentStartEvent, number: int) -> None:
        mark = self._mark(event)
        if number > 1:
            self._report.add(
                "Y208",
                mark,
                "a second YAML document begins here",
                allowed="a recipe is one document",
                remedy="remove the line `---`, or put the second recipe into its own file",
            )
            raise _StopReading
        version: Any = event.version
        if version not in {None, (1, 2)} or event.tags:
            self._report.add(
                "Y215",
                mark,
                "the file has a %YAML or %TAG line",
                allowed="recipes are YAML 1.2 without tags",
                remedy="remove the lines that begin with %",
            )

    def _count(self, event: yaml.Event, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes <= LIMITS["nodes"]:
            return
        if isinstance(event, yaml.AliasEvent):
            self._report.add(
                "Y205",
                self._mark(event),
                f"with this alias the file expands to more than {LIMITS['nodes']} values",
                allowed="aliases may repeat small things",
                remedy="write the values out, or use `extends`",
            )
        else:
            self._report.add(
                "Y210",
                self._mark(event),
                f"the file holds more than {LIMITS['nodes']} values",
                remedy="put data into a file of its own, and name it with the jsonl data set",
            )
        raise _StopReading

    def _node(self, event: yaml.NodeEvent) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._count(event, 1)
        anchor: str | None = event.anchor
        if anchor is not None:
            self._open_anchor(event, anchor)
        tagged = self._check_tag(event)
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        else:
            self._depth += 1
            if self._depth > LIMITS["depth"]:
                self._too_deep(event)
            is_map = isinstance(event, yaml.MappingStartEvent)
            node = self._mapping(event) if is_map else self._sequence(event)
            self._depth -= 1
        if tagged:
            node = replace(node, told=True)
        if anchor is not None:
            self._anchors[anchor] = node
        return node

    def _too_deep(self, event: yaml.Event) -> None:
        self._report.add(
            "Y209",
            self._mark(event),
            f"the value is nested more than {LIMITS['depth']} deep",
            remedy="look for a bracket that is never closed",
        )
        raise _StopReading

    def _open_anchor(self, event: yaml.Event, anchor: str) -> None:
        if len(self._anchors) >= LIMITS["anchors"]:
            self._report.add(
                "Y205",
                self._mark(event),
                f"the file has more than {LIMITS['anchors']} anchors",
                remedy="write the values out, or use `extends`",
            )
            raise _StopReading
        self._anchors[anchor] = None

    def _alias(self, event: yaml.AliasEvent) -> Node:
        name = str(event.anchor)
        node = self._anchors.get(name)
        if node is None:
            inside = name in self._anchors
            why = "stands inside the value it repeats" if inside else "names no earlier anchor"
            self._report.add(
                "Y206",
                self._mark(event),
                f"the alias `*{clip(name)}` {why}",
                remedy="write the value out; text that begins with * needs quotes",
            )
            return Node(None, self._mark(event), text="*", told=True)
        self._count(event, node.count)
        return node

    def _check_tag(self, event: Any) -> bool:
        """Whether the value has a tag that was refused."""
        if event.tag is None or event.tag in _STRING_TAGS:
            return False
        shown = event.tag.replace("tag:yaml.org,2002:", "!!")
        self._report.add(
            "Y204",
            self._mark(event),
            f"the value has the tag `{clip(shown)}`",
            allowed="recipes are plain data: text, numbers, true, false, null, lists and mappings",
            remedy="remove the tag; text that begins with ! needs quotes",
        )
        return True

    def _scalar(self, event: yaml.ScalarEvent) -> Node:
        mark = self._mark(event)
        text: str = event.value
        # A tagged value is read as text: `!!str 1`, and whatever was reported above.
        if event.style or event.tag is not None:
            return Node(text, mark, text=text, quoted=True)
        return plain_scalar(text, mark, self._report)

    def _sequence(self, start: yaml.Event) -> Node:
        items: list[Node] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            assert isinstance(event, yaml.NodeEvent)
            items.append(self._node(event))
        return Node(items, self._mark(start), count=1 + sum(item.count for item in items))

    def _mapping(self, start: yaml.Event) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            assert isinstance(event, yaml.NodeEvent)
            mark = self._mark(event)
            key = self._key(event, mark)
            value_event = next(self._events)
            assert isinstance(value_event, yaml.NodeEvent)
            value = self._node(value_event)
            if key is None:
                continue
            if key in values:
                self._report.add(
                    "Y203",
                    mark,
                    f"the key `{clip(key)}` stands here a second time; "
                    f"the first is on line {keys[key].line}",
                    remedy="remove one of them",
                )
                continue
            values[key], keys[key] = value, mark
        count = 1 + sum(value.count for value in values.values())
        return Node(values, self._mark(start), keys=keys, count=count)

    def _key(self, event: yaml.NodeEvent, mark: Mark) -> str | None:
        if not isinstance(event, yaml.ScalarEvent):
            self._node(event)
            self._report.add(
                "Y211",
                mark,
                "this key is a list, a mapping or an alias",
                allowed="keys are text",
                remedy="text with braces or brackets needs quotes: '{question}'",
            )
            return None
        self._count(event, 1)
        self._check_tag(event)
        text: str = event.value
        if text == "<<" and not event.style:
            self._report.add(
                "Y207",
                mark,
                "the merge key `<<` is not supported",
                allowed="recipes inherit with `extends: NAME_OR_FILE`",
                remedy="write the keys out, or move the shared part into its own recipe",
            )
            return None
        if not text:
            self._report.add("Y211", mark, "the key is empty", remedy="write a name before the `:`")
            return None
        return text
