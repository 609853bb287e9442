"""How Unsloth comes into the process."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import warnings
from contextlib import redirect_stdout
from importlib.util import find_spec

import pytest

from grpokit.api import PreflightError

pytestmark = pytest.mark.without_unsloth


def test_what_unsloth_says_goes_to_our_log(caplog: pytest.LogCaptureFixture) -> None:
    from grpokit_unsloth.start import quiet

    handlers, disabled = logging.root.handlers[:], logging.root.manager.disable
    shown = io.StringIO()
    caplog.set_level(logging.DEBUG, logger="grpokit.unsloth")
    with redirect_stdout(shown), quiet("load"):
        print("Unsloth: a banner")
        warnings.warn("and a warning", stacklevel=1)
        logging.getLogger("unsloth").warning("and a line of its log")
        logging.root.addHandler(logging.StreamHandler(shown))
    logging.getLogger("other").error("later")
    assert shown.getvalue() == ""
    assert logging.root.handlers == handlers
    assert logging.root.manager.disable == disabled
    said = [record.getMessage() for record in caplog.records if record.name == "grpokit.unsloth"]
    assert said == ["unsloth (load): Unsloth: a banner"]


def test_stdout_has_a_number_also_then() -> None:
    """vLLM redirects stdout's file while it starts (``suppress_stdout``); without one it does not."""
    from grpokit_unsloth.start import quiet

    with quiet("load"):
        copy = os.dup(sys.stdout.fileno())
    os.close(copy)


def test_vllm_starts_up_under_it() -> None:
    system_utils = pytest.importorskip("vllm.utils.system_utils")
    from grpokit_unsloth.start import quiet

    with quiet("load"), system_utils.suppress_stdout():
        print("from C")


def test_nothing_is_merged_whatever_the_user_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM would sample from weights that were rounded with the adapter in them."""
    from grpokit_unsloth.config import UnslothConfig
    from grpokit_unsloth.start import start

    monkeypatch.setitem(sys.modules, "unsloth", object())  # type: ignore[arg-type]
    monkeypatch.setenv("UNSLOTH_VLLM_MERGED_ROLLOUT", "1")
    start(UnslothConfig())
    assert os.environ["UNSLOTH_VLLM_MERGED_ROLLOUT"] == "0"


def test_an_error_is_not_swallowed() -> None:
    from grpokit_unsloth.start import quiet

    before = logging.root.manager.disable
    with pytest.raises(KeyError), quiet("load"):
        raise KeyError
    assert logging.root.manager.disable == before


def test_standby_cannot_be_had_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unsloth reads the variable as it is imported."""
    from grpokit_unsloth.config import UnslothConfig
    from grpokit_unsloth.start import start

    there = object()
    monkeypatch.setitem(sys.modules, "unsloth", there)
    monkeypatch.delenv("UNSLOTH_VLLM_STANDBY", raising=False)
    assert start(UnslothConfig()) is there
    with pytest.raises(PreflightError, match="without UNSLOTH_VLLM_STANDBY=1"):
        start(UnslothConfig(standby=True))
    monkeypatch.setenv("UNSLOTH_VLLM_STANDBY", "1")
    assert start(UnslothConfig(standby=True)) is there
    with pytest.raises(PreflightError, match="without UNSLOTH_VLLM_STANDBY=0"):
        start(UnslothConfig())


def test_standby_is_the_recipes_and_not_the_shells() -> None:
    from grpokit_unsloth.config import UnslothConfig
    from grpokit_unsloth.start import environment

    found = [environment(UnslothConfig(standby=on))["UNSLOTH_VLLM_STANDBY"] for on in (False, True)]
    assert found == ["0", "1"]


@pytest.mark.skipif(find_spec("unsloth") is not None, reason="Unsloth is installed")
def test_without_unsloth_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from grpokit_unsloth.start import make_backend

    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(PreflightError, match="cannot be imported: No module named 'unsloth'"):
        make_backend()


def test_it_is_imported_before_what_it_changes() -> None:
    """The backend's module needs transformers; the one that a plan names does not."""
    code = (
        "import sys, grpokit_unsloth.start;"
        "bad = {'torch', 'transformers', 'trl', 'peft'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
