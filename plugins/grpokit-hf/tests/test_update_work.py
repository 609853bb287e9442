"""What an update computes and what it leaves out, counted at the model's embedding and at its head."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from torch import Tensor

from grpokit_hf import policy
from grpokit_hf.nn.products import torch_linear
from update_pairs import Case, Pair


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Token counts that the body sees, and rows that the head's products see, from here on."""
    seen: dict[str, list[Any]] = {"body": [], "head": [], "weights": []}

    def counting(x_MK: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None) -> Tensor:
        storage = weight_NK.untyped_storage().data_ptr()
        if seen["weights"] and storage == seen["weights"][0]:
            seen["head"].append((len(x_MK), tuple(weight_NK.shape)))
        return torch_linear(x_MK, weight_NK, bias_N)

    monkeypatch.setattr(policy, "pick_linear", lambda *_, native: counting)
    return seen


def watched(case: Case, folder: Any, open_backend: Any, seen: dict[str, list[Any]]) -> Pair:
    pair = Pair(case, folder, open_backend)
    base = pair.backend.policy.base
    seen["weights"].append(base.get_output_embeddings().weight.untyped_storage().data_ptr())

    def embedded(_module: Any, inputs: tuple[Tensor]) -> None:
        seen["body"].append(inputs[0].tolist())

    base.get_input_embeddings().register_forward_pre_hook(embedded)
    seen["head"].clear()
    return pair


@pytest.mark.parametrize(("checkpointing", "alike"), [(False, 0), (True, 0), (False, 80)])
def test_each_prompt_once_and_no_padding(
    checkpointing, alike, tiny_model_folder, open_backend, watch
):
    case = Case(kind="llama", checkpointing=checkpointing, settings={"logit_rows": 7})
    pair = watched(case, tiny_model_folder, open_backend, watch)
    drawn = pair.draw(1, prompts=3, group=4, alike=alike)
    pair.fast(drawn)
    chosen = zip(drawn.selection.rows, drawn.selection.weights, strict=True)
    live = [place for place, weight in chosen if weight]
    assert 0 < len(live) < 12
    prompts = [drawn.rollout.prompt_ids[p] for p in sorted({p for p, _ in live})]
    completions = [drawn.rollout.completions[p][g].token_ids for p, g in live]
    fed = sum(map(len, prompts)) + sum(len(tokens) - 1 for tokens in completions)
    fed -= alike * (len(prompts) - 1)  # what all of them begin with
    assert [[len(ids) for ids in batch] for batch in watch["body"]] == [[fed]]
    wanted = sum(map(len, completions))
    forwards = [rows for rows, (out, width) in watch["head"] if out > width]
    assert max(rows for rows, _ in watch["head"]) <= 7
    assert sum(forwards) == wanted
    assert sum(rows for rows, _ in watch["head"]) == 2 * wanted  # and once more for the gradient


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({}, 1),
        ({"iterations": 2}, 3),
        ({"options": {"beta": 0.04}}, 2),
        ({"settings": {"skip": False}}, 1),
    ],
    ids=str,
)
def test_forwards_of_an_update(settings, passes, tiny_model_folder, open_backend, watch):
    """On-policy the old log-probs cost no forward; off-policy and for the reference, one a micro-batch."""
    case = Case(kind="llama", micro_tokens=80, **settings)
    pair = watched(case, tiny_model_folder, open_backend, watch)
    drawn = pair.draw(1, prompts=3, group=4)
    pair.fast(drawn)
    bodies = [batch[0] for batch in watch["body"]]
    parts = len(bodies) // passes
    assert bodies == bodies[:parts] * passes
    sizes = [len(ids) for ids in bodies[:parts]]
    assert max(sizes) <= 80
    assert all(first + second > 80 for first, second in pairwise(sizes))
    every = "settings" in settings or "options" in settings  # with a divergence all rows train
    chosen = zip(drawn.selection.rows, drawn.selection.weights, strict=True)
    rows = [place for place, weight in chosen if weight or every]
    assert len(rows) == 12 if every else len(rows) < 12
    tokens = sum(len(drawn.rollout.completions[p][g].token_ids) for p, g in rows)
    assert sum(n for n, (out, width) in watch["head"] if out > width) == passes * tokens


@pytest.mark.parametrize("settings", [{}, {"iterations": 2, "minibatches": 2}], ids=str)
def test_a_step_without_a_signal_computes_nothing(settings, tiny_model_folder, open_backend, watch):
    case = Case(kind="llama", **settings)
    pair = watched(case, tiny_model_folder, open_backend, watch)
    drawn = pair.draw(0, prompts=2, group=4, totals=[[1.0] * 4, [0.0] * 4])
    gradients, moved = pair.fast(drawn)
    assert gradients == []
    assert watch["body"] == []
    assert not any(value.any() for value in moved.values())
