r"""``cases.yaml``: what a plugin's rewards must say, as rows that are executed.

    - reward: near
      with: {scale: 1.0}                       # settings, if it has any
      row: {question: "What is 3 + 4?", answer: "7"}
      gold: ['It is \boxed{7}.']               # each earns more than each of the next two
      wrong: [{say: '\boxed{8}', score: 0.5}]  # an exact score, where it is asked for
      trick: ['\boxed{7} \boxed{8}']
      abstain: []                              # the reward says None

The file stands beside the plugin's ``__init__.py``, so that the wheel has it too. It is read by the
rules of recipes: no tags, no key twice, and ``yes`` is a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError

from grpokit.spec.config import Config

if TYPE_CHECKING:
    from grpokit.compose.nodes import Node
    from grpokit.registry.record import PluginRecord

__all__ = ["FILE", "WANTED", "Case", "Line", "find_cases", "read_cases"]

FILE = "cases.yaml"
LARGEST = 2_000_000
"""Bytes of the file."""
BRANCHES = ("str", "_Said")
"""What pydantic calls the two forms of a completion."""
Kind = Literal["gold", "wrong", "trick", "abstain"]
WANTED: tuple[Kind, ...] = ("gold", "wrong", "trick")
"""The kinds that say something about every reward."""


class _Said(Config):
    """A completion and the score that it must have."""

    say: str
    score: float


class _Written(Config):
    """One entry of the file."""

    reward: str
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    row: dict[str, Any]
    gold: list[str | _Said] = Field(default_factory=list)
    wrong: list[str | _Said] = Field(default_factory=list)
    trick: list[str | _Said] = Field(default_factory=list)
    abstain: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class Line:
    """A completion of a case. ``score`` is what it must earn, within a millionth; None: any score."""

    number: int
    kind: Kind
    text: str
    score: float | None = None


@dataclass(frozen=True)
class Case:
    """One row, and completions of it. ``number`` is the line of the file in which it begins."""

    number: int
    reward: str
    settings: Mapping[str, Any]
    row: Mapping[str, Any]
    lines: tuple[Line, ...]


def find_cases(plugin: PluginRecord) -> Traversable | None:
    """The plugin's file of cases; None if it has none."""
    for module in plugin.module.split(","):
        path = files(module.strip().partition(":")[0].partition(".")[0]) / FILE
        if path.is_file():
            return path
    return None


def read_cases(data: bytes) -> list[Case]:
    """The cases of a file.

    Raises:
        ValueError: it is no list of cases; every problem with its line, one a line.
    """
    from grpokit.compose.diagnostics import Report
    from grpokit.compose.nodes import to_data
    from grpokit.compose.yaml import parse_nodes

    if len(data) > LARGEST:
        raise ValueError(f"{FILE} has {len(data):,} bytes; at most {LARGEST:,} are read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{FILE} is no UTF-8: {error}") from error
    report = Report()
    top = parse_nodes(text, FILE, report)
    if report.errors:
        told = [
            f"{each.file}:{each.line}:{each.col}: {'; '.join(filter(None, (each.message, each.remedy)))}"
            for each in report.errors
        ]
        raise ValueError("\n".join(told))
    if top is None:
        return []
    try:
        written = TypeAdapter(list[_Written]).validate_python(to_data(top))
    except ValidationError as error:
        raise ValueError("\n".join(dict.fromkeys(_told(error, top)))) from error
    return [_case(each, top.value[index]) for index, each in enumerate(written)]


def _told(error: ValidationError, top: Node) -> Iterator[str]:
    from grpokit.compose.nodes import at, dotted, mark_of

    for each in error.errors():
        way = tuple(step for step in each["loc"] if step not in BRANCHES)
        said = at(top, way[:3])
        branch = "_Said" if said is not None and isinstance(said.value, dict) else "str"
        if any(step in BRANCHES and step != branch for step in each["loc"]):
            continue
        mark = mark_of(top, way)
        yield f"{FILE}:{mark.line}:{mark.col}: {dotted(way[1:]) or 'the file'}: {each['msg']}"


def _case(written: _Written, node: Node) -> Case:
    lines = [
        Line(
            number=node.value[kind].value[index].mark.line,
            kind=kind,
            text=said.say if isinstance(said, _Said) else said,
            score=said.score if isinstance(said, _Said) else None,
        )
        for kind in get_args(Kind)
        for index, said in enumerate(getattr(written, kind))
    ]
    return Case(
        number=node.mark.line,
        reward=written.reward,
        settings=written.with_,
        row=written.row,
        lines=tuple(lines),
    )
