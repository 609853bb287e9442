"""Completions: those of transformers, of `hf`, and of the model's own generate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpokit.api import PreflightError, Prompt, Sampling

GREEDY = Sampling(group=1, max_tokens=12, temperature=0.0)


def tokens(rollout: Any) -> list[list[tuple[int, ...]]]:
    return [[one.token_ids for one in group] for group in rollout.completions]


def test_greedy_is_that_of_transformers(
    make_recipe, open_backend, prompts: list[Prompt], tiny_model_folder: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    backend = open_backend(make_recipe())
    rollout = backend.generate(prompts, GREEDY)
    plain = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32)
    ends = sorted(backend.policy.tokenizer.ends.ids)
    for ids, group in zip(rollout.prompt_ids, rollout.completions, strict=True):
        out = plain.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=ends,
            pad_token_id=backend.policy.tokenizer.pad_id,
        )
        assert tuple(out[0, len(ids) :].tolist()) == group[0].token_ids


@pytest.mark.parametrize("temperature", [0.0, 1.0, 0.6])
def test_the_models_own_generate_draws_the_same(
    make_recipe, open_backend, prompts: list[Prompt], temperature: float
) -> None:
    """What a GPU without vLLM uses: `generate` with our random numbers, row by row."""
    from grpokit.api import derive_seed
    from grpokit_unsloth.rollout import by_generate

    backend = open_backend(make_recipe())
    sampling = Sampling(group=3, max_tokens=12, seed=7, step=2, temperature=temperature, top_p=0.9)
    rollout = backend.generate(prompts, sampling)
    rows = [(p, g) for p in range(len(prompts)) for g in range(3)]
    drawn = by_generate(
        backend.policy,
        [rollout.prompt_ids[p] for p, _ in rows],
        [derive_seed(7, 2, prompts[p].id, g) for p, g in rows],
        sampling,
    )
    assert len({one.tokens[0] for one in drawn}) > 1
    for (p, g), one in zip(rows, drawn, strict=True):
        expected = rollout.completions[p][g]
        assert tuple(one.tokens) == expected.token_ids
        assert one.logprobs == pytest.approx(list(expected.logprobs), abs=1e-5)
        assert one.ended == (expected.finish == "stop")


def test_a_row_that_does_not_fit_is_refused_and_not_cut(
    make_recipe, open_backend, prompts: list[Prompt]
) -> None:
    settings = {"with": {"threads": 1, "device": "cpu", "max_seq_length": 70}}
    backend = open_backend(make_recipe(backend=settings))
    backend.generate(prompts[:1], GREEDY)
    with pytest.raises(PreflightError, match="more than the 70") as caught:
        backend.generate(prompts, GREEDY)
    assert caught.value.place == "data set row 2"
    assert "max_seq_length" in caught.value.remedy
