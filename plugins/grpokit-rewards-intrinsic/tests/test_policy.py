"""Rewards on a real policy: what they say of written completions, against full logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from grpokit.api import Completion, Rollout, Sampling
from grpokit.scoring.facts import facts_of
from grpokit.scoring.scorer import Scorer
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from tiny_model import write_tiny_model
from tiny_recipes import questions, tiny_recipe

TEXTS = ("6 * 7 = 42, \\boxed{41}", "\\boxed{4", "well: \\boxed{ 5 } so", "")


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HfBackend]:
    folder: Path = write_tiny_model(tmp_path_factory.mktemp("policy") / "tiny")
    found = HfBackend(HfConfig.model_validate({"threads": 1, "device": "cpu"}))
    found.open(tiny_recipe("hf", folder), needs_reference=False, needs_entropy=False)
    yield found
    found.close()


def rollout_of(backend: HfBackend) -> Rollout:
    prompts = questions("What is 2 + 2?", "And?")
    encode = backend.policy.tokenizer.encode_text
    made = tuple(Completion(token_ids=encode(text), text=text, finish="stop") for text in TEXTS)
    return Rollout(
        prompts=tuple(prompts),
        prompt_ids=tuple(backend.encode(prompt.messages) for prompt in prompts),
        completions=(made, made),
        sampling=Sampling(group=len(TEXTS), max_tokens=40),
    )


def probabilities(backend: HfBackend, prompt: tuple[int, ...], before: str, target: str) -> Any:
    """Of the letters of ``target``, each a token here."""
    ids = [*prompt, *backend.policy.tokenizer.encode_text(before + target)]
    with torch.no_grad():
        p = backend.policy.model(torch.tensor([ids])).logits[0].softmax(-1)
    return [
        p[len(ids) - len(target) + k - 1, ids[len(ids) - len(target) + k]].item()
        for k in range(len(target))
    ]


def test_the_reference_answer_takes_the_place_of_the_own_one(backend, setup_of):
    setups = [setup_of("reference-probability", {"debias": "off"}), setup_of("self-certainty")]
    with Scorer(setups) as scorer:
        rollout = rollout_of(backend)
        scores = scorer.score(rollout, facts=facts_of(scorer, backend, rollout))
    assert not scores.failures
    for p, ids in enumerate(rollout.prompt_ids):
        said = scores.rewards["reference-probability"][p]
        (first,) = probabilities(backend, ids, "6 * 7 = 42, \\boxed{", "4")
        (third,) = probabilities(backend, ids, "well: \\boxed{ ", "4")
        assert said == [pytest.approx(first, abs=1e-6), 0.0, pytest.approx(third, abs=1e-6), 0.0]
        sure = scores.rewards["self-certainty"][p]
        assert sure[3] is None, "a completion without a token"
        assert all(value > 0 for value in sure[:3])


def test_the_reasoning_earns_what_it_adds(backend, setup_of):
    with Scorer([setup_of("reference-probability")]) as scorer:
        rollout = rollout_of(backend)
        scores = scorer.score(rollout, facts=facts_of(scorer, backend, rollout))
    ids = rollout.prompt_ids[0]
    (reasoned,) = probabilities(backend, ids, "6 * 7 = 42, \\boxed{", "4")
    (bare,) = probabilities(backend, ids, "\\boxed{", "4")
    assert scores.rewards["reference-probability"][0][0] == pytest.approx(
        min(1.0, max(0.0, reasoned - bare)), abs=1e-6
    )
    assert scores.components["reference-probability/without-reasoning"][0][0] == pytest.approx(
        bare, abs=1e-6
    )
    assert not math.isclose(reasoned, bare, abs_tol=1e-4)
