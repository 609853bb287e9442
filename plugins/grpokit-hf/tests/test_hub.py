"""The `hub` data set says at once when it is out of reach."""

import time
from importlib.util import find_spec

import pytest

from grpokit.api import PreflightError
from grpokit_hf.hub import HubConfig, is_cached, open_hub
from grpokit_hf.machine import hub_reachable

needs_datasets = pytest.mark.skipif(find_spec("datasets") is None, reason="needs datasets")


@needs_datasets
def test_offline_is_said_at_once_with_a_command(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    start = time.perf_counter()
    with pytest.raises(PreflightError, match="HF_HUB_OFFLINE is set") as caught:
        open_hub(HubConfig(id="openai/gsm8k"))
    assert time.perf_counter() - start < 0.5
    assert "hf download --repo-type dataset openai/gsm8k" in caught.value.remedy
    assert "jsonl" in caught.value.remedy


def test_an_unreachable_hub_is_noticed_in_time():
    start = time.perf_counter()
    assert not hub_reachable({"HF_ENDPOINT": "https://127.0.0.1:9"})  # nobody listens there
    assert time.perf_counter() - start < 0.5


def test_both_caches_are_looked_at(tmp_path):
    environ = {"HF_HOME": str(tmp_path)}
    assert not is_cached("openai/gsm8k", environ)
    (tmp_path / "datasets" / "openai___gsm8k").mkdir(parents=True)
    assert is_cached("openai/gsm8k", environ)
    other = {"HF_HUB_CACHE": str(tmp_path / "hub")}
    (tmp_path / "hub" / "datasets--openai--gsm8k").mkdir(parents=True)
    assert is_cached("openai/gsm8k", other)
    assert not is_cached("openai/other", other)
