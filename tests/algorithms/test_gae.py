"""Advantages a token and the critic's loss: by hand, at the edges, and against verl's own code."""

from __future__ import annotations

import math

import pytest
import torch

from grpokit.algorithms.gae import (
    clipped_value_loss,
    generalised_advantages,
    length_adaptive_lambda,
    whiten_tokens,
)


def row(*values):
    return torch.tensor([values], dtype=torch.float64)


def draw(seed, rows=5, tokens=9):
    """Ragged rows with holes, one of them empty, rubbish where masked."""
    rng = torch.Generator().manual_seed(seed)

    def normal():
        return torch.randn(rows, tokens, generator=rng, dtype=torch.float64)

    lengths_N = torch.randint(2, tokens + 1, (rows,), generator=rng)
    mask_NT = torch.arange(tokens) < lengths_N[:, None]
    mask_NT &= torch.rand(rows, tokens, generator=rng) > 0.15
    mask_NT[0, 0] = mask_NT[0, 1] = True
    mask_NT[-1] = False
    return normal(), normal(), mask_NT


def test_two_tokens_by_hand():
    advantages_NT, returns_NT = generalised_advantages(
        row(0.0, 1.0), row(0.5, 0.25), torch.ones(1, 2), gamma=0.5, lam=0.5
    )
    last = 1 - 0.25
    first = 0 + 0.5 * 0.25 - 0.5 + 0.5 * 0.5 * last
    assert advantages_NT[0].tolist() == pytest.approx([first, last])
    assert returns_NT[0].tolist() == pytest.approx([first + 0.5, 1.0])


def test_lambda_one_is_the_return_less_the_value_and_zero_the_error_of_one_step():
    rewards_NT, values_NT, _ = draw(1)
    mask_NT = torch.ones_like(rewards_NT)
    full_NT, returns_NT = generalised_advantages(rewards_NT, values_NT, mask_NT, lam=1.0)
    to_go_NT = rewards_NT.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(returns_NT, to_go_NT)
    torch.testing.assert_close(full_NT, to_go_NT - values_NT)
    step_NT, _ = generalised_advantages(rewards_NT, values_NT, mask_NT, gamma=0.9, lam=0.0)
    next_NT = torch.nn.functional.pad(values_NT[:, 1:], (0, 1))
    torch.testing.assert_close(step_NT, rewards_NT + 0.9 * next_NT - values_NT)


def test_masked_tokens_are_jumped_over_whatever_they_hold():
    short_NT, _ = generalised_advantages(row(0.1, 1.0), row(0.5, 0.2), torch.ones(1, 2), gamma=0.9)
    long_NT, returns_NT = generalised_advantages(
        row(0.1, math.inf, 1.0, math.nan),
        row(0.5, math.nan, 0.2, math.inf),
        torch.tensor([[1, 0, 1, 0]]),
        gamma=0.9,
    )
    assert long_NT[0, [0, 2]].tolist() == short_NT[0].tolist()
    assert long_NT[0, [1, 3]].tolist() == returns_NT[0, [1, 3]].tolist() == [0, 0]


def test_lambda_a_row_equals_one_at_a_time():
    rewards_NT, values_NT, mask_NT = draw(2)
    lam_N = torch.linspace(0, 1, 5, dtype=torch.float64)
    together_NT, _ = generalised_advantages(rewards_NT, values_NT, mask_NT, lam=lam_N)
    for n in range(5):
        alone_NT, _ = generalised_advantages(
            rewards_NT[[n]], values_NT[[n]], mask_NT[[n]], lam=float(lam_N[n])
        )
        torch.testing.assert_close(together_NT[[n]], alone_NT)


def test_length_adaptive_lambda():
    lam_N = length_adaptive_lambda(torch.tensor([100, 1000, 30, 20, 5, 0]))
    assert lam_N.tolist() == pytest.approx([0.8, 0.98, 1 / 3, 0, 0, 0], abs=1e-6)


def test_whitening():
    values_NT, _, mask_NT = draw(3)
    white_NT = whiten_tokens(values_NT, mask_NT)
    assert float(white_NT[mask_NT].mean()) == pytest.approx(0, abs=1e-9)
    assert float(white_NT[mask_NT].var()) == pytest.approx(1, abs=1e-6)
    assert not white_NT[~mask_NT].any()
    assert whiten_tokens(row(3.0), torch.ones(1, 1)).item() == 0
    assert whiten_tokens(row(math.nan), torch.zeros(1, 1)).item() == 0


def test_value_loss_by_hand():
    """Free error 1, held error (1 - .2 - ...)^2: the larger one counts, without gradient if held."""
    values_NT = row(1.0, 0.1).requires_grad_()
    loss, share = clipped_value_loss(
        values_NT, row(0.0, 0.0), row(1.0, 0.0), torch.ones(1, 2), clip=0.2
    )
    assert loss.item() == pytest.approx(0.5 * (0.8**2 + 0.1**2) / 2)
    assert share.item() == 0.5
    loss.backward()
    assert values_NT.grad[0].tolist() == pytest.approx([0.0, 0.05])


def test_value_loss_without_tokens_is_zero():
    values_NT = row(1.0, math.inf).requires_grad_()
    loss, share = clipped_value_loss(values_NT, row(0, 0), row(0, math.nan), torch.zeros(1, 2))
    loss.backward()
    assert loss.item() == share.item() == 0
    assert values_NT.grad[0].tolist() == [0, 0]


@pytest.fixture(scope="module")
def verl():
    """verl's own functions, where it is installed."""
    return pytest.importorskip(
        "verl.trainer.ppo.core_algos", reason="verl is not installed", exc_type=ImportError
    )


@pytest.mark.parametrize("seed", range(50))
def test_advantages_agree_with_verl(verl, seed):
    rewards_NT, values_NT, mask_NT = draw(seed)
    gamma, lam = 1 - 0.01 * (seed % 7), 1 - 0.05 * (seed % 5)
    theirs_NT, their_returns_NT = verl.compute_gae_advantage_return(
        rewards_NT, values_NT, mask_NT.double(), gamma, lam
    )
    found_NT, returns_NT = generalised_advantages(
        rewards_NT, values_NT, mask_NT, gamma=gamma, lam=lam
    )
    white_NT = whiten_tokens(found_NT, mask_NT)
    close = {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(white_NT[mask_NT], theirs_NT[mask_NT], **close)
    torch.testing.assert_close(returns_NT[mask_NT], their_returns_NT[mask_NT], **close)


@pytest.mark.parametrize("seed", range(50))
def test_value_loss_and_gradient_agree_with_verl(verl, seed):
    old_NT, returns_NT, mask_NT = draw(seed)
    moved_NT = old_NT + 0.5 * draw(seed + 1000)[0]
    results = []
    for ours in (True, False):
        values_NT = moved_NT.clone().requires_grad_()
        if ours:
            loss, share = clipped_value_loss(values_NT, old_NT, returns_NT, mask_NT, clip=0.2)
        else:
            loss, share = verl.compute_value_loss(
                values_NT, returns_NT, old_NT, mask_NT.double(), cliprange_value=0.2
            )
        loss.backward()
        results.append((loss.detach(), share.double(), values_NT.grad))
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
