"""Pytest plugin for authors of grpokit plugins: the checks, as functions and as fixtures.

    from grpokit.testing import check_plugin, check_reward

    def test_the_plugin_is_in_order():
        check_plugin("my-plugin")

    def test_the_contract():
        check_reward("my-plugin/polite", {"question": "Hi?", "answer": "Hello"})

``grpokit plugins check`` is the same code. pytest loads this module at every start, also where nobody
uses it, so it imports nothing else of grpokit until a check runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from grpokit.scaffold.probes import PROBES

__all__ = ["PROBES", "check_dataset", "check_plugin", "check_reward"]

Row = Mapping[str, Any]


def __getattr__(name: str) -> Any:
    if name == "PROBES":
        from grpokit.scaffold import probes

        return probes.PROBES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def check_plugin(name: str) -> None:
    """Checks an installed plugin: loaded, every spec resolves, settings documented, recipes valid.

    The rewards' ``cases.yaml`` is executed, if there is one. What `grpokit plugins check` calls a
    warning passes.

    Raises:
        AssertionError: with every problem, one a line.
    """
    from grpokit.registry.catalog import Catalog
    from grpokit.scaffold.plugin import check_installed

    checks = check_installed(Catalog.load(), name)
    found = [finding for check in checks for finding in check.findings]
    _fail(f"plugin {name!r}", [finding.text for finding in found if finding.level == "error"])


def check_reward(
    reward: str | Callable[..., Any], *rows: Row, settings: Mapping[str, Any] | None = None
) -> None:
    """Checks what every reward promises, on hostile and odd completions.

    A finite number or None for each completion, no exception, within the declared range, the same
    answer when asked twice, and within two seconds for a completion of 100,000 characters.

    An installed reward is asked in a process of its own, as in training, so one that hangs, exits or
    prints fails with its reason.

    Args:
        reward: id or name of an installed reward, or the function itself, which is called here.
        rows: data set rows; a question with the answer 4 when left out. Each row's ``answer`` is a
            probe of its own.
        settings: what stands under ``with:``; only for a reward given by name.

    Raises:
        AssertionError: with every problem, one a line.
    """
    from grpokit.registry.catalog import Catalog
    from grpokit.scaffold.probes import Asker, contract_problems

    found = Catalog.load().find("reward", reward) if isinstance(reward, str) else reward
    with Asker(found, settings) as asker:
        problems = [
            f"row {number}: {text}"
            for number, row in enumerate(rows or ({"question": "What is 2 + 2?", "answer": "4"},))
            for text in contract_problems(asker, row)
        ]
    _fail(f"reward {getattr(reward, '__name__', reward)!r}", problems)


def check_dataset(dataset: str, *settings: Mapping[str, Any]) -> None:
    """Checks what every data set promises, on its first rows and its last.

    It has the four members. Each row has the columns that it names, is the same when read again and
    from a data set opened anew, and is JSON, as a run's record keeps it. The fingerprint is the same
    for the same settings and another one for others.

    Args:
        dataset: id or name of an installed data set.
        settings: what stands under ``with:``, once or several times; nothing when left out.

    Raises:
        AssertionError: with every problem, one a line.
    """
    from grpokit.registry.catalog import Catalog
    from grpokit.scaffold.rows import dataset_problems

    entry = Catalog.load().find("dataset", dataset)
    _fail(f"data set {dataset!r}", list(dataset_problems(entry, settings or ({},))))


@pytest.fixture(name="check_plugin")
def _check_plugin() -> Callable[[str], None]:
    """The function :func:`check_plugin`."""
    return check_plugin


@pytest.fixture(name="check_reward")
def _check_reward() -> Callable[..., None]:
    """The function :func:`check_reward`."""
    return check_reward


@pytest.fixture(name="check_dataset")
def _check_dataset() -> Callable[..., None]:
    """The function :func:`check_dataset`."""
    return check_dataset


def _fail(what: str, problems: list[str]) -> None:
    if problems:
        raise AssertionError("\n".join([f"{what} has {len(problems)} problem(s)", *problems]))
