"""The base of all configuration: strict, and documented when somebody asks."""

import math

import pytest
from pydantic import Field, ValidationError

from grpokit.spec.config import Config, documented
from grpokit.spec.recipe import Recipe


class Inner(Config):
    """A section."""

    depth: int = 1
    """How deep.

    A second paragraph.
    """


class Base(Config):
    """A base."""

    first: int = 1
    """From the base."""
    second: float = 2.0
    """Replaced."""


class Derived(Base):
    """Inherits a field, replaces another."""

    second: float = 3.0
    """Its own."""
    told: int = Field(default=1, description="said in Field")
    """Not used."""
    bare: int = 1
    inner: list[Inner] = Field(default_factory=list)
    """Sections."""


def test_docstrings_become_descriptions_when_asked():
    assert Derived.model_fields["second"].description is None
    schema = Derived.model_json_schema()
    told = {name: item.get("description") for name, item in schema["properties"].items()}
    assert told == {
        "first": "From the base.",
        "second": "Its own.",
        "told": "said in Field",
        "bare": None,
        "inner": "Sections.",
    }
    inner = schema["$defs"]["Inner"]["properties"]["depth"]
    assert inner["description"] == "How deep.\n\nA second paragraph."
    assert documented(Derived) is Derived
    assert Derived(second=4.0).second == 4.0


def test_every_field_of_a_recipe_is_described():
    for name, part in Recipe.model_json_schema()["$defs"].items():
        for field, item in part["properties"].items():
            assert item.get("description"), f"{name}.{field}"


@pytest.mark.parametrize(
    "values", [{"first": "1"}, {"first": True}, {"first": 1.0}, {"second": math.nan}, {"third": 1}]
)
def test_values_are_not_coerced(values):
    with pytest.raises(ValidationError):
        Base(**values)


def test_an_integer_is_a_number_and_a_config_cannot_be_changed():
    made = Base(second=2)
    assert made.second == 2.0
    with pytest.raises(ValidationError, match="frozen"):
        made.second = 3.0
