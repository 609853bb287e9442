"""A completion can end where its answer is complete, and is else what it would have been."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grpokit.api import Completion, Sampling, answered
from grpokit_hf.backend import HfBackend
from tiny_model import CHATML
from until_runs import give_answers


def open_answering(make_tiny_model, make_recipe, open_backend, template: str = CHATML) -> HfBackend:
    backend: HfBackend = open_backend(
        make_recipe(give_answers(make_tiny_model(template=template, seed=4)))
    )
    return backend


def rows(backend: HfBackend, prompts, **changes) -> list[Completion]:
    rollout = backend.generate(
        prompts, Sampling(group=16, max_tokens=30, seed=3, step=1, **changes)
    )
    return [completion for group in rollout.completions for completion in group]


def ending(backend: HfBackend, whole: Completion, before: str = "") -> int | None:
    """Tokens up to the first complete answer, found by looking at every beginning."""
    for end in range(1, len(whole.token_ids) + 1):
        text = backend.policy.tokenizer.decode(whole.token_ids[:end])
        if answered(before + text, "hash"):
            return end
    return None


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_it_ends_with_the_token_that_completes_the_answer(
    make_tiny_model, make_recipe, open_backend, make_prompts, temperature: float
) -> None:
    backend = open_answering(make_tiny_model, make_recipe, open_backend)
    prompts = make_prompts()
    found = rows(backend, prompts, until="hash", temperature=temperature)
    full = rows(backend, prompts, temperature=temperature)
    cut = 0
    for short, whole in zip(found, full, strict=True):
        end = ending(backend, whole)
        assert short.token_ids == whole.token_ids[:end]
        assert short.logprobs == whole.logprobs[:end]
        assert short.finish == ("stop" if end else whole.finish)
        cut += end is not None and end < len(whole.token_ids)
    assert 5 < cut < len(full)


def test_thinking_that_the_prompt_has_begun_holds_no_answer(
    make_tiny_model, make_recipe, open_backend, make_prompts
) -> None:
    backend = open_answering(make_tiny_model, make_recipe, open_backend, CHATML + "<think>")
    prompts = make_prompts()
    full = rows(backend, prompts)
    assert any(ending(backend, whole) for whole in full)
    assert [c.token_ids for c in rows(backend, prompts, until="hash")] == [
        c.token_ids for c in full
    ]


def test_an_answer_that_never_comes_ends_nothing(
    make_tiny_model, make_recipe, open_backend, make_prompts
) -> None:
    backend = open_answering(make_tiny_model, make_recipe, open_backend)
    prompts = make_prompts()
    (full,) = {c.token_ids for c in rows(backend, prompts[:1], temperature=0.0)}
    (short,) = {c.token_ids for c in rows(backend, prompts[:1], temperature=0.0, until="boxed")}
    assert short == full  # no box anywhere


def test_only_tokens_that_can_close_an_answer_are_looked_at(tmp_path: Path) -> None:
    from grpokit_hf.text.answers import Answers
    from grpokit_hf.text.tokenizer import load_backend
    from tiny_model import write_tokenizer

    write_tokenizer(tmp_path, eos=None, pad=None, template=None, adds_bos=False)
    backend = load_backend(tmp_path)
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert Answers(backend, "boxed").closing == {vocabulary["}"]}
    ids = backend.encode(r"so \boxed{\frac{1}{2}} and \boxed{3}").ids
    ends = [n for n in range(1, len(ids) + 1) if Answers(backend, "boxed")(ids[:n], thinking=False)]
    text = backend.decode(ids[: ends[0]])
    assert text == r"so \boxed{\frac{1}{2}}"
    assert not Answers(backend, "boxed")(ids[: ends[0]], thinking=True)
