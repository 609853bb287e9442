"""KL(U || p) and log-probs of targets, against the formula written out."""

from __future__ import annotations

import math

import pytest
import torch

from grpokit import algorithms


def naive(z_NV: torch.Tensor) -> torch.Tensor:
    """sum_v 1/V (log 1/V - log p_v), term by term."""
    v = z_NV.shape[-1]
    return (1 / v * (math.log(1 / v) - z_NV.log_softmax(-1))).sum(-1)


def test_the_golden_value():
    weight = torch.tensor([2.0, 0.0, -1.0, 0.5])[:, None]
    logprobs, certainty = algorithms.token_certainty(torch.ones(1, 1), weight, torch.tensor([0]))
    assert certainty.item() == pytest.approx(0.581055, abs=1e-6)
    assert logprobs.item() == pytest.approx(weight[:, 0].log_softmax(0)[0].item(), abs=1e-6)


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("softcap", [None, 2.0])
def test_any_chunk_is_the_formula(chunk, softcap):
    torch.manual_seed(0)
    hidden, weight, bias = torch.randn(7, 5), torch.randn(11, 5), torch.randn(11)
    targets = torch.randint(11, (7,))
    z = hidden @ weight.T + bias
    z = z if softcap is None else softcap * torch.tanh(z / softcap)
    logprobs, certainty = algorithms.token_certainty(
        hidden, weight, targets, bias_V=bias, chunk=chunk, softcap=softcap
    )
    torch.testing.assert_close(certainty, naive(z))
    torch.testing.assert_close(logprobs, z.log_softmax(-1).gather(-1, targets[:, None])[:, 0])
    ours, _ = algorithms.token_logprobs(hidden, weight, targets, bias_V=bias, softcap=softcap)
    torch.testing.assert_close(logprobs, ours)


def test_a_uniform_policy_is_not_certain_and_nothing_has_a_gradient():
    weight = torch.full((6, 2), 0.25, requires_grad=True)
    logprobs, certainty = algorithms.token_certainty(torch.ones(3, 2), weight, torch.arange(3))
    torch.testing.assert_close(certainty, torch.zeros(3), atol=1e-6, rtol=0)
    assert not logprobs.requires_grad
    assert not certainty.requires_grad


def test_bfloat16_weights_are_summed_in_float32():
    torch.manual_seed(1)
    hidden, weight = torch.randn(4, 8).bfloat16(), torch.randn(1000, 8).bfloat16()
    _, certainty = algorithms.token_certainty(hidden, weight, torch.zeros(4, dtype=torch.int64))
    assert certainty.dtype == torch.float32
    torch.testing.assert_close(certainty, naive((hidden @ weight.T).float()))
