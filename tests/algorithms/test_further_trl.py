"""Parts for entropies agree with TRL 1.14.2's real loss code, in float64, on fifty random draws each.

Entropies are functions of the log-probs here, so that their gradient is compared too. They are rounded to
float32, because TRL takes their quantile in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from grpokit.algorithms import KlPenalty, clip_ratio, sequence_mean, token_mean
from grpokit.algorithms.adaptive_entropy import AdaptiveEntropy
from grpokit.algorithms.token_clip import TopEntropy, spared_end
from grpokit.spec.flow import Outcome
from loss_draws import DRAWS, Draw, check, compose, draw, inputs, ours
from tables import rollout_of, scores_of
from trl_losses import loss_trainer, their_loss

pytest.importorskip("trl", reason="trl is in the dev dependency group", exc_type=ImportError)

WIDE = {"epsilon_low": 0.2, "epsilon_high": 0.28}
CLIP = partial(clip_ratio, epsilon=0.2, epsilon_high=0.28)


@pytest.fixture(scope="module")
def trainer(tiny_model_folder, tmp_path_factory) -> Iterator[Any]:
    with loss_trainer(tiny_model_folder, tmp_path_factory.mktemp("trl")) as made:
        yield made


def entropy(logprobs_NT: Tensor) -> Tensor:
    """Some positive number a token that float32 holds exactly, with a gradient."""
    value_NT = logprobs_NT.square() / 2
    return value_NT + (value_NT.float().double() - value_NT).detach()


def result(algorithm: Any, found: Draw) -> tuple[Tensor, Tensor]:
    """Our loss and gradient, the entropies' share included."""
    given = inputs(found)
    logprobs_NT = found.logprobs_NT.clone().requires_grad_()
    given = dataclasses.replace(given, logprobs_NT=logprobs_NT, entropy_NT=entropy(logprobs_NT))
    loss = algorithm.loss(given).loss
    (gradient_NT,) = torch.autograd.grad(loss, logprobs_NT)
    return loss.detach(), gradient_NT


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("delta", [None, 1.6])
def test_top_entropy(monkeypatch, trainer, share, delta):
    """The tokens that do not train stay in the row's length, and under the divergence."""
    clip = TopEntropy(share, epsilon=0.2, epsilon_high=0.28, delta=delta)
    algorithm = compose(clip=clip, regulariser=KlPenalty(0.1))
    theirs = {"loss_type": "grpo", "top_entropy_quantile": share, "delta": delta, **WIDE}
    theirs |= {"beta": 0.1, "use_bias_correction_kl": False}
    for seed in DRAWS:
        found = draw(seed)
        expected = their_loss(monkeypatch, trainer, found, entropy=entropy, **theirs)
        check(result(algorithm, found), expected, f"share {share}, draw {seed}")


def test_all_tokens_are_plain_clip():
    for seed in DRAWS[:6]:
        found = draw(seed)
        plain = ours(compose(clip=CLIP), inputs(found))
        check(result(compose(clip=TopEntropy(1.0, epsilon_high=0.28)), found), plain, "share 1")


@pytest.mark.parametrize(
    ("loss_type", "aggregation", "mean"),
    [("dapo", token_mean, "objective"), ("grpo", sequence_mean, "tokens")],
)
def test_adaptive_entropy(monkeypatch, trainer, loss_type, aggregation, mean):
    """Fifty steps of one controller: the coefficient, the gate, loss and gradient of each."""
    target, delta = 1.9, 0.02
    part = AdaptiveEntropy(target, delta=delta, high=0.05, mean=mean)
    algorithm = compose(clip=CLIP, regulariser=part, aggregation=aggregation)
    theirs = {"loss_type": loss_type, "use_adaptive_entropy": True, "_entropy_bonus_enabled": True}
    theirs |= {"entropy_target": target, "entropy_coef_delta": delta, "entropy_coef_max": 0.05}
    monkeypatch.setattr(trainer, "entropy_coef", 0.0)
    monkeypatch.setattr(trainer, "_last_world_entropy", float("inf"))
    monkeypatch.setattr(trainer, "_entropy_window_stats", None)
    applied = []
    for seed in DRAWS:
        found = draw(seed)
        applied.append(part.applied)
        expected = their_loss(monkeypatch, trainer, found, entropy=entropy, **theirs, **WIDE)
        check(result(algorithm, found), expected, f"step {seed}")
        mean = (entropy(found.logprobs_NT) * found.mask_NT).sum() / found.mask_NT.sum()
        part.observe(
            Outcome(
                step=seed + 1,
                rollout=rollout_of([[1]]),
                scores=scores_of([[1.0]]),
                kept=(0,),
                metrics={"entropy": float(mean)},
            )
        )
        assert part.coefficient == pytest.approx(trainer.entropy_coef, abs=1e-12)
        assert part.last == pytest.approx(trainer._last_world_entropy, abs=1e-12)
    assert {0.0, 0.05} <= {round(value, 6) for value in applied}
    assert 0.02 in {round(value, 6) for value in applied}


def test_the_spared_end_is_an_advantage_of_zero(monkeypatch, trainer):
    """OpenPipe's clip is TRL's with advantages a token, of which the last is 0."""
    algorithm = compose(clip=partial(spared_end, epsilon=0.2, epsilon_high=0.28))
    for seed in DRAWS:
        found = draw(seed)
        lengths_N = found.mask_NT.sum(-1).long()
        advantages_NT = found.advantages_N[:, None].repeat(1, found.mask_NT.shape[-1])
        for row, length in enumerate(lengths_N.tolist()):
            advantages_NT[row, max(length - 1, 0) :] = 0.0
        theirs = dataclasses.replace(found, advantages_N=advantages_NT)
        expected = their_loss(monkeypatch, trainer, theirs, loss_type="grpo", **WIDE)
        check(ours(algorithm, inputs(found)), expected, f"draw {seed}")
