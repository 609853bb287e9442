"""The next token: filters against their definitions, draws against the probabilities."""

from __future__ import annotations

import pytest
import torch

from grpokit.api import Sampling
from grpokit_hf.nn.pick import draw, keep_likely, pick, row_uniforms

LOGITS = torch.log(torch.tensor([[0.5, 0.2, 0.15, 0.1, 0.05]]))


def sampling(**settings: float) -> Sampling:
    return Sampling(group=1, max_tokens=1, **settings)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, 5),
        ({"top_k": 2}, 2),
        ({"top_p": 0.5}, 1),
        ({"top_p": 0.51}, 2),
        ({"top_p": 1e-9}, 1),
        ({"min_p": 0.25}, 3),
        ({"top_k": 4, "top_p": 0.8, "min_p": 0.35}, 2),
    ],
)
def test_filters_keep_what_their_definition_says(settings: dict[str, float], kept: int):
    shuffled = torch.tensor([3, 0, 4, 1, 2])
    cut = keep_likely(LOGITS[:, shuffled], sampling(**settings))
    assert cut.isfinite().sum() == kept
    assert set(shuffled[cut[0].isfinite()].tolist()) == set(range(kept))


@pytest.mark.parametrize("size", [5, 256, 1000])
def test_draw_is_the_inverse_of_the_distribution(size: int):
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(1, size, generator=generator)
    weights[0, 1] = 0
    grid = (torch.arange(200_000) + 0.5) / 200_000
    tokens = torch.cat(
        [draw(weights.expand(len(part), -1), part)[0] for part in grid.split(20_000)]
    )
    share = torch.bincount(tokens, minlength=size) / len(grid)
    assert (tokens.diff() >= 0).all()
    assert share[1] == 0
    assert torch.allclose(share, weights[0] / weights.sum(), atol=2e-5)


def test_draw_at_the_edges_takes_possible_tokens():
    weights = torch.zeros(3, 600)
    weights[:, 300] = 1e-30
    weights[0, 10] = 1.0
    weights[0, 599] = 1.0
    edge = 1 - 2**-24
    assert draw(weights, torch.tensor([edge, edge, 0.0]))[0].tolist() == [599, 300, 300]


def test_greedy_takes_the_best_and_reports_it_at_temperature_1():
    token, logprob = pick(LOGITS, torch.tensor([0.9]), sampling(temperature=0.0))
    assert token.tolist() == [0]
    assert logprob.item() == pytest.approx(-0.6931472, abs=1e-6)


def test_logprob_belongs_to_the_temperature_before_the_cut():
    token, logprob = pick(LOGITS, torch.tensor([0.999]), sampling(temperature=2.0, top_k=2))
    expected = torch.log_softmax(LOGITS / 2.0, -1)[0, token[0]]
    assert token.tolist() == [1]
    assert logprob.item() == pytest.approx(expected.item(), abs=1e-6)


def test_uniforms_of_a_row_follow_from_its_seed_alone():
    both = row_uniforms([11, 12], 6)
    assert torch.equal(both[1], row_uniforms([12], 6)[0])
    assert torch.equal(both[0, :4], row_uniforms([11], 4)[0])
    assert not torch.equal(both[0], both[1])
