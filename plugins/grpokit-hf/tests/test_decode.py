"""Sampling: equal to transformers' greedy search, and each row alone with its random numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from grpokit.api import (
    Completion,
    Interrupted,
    NonFiniteError,
    OutOfMemoryError,
    PreflightError,
    Prompt,
    Sampling,
)
from grpokit_hf.backend import HfBackend
from grpokit_hf.nn import caches, decode_attention
from grpokit_hf.nn.decode import Decoder
from grpokit_hf.policy import Policy
from grpokit_hf.window import check_window
from tiny_model import LETTERS, SPECIAL


def greedy(backend: HfBackend, prompts: list[Prompt], tokens: int) -> list[list[int]]:
    """What transformers' own greedy search gives, one prompt at a time."""
    found = []
    for prompt in prompts:
        ids = torch.tensor([backend.encode(prompt.messages)])
        out = backend.policy.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            do_sample=False,
            eos_token_id=sorted(backend.policy.tokenizer.ends.ids),
            pad_token_id=0,
        )
        found.append(out[0, ids.shape[1] :].tolist())
    return found


@pytest.mark.parametrize("attention", ["float32", "sdpa", "eager"])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "sliding"])
def test_greedy_equals_transformers_token_for_token(
    make_tiny_model, make_recipe, open_backend, make_prompts, kind: str, attention: str
):
    folder = make_tiny_model(kind="qwen2" if kind == "qwen2" else "llama", seed=5)
    if kind == "sliding":
        config = (folder / "config.json").read_text()
        config = config.replace('"llama"', '"mistral"').replace("LlamaFor", "MistralFor")
        (folder / "config.json").write_text(config.replace("{", '{"sliding_window": 16,', 1))
    settings = {"with": {"threads": 1, "attention": attention, "device": "cpu"}}
    backend = open_backend(make_recipe(folder, backend=settings))
    assert backend.policy.plain == (kind != "sliding")
    assert getattr(backend.policy.base.config, "sliding_window", None) == (
        16 if kind == "sliding" else None
    )
    prompts = make_prompts()
    rollout = backend.generate(prompts, Sampling(group=1, max_tokens=40, temperature=0.0))
    drawn = [list(group[0].token_ids) for group in rollout.completions]
    assert drawn == greedy(backend, prompts, 40)
    assert len(set(map(tuple, drawn))) == len(prompts)


def ending_backend(make_tiny_model, make_recipe, open_backend, **settings: Any) -> HfBackend:
    """A model that ends its turn often: every fourth letter stops it."""
    backend = open_backend(make_recipe(make_tiny_model(), **settings))
    ends = backend.policy.tokenizer.ends
    stops = frozenset(range(len(SPECIAL), len(SPECIAL) + len(LETTERS), 4)) | {2}
    backend.policy.tokenizer.ends = replace(ends, ids=stops)
    return backend


def test_a_row_does_not_depend_on_its_neighbours(
    make_tiny_model, make_recipe, open_backend, make_prompts
):
    backend = ending_backend(make_tiny_model, make_recipe, open_backend)
    prompts = make_prompts()
    sampling = Sampling(group=8, max_tokens=30, seed=3, step=4)
    together = backend.generate(prompts, sampling)
    lengths = [len(c.token_ids) for group in together.completions for c in group]
    assert min(lengths) < 5 < max(lengths)
    for index, prompt in enumerate(prompts):
        alone = backend.generate([prompt], sampling)
        assert [c.token_ids for c in alone.completions[0]] == [
            c.token_ids for c in together.completions[index]
        ]
    fewer = backend.generate(prompts[::-1], replace(sampling, group=3))
    for index, group in enumerate(fewer.completions[::-1]):
        assert [c.token_ids for c in group] == [
            c.token_ids for c in together.completions[index][:3]
        ]
    backend.config = backend.config.model_copy(update={"generate_rows": 5})
    cut = backend.generate(prompts, sampling)
    assert [[c.token_ids for c in g] for g in cut.completions] == [
        [c.token_ids for c in g] for g in together.completions
    ]


