"""What `plugins show` says about settings."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from grpokit.api import Config
from grpokit.registry.settings import describe
from grpokit.spec.recipe import Recipe


class Inner(Config):
    """A section."""

    depth: int = Field(default=2, ge=1, le=9)
    """How deep."""


class Outer(Config):
    """All kinds of types."""

    name: str = Field(min_length=1)
    """The name.

    Over two lines.
    """
    mode: Literal["a", "b"] | None = None
    """The mode."""
    pair: tuple[int, float] = (1, 2.0)
    """Two numbers."""
    names: frozenset[str] = frozenset({"y", "x"})
    """Some names."""
    table: dict[str, list[bool]] = Field(default_factory=dict)
    """A map."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """A share."""
    path: Path = Path("a/b")
    """A path."""
    inner: Inner | None = Field(default_factory=Inner)
    """A section."""
    with_: Any = Field(default=None, alias="with")
    """An alias."""


def test_each_setting_has_a_row():
    rows = [(item.name, item.type, item.default, item.doc) for item in describe(Outer)]
    assert rows == [
        ("name", "text (at least 1 long)", "", "The name. Over two lines."),
        ("mode", '"a" | "b" | null', "null", "The mode."),
        ("pair", "list of integer, number", "[1, 2.0]", "Two numbers."),
        ("names", "list of text", '["x", "y"]', "Some names."),
        ("table", "map of text to list of true or false", "{}", "A map."),
        ("share", "number (> 0, < 1)", "0.5", "A share."),
        ("path", "path", '"a/b"', "A path."),
        ("inner", "section | null", '{"depth": 2}', "A section."),
        ("inner.depth", "integer (>= 1, <= 9)", "2", "How deep."),
        ("with", "anything", "null", "An alias."),
    ]
    assert [item.required for item in describe(Outer)][:2] == [True, False]


def test_the_whole_recipe_can_be_described():
    described = describe(Recipe)
    assert len(described) > 60
    assert not [item.name for item in described if not item.doc]
