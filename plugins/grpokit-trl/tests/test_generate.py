"""Completions: the same prompts, ends and texts as on hf; what repeats and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from grpokit.api import Interrupted, PreflightError, Sampling
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig

SAMPLING = Sampling(group=4, max_tokens=10, seed=7, step=1)


def test_greedy_completions_are_those_of_hf(make_recipe, open_backend, make_prompts):
    recipe = make_recipe()
    greedy = replace(SAMPLING, group=1, temperature=0.0, max_tokens=24)
    backend = open_backend(recipe)
    other = HfBackend(HfConfig(threads=1, device="cpu"))
    other.open(recipe, needs_reference=False, needs_entropy=False)
    ours, theirs = (b.generate(make_prompts(), greedy) for b in (backend, other))
    other.close()
    assert ours.prompt_ids == theirs.prompt_ids
    for mine, its in zip(ours.completions, theirs.completions, strict=True):
        assert [(c.token_ids, c.text, c.finish) for c in mine] == [
            (c.token_ids, c.text, c.finish) for c in its
        ]


def test_a_draw_repeats_and_steps_differ(make_recipe, open_backend, make_prompts):
    backend = open_backend(make_recipe())
    first = backend.generate(make_prompts(), SAMPLING)
    again = backend.generate(make_prompts(), SAMPLING)
    later = backend.generate(make_prompts(), replace(SAMPLING, step=2))
    assert first == again
    assert first.completions != later.completions
    for group in first.completions:
        assert len(group) == 4
        assert len({one.token_ids for one in group}) > 1
        for one in group:
            assert one.logprobs is None  # transformers does not say them
            assert 1 <= len(one.token_ids) <= 10
            ended = one.token_ids[-1] in backend.loaded.tokenizer.ends.ids
            assert one.finish == ("stop" if ended else "length")


def test_how_is_drawn_may_change_from_call_to_call(make_recipe, open_backend, make_prompts):
    backend = open_backend(make_recipe())
    greedy = backend.generate(make_prompts(), replace(SAMPLING, temperature=0.0))
    narrow = backend.generate(make_prompts(), replace(SAMPLING, top_k=1))
    assert greedy.completions == narrow.completions
    short = backend.generate(make_prompts("2+2?"), replace(SAMPLING, group=1, max_tokens=3))
    assert len(short.completions[0]) == 1
    assert len(short.completions[0][0].token_ids) <= 3


def test_a_few_rows_at_a_time(make_recipe, open_backend, make_prompts):
    settings = {"use": "trl", "with": {"threads": 1, "device": "cpu", "generate_rows": 4}}
    backend = open_backend(make_recipe(backend=settings))
    calls = []
    complete = backend.trainer.complete
    backend.trainer.complete = lambda ids, how: calls.append(len(ids)) or complete(ids, how)
    rollout = backend.generate(make_prompts(), SAMPLING)
    assert calls == [1, 1, 1]
    assert [len(group) for group in rollout.completions] == [4, 4, 4]


def test_an_interrupt_is_noticed_between_two_tokens(make_recipe, open_backend, make_prompts):
    backend = open_backend(make_recipe())
    polls = []

    def poll() -> None:
        polls.append(1)
        if len(polls) == 4:
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        backend.generate(make_prompts(), SAMPLING, poll)
    assert len(polls) == 4
    backend.generate(make_prompts(), SAMPLING)  # and the hook is gone
    assert len(polls) == 4


def test_a_prompt_beyond_the_window_is_refused(make_recipe, open_backend, make_prompts):
    backend = open_backend(make_recipe())
    with pytest.raises(PreflightError, match="exceed the 2048 positions"):
        backend.generate(make_prompts("x" * 2040), SAMPLING)


def test_a_saved_policy_answers_the_same(make_recipe, open_backend, make_prompts, tmp_path):
    from grpokit_trl.backend import TrlBackend

    backend = open_backend(make_recipe())
    for name, weight in backend.loaded.weights.items():
        if "lora_B" in name:
            weight.data.fill_(0.05)
    expected = backend.generate(make_prompts(), SAMPLING)
    backend.save_policy(tmp_path / "policy")
    for folder in (tmp_path, None):
        other = TrlBackend(backend.config)
        other.open_checkpoint(make_recipe(), folder)
        found = other.generate(make_prompts(), SAMPLING)
        assert (found == expected) == (folder is not None)
        assert bool(other.identity["adapter"]) == (folder is not None)
        other.close()
