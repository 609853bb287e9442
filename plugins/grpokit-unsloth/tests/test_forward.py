"""Our forward on what Unsloth makes of a model: its real GPU code, interpreted, and the switch alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grpokit.api import PreflightError


@pytest.fixture(scope="module")
def measured() -> dict[str, dict[str, Any]]:
    """In a process of its own: it replaces the forward of every Llama."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "gpu_forward.py")],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("dtype", "logprobs", "gradient"), [("float32", 2e-5, 2e-5), ("float16", 0.03, 0.03)]
)
def test_unsloths_gpu_forward_gives_the_plain_log_probs_and_gradients(
    measured: dict[str, dict[str, Any]], dtype: str, logprobs: float, gradient: float
) -> None:
    """Measured: 3e-6 and 3e-6 in float32, 0.007 and 0.009 with fused LoRA kernels in float16."""
    found = measured[dtype]
    assert found["fused"] == (dtype == "float16")
    assert (found["tokens"], found["gradients"]) == (15, 28)
    assert found["logprobs"] < logprobs
    assert found["gradient"] < gradient


def test_gradient_checkpointing_outlasts_unsloths_generate(
    measured: dict[str, dict[str, Any]],
) -> None:
    """Unsloth's `generate` turns it off. On, a layer is computed again in the backward pass."""
    assert (measured["float32"]["passes"], measured["float16"]["passes"]) == (2, 1)


def test_the_reference_is_unsloths_model_without_its_adapter(
    measured: dict[str, dict[str, Any]],
) -> None:
    for dtype, tolerance in (("float32", 2e-5), ("float16", 0.03)):
        assert measured[dtype]["off"] < tolerance
        assert measured[dtype]["adapter"] > 1.0


def test_unsloths_fast_decoding_draws_the_same(measured: dict[str, dict[str, Any]]) -> None:
    """With our random numbers, prompts padded on the left. Measured: 4e-6 in float32."""
    found = measured["float32"]
    assert found["drawn"] == found["plainly"]
    assert len({tuple(tokens) for tokens in found["drawn"]}) == 4
    assert found["sampler"] < 2e-5


class Switched:
    """A model whose forward obeys the switch, or does not."""

    def __init__(self, *, obeys: bool, scale: float = 1.0) -> None:
        import torch

        self.obeys, self.scale = obeys, scale
        self.body, self.head = torch.nn.Embedding(11, 5), torch.nn.Linear(5, 11, bias=False)
        self.config = SimpleNamespace(model_type="odd", get_text_config=SimpleNamespace)

    def get_output_embeddings(self) -> Any:
        return self.head

    def __call__(self, input_ids: Any, use_cache: bool) -> Any:
        import os

        hidden = self.body(input_ids)
        if self.obeys and os.environ.get("UNSLOTH_RETURN_HIDDEN_STATES") == "1":
            return SimpleNamespace(logits=hidden)
        return SimpleNamespace(logits=self.head(hidden) * self.scale)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"obeys": False}, "where hidden states"),
        ({"obeys": True, "scale": 3.0}, "changes its logits in a way"),
    ],
)
def test_a_model_that_we_do_not_understand_is_refused(model: dict[str, Any], message: str) -> None:
    import torch

    from grpokit_unsloth.forward import HiddenStates, check_hidden_states

    odd, ids = Switched(**model), torch.tensor([[1, 2, 3]])
    with pytest.raises(PreflightError, match=message):
        check_hidden_states(odd, HiddenStates(odd, 5), ids)


def test_the_switch_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from grpokit_unsloth.forward import returning_hidden_states

    for before in (None, "0"):
        if before is None:
            monkeypatch.delenv("UNSLOTH_RETURN_HIDDEN_STATES", raising=False)
        else:
            monkeypatch.setenv("UNSLOTH_RETURN_HIDDEN_STATES", before)
        with returning_hidden_states():
            assert os.environ["UNSLOTH_RETURN_HIDDEN_STATES"] == "1"
        assert os.environ.get("UNSLOTH_RETURN_HIDDEN_STATES") == before
