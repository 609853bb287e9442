"""vLLM on the same weights: what is asked of it, what it may refuse. No engine runs on a CPU.

The engine is a stand-in; Unsloth's own functions around it are the real ones.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grpokit.api import GrpokitError, OutOfMemoryError, PreflightError, Sampling
from grpokit_unsloth.config import UnslothConfig


def model_with(max_len: int = 512, *, sleeps: bool = False) -> Any:
    config = SimpleNamespace(max_model_len=max_len, enable_sleep_mode=sleeps)
    inner = SimpleNamespace(vllm_config=SimpleNamespace(model_config=config))
    return SimpleNamespace(vllm_engine=SimpleNamespace(llm_engine=inner))


def check(model: Any, *, wanted: bool = True, **settings: Any) -> None:
    from grpokit_unsloth.load import check_engine

    check_engine(model, UnslothConfig(**settings), 300, wanted=wanted)


def test_an_engine_as_asked_for() -> None:
    check(model_with())
    check(model_with(sleeps=True), standby=True)
    check(SimpleNamespace(), wanted=False, fast_inference=False)


def test_an_engine_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """Unsloth only prints that it goes on without vLLM."""
    for settings in ({"fast_inference": True}, {"standby": True}):
        with pytest.raises(PreflightError, match="without vLLM"):
            check(SimpleNamespace(), **settings)
    check(SimpleNamespace())
    assert "the model itself samples, much slower" in caplog.text


def test_an_engine_with_shorter_rows_is_refused() -> None:
    """It would end completions early, as if they had run into the recipe's limit."""
    with pytest.raises(OutOfMemoryError, match="rows of 256 tokens, and the recipe needs 300"):
        check(model_with(256))


def test_an_engine_without_standby_is_refused() -> None:
    with pytest.raises(PreflightError, match="no standby for this model"):
        check(model_with(), standby=True)


def test_who_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from grpokit_unsloth import load

    for there in (True, False):
        monkeypatch.setattr(load, "find_spec", lambda name, there=there: name if there else None)
        assert load.wants_engine(UnslothConfig(), torch.bfloat16) is there
        assert not load.wants_engine(UnslothConfig(), torch.float32)
        assert load.wants_engine(UnslothConfig(fast_inference=True), torch.bfloat16)
        assert not load.wants_engine(UnslothConfig(fast_inference=False), torch.bfloat16)


def test_four_bits_are_seen_in_the_layers() -> None:
    """The model that Unsloth makes of vLLM's weights has no flag for it."""
    import torch

    bitsandbytes = pytest.importorskip("bitsandbytes")
    from grpokit_unsloth.load import check_bits

    four = torch.nn.Sequential(bitsandbytes.nn.Linear4bit(8, 8))
    sixteen = torch.nn.Sequential(torch.nn.Linear(8, 8))
    check_bits(four, UnslothConfig(load_in_4bit=True))
    check_bits(sixteen, UnslothConfig())
    with pytest.raises(PreflightError, match="although 4 were asked for"):
        check_bits(sixteen, UnslothConfig(load_in_4bit=True))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError("no room"), OutOfMemoryError),
        (RuntimeError("CUDA out of memory. Tried to allocate"), OutOfMemoryError),
        (AssertionError("odd"), PreflightError),
    ],
)
def test_what_ends_a_load_has_a_remedy(error: Exception, kind: type[GrpokitError]) -> None:
    from grpokit_unsloth.load import cannot_load

    found = cannot_load(error, Path("model"))
    assert type(found) is kind
    assert str(error).split(".")[0] in found.fact
    assert found.remedy


class Engine:
    """Takes requests as ``fast_generate`` does, and fails if it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.requests: list[Any] = []

    def __call__(self, prompts: Any, *, lora_request: Any, **_: Any) -> list[Any]:
        self.requests.append(lora_request)
        if self.error is not None:
            raise self.error
        one = SimpleNamespace(token_ids=[5], logprobs=[{5: SimpleNamespace(logprob=-1.0)}])
        one.finish_reason = "stop"
        return [SimpleNamespace(outputs=[one]) for _ in prompts]


@pytest.fixture
def with_engine(make_recipe, open_backend, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The policy of a backend, with Unsloth's real ``load_lora`` and a stand-in engine."""
    backend = open_backend(make_recipe())
    from unsloth_zoo import vllm_lora_request, vllm_utils

    kinds = SimpleNamespace(SamplingParams=lambda **settings: settings)
    monkeypatch.setitem(sys.modules, "vllm", kinds)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "vllm.lora", SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "vllm.lora.request", vllm_lora_request)
    monkeypatch.setenv("UNSLOTH_DISABLE_LORA_NAME_CHECK", "1")
    monkeypatch.setattr(vllm_utils, "LORA_REQUEST_ID", 1, raising=False)
    # As on Linux with CUDA, where Unsloth would merge unless it is told not to.
    monkeypatch.setattr(vllm_utils, "_merged_rollout_auto_platform", lambda: None)
    model = backend.policy.model
    model.load_lora = functools.partial(vllm_utils.load_lora, model)
    return backend.policy


def test_the_adapter_goes_along_as_it_is(with_engine: Any, tmp_path: Path, monkeypatch) -> None:
    import torch

    from grpokit_unsloth.rollout import by_vllm

    monkeypatch.chdir(tmp_path)
    with_engine.model.fast_generate = engine = Engine()
    for _ in range(2):
        drawn = by_vllm(with_engine, [[1, 2], [3]], [7, 8], Sampling(group=2, max_tokens=4))
        assert [(one.tokens, one.logprobs, one.ended) for one in drawn] == [([5], [-1.0], True)] * 2
    first, second = engine.requests
    assert type(first).__name__ == "LoRARequest"  # and not the one that is merged
    assert second.lora_int_id > first.lora_int_id
    assert first.lora_config["r"] == 4
    weights = {name.replace(".default", ""): w for name, w in with_engine.weights.items()}
    assert set(first.lora_tensors) == set(weights)
    assert all(torch.equal(first.lora_tensors[name], w) for name, w in weights.items())
    assert list(tmp_path.iterdir()) == []  # Unsloth writes the adapter's shape where it is told


def test_without_an_adapter_nothing_goes_along(with_engine: Any) -> None:
    from grpokit_unsloth.rollout import by_vllm

    with_engine.model.fast_generate = engine = Engine()
    with_engine.adapter = False
    by_vllm(with_engine, [[1]], [7], Sampling(group=1, max_tokens=4))
    assert engine.requests == [None]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (MemoryError("x"), OutOfMemoryError, "vLLM ran out of memory"),
        (RuntimeError("engine core died"), GrpokitError, "vLLM failed: engine core died"),
    ],
)
def test_an_engine_that_fails_ends_with_a_sentence(
    with_engine: Any, error: Exception, kind: type[GrpokitError], message: str
) -> None:
    from grpokit_unsloth.rollout import by_vllm

    with_engine.model.fast_generate = Engine(error)
    with pytest.raises(kind, match=message) as caught:
        by_vllm(with_engine, [[1]], [7], Sampling(group=1, max_tokens=4, step=3))
    assert caught.value.place == "step 3"
    assert caught.value.remedy
