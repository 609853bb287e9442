"""Completions: the same prompts, ends and texts as on hf; what repeats and what does not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch

from grpokit.api import Interrupted, PreflightError, Sampling
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from grpokit_trl.drawing import Drawn

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


def test_the_models_own_defaults_have_no_say(
    make_recipe, open_backend, make_prompts, tiny_model_folder, tmp_path
):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    path = folder / "generation_config.json"
    defaults = {"no_repeat_ngram_size": 1, "suppress_tokens": [*range(10, 40)]}
    path.write_text(json.dumps({**json.loads(path.read_text()), **defaults}))
    with_defaults = open_backend(make_recipe(folder, model={"lora": None, "id": str(folder)}))
    found = with_defaults.generate(make_prompts(), SAMPLING)
    without = open_backend(make_recipe(model={"lora": None, "id": str(tiny_model_folder)}))
    expected = without.generate(make_prompts(), SAMPLING)
    assert found.completions == expected.completions
    with_defaults.save_policy(tmp_path / "policy")  # but they stay with the model
    saved = json.loads((tmp_path / "policy" / "generation_config.json").read_text())
    assert saved["no_repeat_ngram_size"] == 1
    assert with_defaults.generate(make_prompts(), SAMPLING) == found


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


@pytest.mark.parametrize(("elsewhere", "wanted"), [(False, 1 + 2), (True, 1)])
def test_no_interrupt_is_raised_in_a_thread_of_another(
    make_recipe, open_backend, make_prompts, elsewhere, wanted
):
    """Continuous batching calls the model in a thread, where an error would end nothing."""
    backend = open_backend(make_recipe())
    backend.trainer.use_transformers_continuous_batching = elsewhere
    polls = []

    def complete(ids, sampling):
        for _ in range(2):
            backend.trainer.causal()(torch.tensor([[1, 2]]))
        return [Drawn((1,), None)] * (len(ids) * sampling.group)

    backend.trainer.complete = complete
    backend.generate(make_prompts(), SAMPLING, lambda: polls.append(1))
    assert len(polls) == wanted


def test_a_prompt_beyond_the_window_is_refused(make_recipe, open_backend, make_prompts):
    backend = open_backend(make_recipe())
    with pytest.raises(PreflightError, match="exceed the 2048 positions"):
        backend.generate(make_prompts("x" * 2040), SAMPLING)


class Engine:
    """Stands for vLLM, whose weight sync through TRL needs a GPU: what the backend asks of TRL's wrapper."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.synced = 0
        self.asked: list[dict[str, object]] = []

    def sync_weights(self) -> None:
        self.synced += 1

    def generate(self, prompts, images, num_generations, profiler=None):
        self.asked.append({**vars(self), "prompts": prompts, "n": num_generations})
        ids = [[10 + row % num_generations, self.end] for row in range(len(prompts))]
        known = [[[-0.5], [None if row == 1 else -0.25]] for row in range(len(prompts))]
        return prompts, ids, known, None


def test_vllm_is_asked_in_the_recipes_way_and_its_log_probs_arrive(
    make_recipe, open_backend, make_prompts
):
    backend = open_backend(make_recipe())
    trainer = backend.trainer
    trainer.use_vllm = True
    engine = trainer.vllm_generation = Engine(backend.loaded.tokenizer.ends.main)
    trainer._last_loaded_step = -1
    rollout = backend.generate(make_prompts(), replace(SAMPLING, temperature=0.7, max_tokens=6))
    asked = engine.asked[0]
    assert engine.synced == 1
    assert (asked["temperature"], asked["max_completion_length"], asked["n"]) == (0.7, 6, 4)
    assert [list(ids) for ids in rollout.prompt_ids] == asked["prompts"][::4]
    first = rollout.completions[0]
    assert first[0].logprobs == (-0.5, -0.25)
    assert first[1].logprobs is None  # one of them could not be said
    assert {one.finish for group in rollout.completions for one in group} == {"stop"}
    backend.generate(make_prompts(), SAMPLING)
    assert engine.synced == 1  # nothing was trained in between
    narrow = backend.generate(make_prompts(), replace(SAMPLING, top_p=0.9))
    assert narrow.completions[0][0].logprobs is None
    trainer.repetition_penalty = 1.1
    assert backend.generate(make_prompts(), SAMPLING).completions[0][0].logprobs is None


def test_vllm_gets_all_ends_of_a_turn(make_recipe, open_backend):
    from grpokit_trl.arguments import settings
    from grpokit_trl.config import TrlConfig

    recipe = make_recipe()
    loaded = open_backend(recipe).loaded
    found = settings(recipe, TrlConfig(vllm="server"), loaded, "x")
    assert found["generation_kwargs"] == {"stop_token_ids": sorted(loaded.tokenizer.ends.ids)}
    assert (found["use_vllm"], found["vllm_mode"]) == (True, "server")


def test_what_else_decides_a_draw_belongs_to_the_result(make_recipe, open_backend, make_prompts):
    args = {"generation_kwargs": {"no_repeat_ngram_size": 1}, "repetition_penalty": 1.5}
    settings = {"threads": 1, "device": "cpu", "args": args}
    backend = open_backend(make_recipe(backend={"use": "trl", "with": settings}))
    assert {key: backend.identity[key] for key in args} == args
    assert not args.keys() & open_backend(make_recipe()).identity.keys()
    for group in backend.generate(make_prompts(), SAMPLING).completions:
        assert all(len(set(one.token_ids)) == len(one.token_ids) for one in group)


def test_a_policy_opened_for_sampling_computes_in_the_type_of_the_run(
    make_recipe, open_backend, make_prompts, tmp_path
):
    """Training wraps the model in autocast; an evaluation must draw from the same numbers."""
    recipe = make_recipe(model={"lora": None, "dtype": "bfloat16", "id": make_recipe().model.id})
    backend = open_backend(recipe)
    seen = []
    backend.loaded.model.lm_head.register_forward_hook(lambda *a: seen.append(a[2].dtype))
    backend.generate(make_prompts(), SAMPLING)
    assert set(seen) == {torch.bfloat16}


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
