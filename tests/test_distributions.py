"""What every distribution of this repository carries, and where it is listed."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLUGINS = sorted((ROOT / "plugins").glob("*/pyproject.toml"))
NAMES = [path.parent.name for path in PLUGINS]


@pytest.mark.parametrize("path", PLUGINS, ids=NAMES)
def test_a_wheel_has_the_licence(path):
    project = tomllib.loads(path.read_text())["project"]
    assert project["license"] == "Apache-2.0"
    assert (path.parent / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("listed", ["Makefile", "README.md", "pyproject.toml"])
def test_every_plugin_is_listed(name, listed):
    """Installed, linted, typed and tested, and named to those who look for it."""
    assert f"plugins/{name}" in (ROOT / listed).read_text(), f"{listed} does not name {name}"