def test_other_seeds_and_steps_draw_others(make_recipe, open_backend, make_prompts):
    backend = open_backend(make_recipe())
    base = Sampling(group=4, max_tokens=12, seed=1, step=1)
    runs = [
        backend.generate(make_prompts(), sampling)
        for sampling in (base, replace(base, seed=2), replace(base, step=2), base)
    ]
    texts = [[[c.text for c in g] for g in run.completions] for run in runs]
    assert texts[0] == texts[3]
    assert texts[0] != texts[1]
    assert texts[0] != texts[2]
    assert len(set(texts[0][0])) == 4


@pytest.mark.parametrize(
    ("layout", "together", "temperature"),
    [("Together", 1 << 17, 1.0), ("Steps", 0, 0.7), ("Tiled", 0, 0.7)],
)
def test_logprobs_equal_a_whole_forward(
    make_tiny_model,
    make_recipe,
    open_backend,
    make_prompts,
    monkeypatch,
    layout: str,
    together: int,
    temperature: float,
):
    """However rows read their prompts' keys; prompts of unequal lengths, and groups that shrink."""
    used = set()
    way = getattr(decode_attention, layout)
    attend = way.attend_rows
    monkeypatch.setattr(way, "attend_rows", lambda *args: used.add(type(args[0])) or attend(*args))
    monkeypatch.setattr(caches, "TOGETHER", together)
    monkeypatch.setattr(Policy, "tiles", layout == "Tiled")
    backend = ending_backend(make_tiny_model, make_recipe, open_backend)
    sampling = Sampling(group=4, max_tokens=16, temperature=temperature, seed=9)
    rollout = backend.generate(make_prompts(), sampling)
    for prompt_ids, group in zip(rollout.prompt_ids, rollout.completions, strict=True):
        for completion in group:
            ids = torch.tensor([[*prompt_ids, *completion.token_ids]])
            with torch.no_grad():
                logits = backend.policy.model(ids).logits[0, len(prompt_ids) - 1 : -1]
            expected = torch.log_softmax(logits / temperature, -1)
            expected = expected.gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0]
            assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=2e-5)
    assert used == {way}


