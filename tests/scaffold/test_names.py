"""One name makes all others, or is refused with a remedy."""

from pathlib import Path

import pytest

from grpokit.errors import PreflightError
from grpokit.registry.builtin import OUR_PLUGINS
from grpokit.scaffold.names import LONGEST, read_name


@pytest.mark.parametrize("given", ["exact-unit", "grpokit-exact-unit"])
def test_all_names_follow_from_one(given):
    names = read_name(given)
    assert (names.name, names.dist) == ("exact-unit", "grpokit-exact-unit")
    assert (names.package, names.words) == ("grpokit_exact_unit", "exact unit")


def test_short_and_long_names():
    assert read_name("x").package == "grpokit_x"
    assert read_name("a" * LONGEST).name == "a" * LONGEST
    assert read_name("class").package == "grpokit_class"


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("Exact_Unit", "'exact-unit'"),
        ("exact--unit", "'exact-unit'"),
        ("-x", "'x'"),
        ("x-", "'x'"),
        ("7up", "'up'"),
        ("../etc/passwd", "'etc-passwd'"),
        ("a/b", "'a-b'"),
        ("a b", "'a-b'"),
        ("naïve", "'na-ve'"),
        ("@name@", "'name'"),
        ("\x1b[31mred", "'mred'"),
        ("", "'exact-unit'"),
        ("grpokit-", "'exact-unit'"),
        ("grpokit", "'exact-unit'"),
        ("core", "'exact-unit'"),
        ("null", "'exact-unit'"),
        ("true", "'exact-unit'"),
        ("trl", "'exact-unit'"),
        ("a" * (LONGEST + 1), "'" + "a" * LONGEST + "'"),
    ],
)
def test_what_cannot_be_a_name_is_refused(given, near):
    with pytest.raises(PreflightError) as caught:
        read_name(given)
    assert near in caught.value.remedy


def test_the_plugins_of_this_repository_are_known():
    folders = (Path(__file__).parents[2] / "plugins").glob("grpokit-*")
    found = {folder.name.removeprefix("grpokit-") for folder in folders}
    assert found - {"example-reward"} <= OUR_PLUGINS  # the tutorial writes that one