@pytest.mark.parametrize("attention", ["float32", "sdpa"])
def test_rows_that_have_drawn_the_same_are_computed_once(
    make_tiny_model, make_recipe, open_backend, make_prompts, monkeypatch, attention: str
):
    """Sharp enough for rows to stay together a while, blunt enough for them to part and to end."""
    settings = {"with": {"threads": 1, "attention": attention, "device": "cpu", "fused": False}}
    backend = ending_backend(make_tiny_model, make_recipe, open_backend, backend=settings)
    prompts = make_prompts()
    sampling = Sampling(group=8, max_tokens=30, temperature=0.8, seed=3)
    fed: list[int] = []
    run = Decoder._run

    def counting(self: Decoder, ids_NQ: torch.Tensor, *more: Any) -> torch.Tensor:
        fed.append(ids_NQ.numel())
        return run(self, ids_NQ, *more)

    monkeypatch.setattr(Decoder, "_run", counting)

    def drawn(*, tree: bool) -> tuple[list[Completion], list[int]]:
        fed.clear()
        backend.config = backend.policy.config = backend.config.model_copy(update={"tree": tree})
        rollout = backend.generate(prompts, sampling)
        return [c for group in rollout.completions for c in group], list(fed)

    (once, few), (each, many) = drawn(tree=True), drawn(tree=False)
    assert [c.token_ids for c in once] == [c.token_ids for c in each]
    for a, b in zip(once, each, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-5)
    states = [
        {(n // 8, c.token_ids[:length]) for n, c in enumerate(once) if len(c.token_ids) > length}
        for length in range(1, 30)
    ]
    assert 8 < max(map(len, states)) < len(once)  # they part, and some have drawn the same
    if attention == "sdpa":  # prompts are not shared there, nor are rows
        assert few == many
        return
    assert few[0] == many[0]
    assert few[1] == len(states[0]) < many[1]
    for count, state in zip(few[1:], states, strict=False):
        assert len(state) <= count <= 4 / 3 * len(state) + 1


def test_text_and_finish(make_tiny_model, make_recipe, open_backend, make_prompts):
    backend = ending_backend(make_tiny_model, make_recipe, open_backend)
    rollout = backend.generate(make_prompts(), Sampling(group=8, max_tokens=6, seed=2))
    finishes = set()
    stops = backend.policy.tokenizer.ends.ids
    for group in rollout.completions:
        for completion in group:
            ended = completion.token_ids[-1] in stops
            assert completion.finish == ("stop" if ended else "length")
            assert not stops & set(completion.token_ids[:-1])
            assert ended or len(completion.token_ids) == 6
            letters = [t for t in completion.token_ids if t >= len(SPECIAL)]
            assert completion.text == "".join(LETTERS[t - len(SPECIAL)] for t in letters)
            finishes.add(completion.finish)
    assert finishes == {"stop", "length"}


def test_an_interrupt_between_tokens_leaves_at_once(make_recipe, open_backend, make_prompts):
    backend = open_backend(make_recipe())
    polls = []

    def stop() -> None:
        polls.append(1)
        if len(polls) == 3:
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        backend.generate(make_prompts(), Sampling(group=2, max_tokens=50), stop)
    assert len(polls) == 3
    rollout = backend.generate(make_prompts(), Sampling(group=2, max_tokens=3), None)
    assert len(rollout.completions) == 3


def test_what_exceeds_the_window_is_refused_by_row(make_recipe, open_backend, make_prompts):
    """Planning reads the first rows only; a later one may be longer."""
    backend = open_backend(make_recipe())
    prompts = make_prompts("short", "long " * 40)
    longest = len(backend.encode(prompts[1].messages))
    fits = Sampling(group=1, max_tokens=2048 - longest, temperature=0.0)
    check_window(backend.policy.base, prompts, [backend.encode(p.messages) for p in prompts], fits)
    with pytest.raises(PreflightError, match="positions of the model") as caught:
        backend.generate(prompts, Sampling(group=1, max_tokens=2049 - longest))
    assert caught.value.place == "data set row 1"


def test_one_token(make_recipe, open_backend, make_prompts):
    backend = open_backend(make_recipe())
    rollout = backend.generate(make_prompts(), Sampling(group=2, max_tokens=1))
    assert {len(c.token_ids) for g in rollout.completions for c in g} == {1}


def test_memory_that_runs_out_halves_the_rows(make_recipe, open_backend, make_prompts):
    """The error itself cannot be had on a CPU; it is raised where CUDA would raise it."""
    backend = open_backend(make_recipe())
    sampling = Sampling(group=4, max_tokens=6, seed=1)
    calm = backend.generate(make_prompts(), sampling)
    sizes, sample = [], backend._sample

    def tight(rows, *rest):
        sizes.append(len(rows))
        if len(rows) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return sample(rows, *rest)

    backend._sample, limit = tight, 4
    rollout = backend.generate(make_prompts(), sampling)
    assert sizes == [12, 6, 3, 3, 6, 3, 3]
    assert [[c.token_ids for c in g] for g in rollout.completions] == [
        [c.token_ids for c in g] for g in calm.completions
    ]
    limit = 0
    with pytest.raises(OutOfMemoryError, match=r"rollout\.max_tokens"):
        backend.generate(make_prompts(), sampling)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_that_has_diverged_is_told(
    make_recipe, open_backend, make_prompts, temperature, value
):
    backend = open_backend(make_recipe(model={"lora": None}))
    with torch.no_grad():
        backend.policy.base.get_output_embeddings().weight[5] = value
    with pytest.raises(NonFiniteError, match="diverged"):
        backend.generate(make_prompts(), Sampling(group=2, max_tokens=4, temperature=temperature))
