"""Parts of the loss beyond GRPO's own: golden values, what they do at the edges, recipes."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import pytest
import torch
from pydantic import ValidationError

from grpokit.algorithms import (
    AXES,
    KlPenalty,
    cispo,
    clip_off_policy,
    clip_ratio,
    dual_clip,
    gmpo,
    importance_weight,
    kl_cov,
    sapo,
    sequence_ratio,
    sequence_sum,
    sequence_token_ratio,
    token_mean,
    token_ratio,
    truncated_weight,
    vespo,
)
from grpokit.builtins.loss_parts import SPECS
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import build_config, create
from grpokit.spec.flow import LossTotals
from loss_draws import DRAWS, ROWS, TOKENS, check, compose, draw, inputs, ours

OBJECTIVES = (
    clip_ratio,
    dual_clip,
    partial(clip_off_policy, threshold=0.01),
    cispo,
    sapo,
    gmpo,
    vespo,
    kl_cov,
)
RATIOS = (token_ratio, sequence_ratio, sequence_token_ratio)


def rows(ratio, advantage):
    """One row of ratios as loss inputs; the log-probs are the logarithms of the ratios."""
    old_NT = torch.zeros(1, len(ratio), dtype=torch.float64)
    ratio_NT = torch.tensor([ratio], dtype=torch.float64)
    found = draw(0)
    given = dataclasses.replace(
        inputs(found),
        logprobs_NT=old_NT + ratio_NT.log(),
        old_logprobs_NT=old_NT,
        sampler_logprobs_NT=None,
        advantages_N=torch.tensor([advantage], dtype=torch.float64),
        mask_NT=torch.ones_like(old_NT),
    )
    return ratio_NT, given.advantages_N[:, None], given


@pytest.mark.parametrize(
    ("part", "ratio", "advantage", "expected"),
    [
        (dual_clip, [4.0, 2.0, 0.5], -1.0, [-3.0, -2.0, -0.8]),
        (dual_clip, [4.0, 2.0, 0.5], 1.0, [1.2, 1.2, 0.5]),
        (partial(dual_clip, floor=1.1), [1.15], -1.0, [-1.1]),
        (partial(cispo, cap=2.0), [math.e**2], 1.0, [4.0]),
        (partial(cispo, cap=2.0, floor=0.5), [math.e**-2], 1.0, [0.5 * -2.0]),
        (sapo, [1.0], 1.0, [2.0]),
        (sapo, [1.0], -1.0, [-2 / 1.05]),
        (sapo, [3.0], 1.0, [4 / (1 + math.exp(-2))]),
        (gmpo, [math.e, math.exp(0.2)], 1.0, [math.exp(0.3)] * 2),
        (gmpo, [math.e, math.exp(0.2)], -1.0, [-math.exp(0.6)] * 2),
        (gmpo, [math.exp(-1), 1.0], -1.0, [-math.exp(-0.2)] * 2),
        (vespo, [0.5, 2.0], 1.0, [math.log(0.5), math.log(2)]),
        (vespo, [2.0], 1.0, [math.exp(3) * 4 * math.exp(-6) * math.log(2)]),
        (vespo, [2.0], -1.0, [-math.exp(2) * 8 * math.exp(-4) * math.log(2)]),
    ],
)
def test_golden_objectives(part, ratio, advantage, expected):
    found = part(*rows(ratio, advantage)).objective_NT
    assert found[0].tolist() == pytest.approx(expected, abs=1e-12)


def test_a_floor_above_the_region_is_the_two_sided_clip():
    for seed in DRAWS:
        found = inputs(draw(seed))
        one, other = (
            compose(clip=partial(dual_clip, floor=1.7)),
            compose(clip=partial(clip_ratio, delta=1.7)),
        )
        check(ours(one, found), ours(other, found), str(seed))


def test_kl_cov():
    """The likeliest token of the best row and the least likely of the worst are the covariant ones."""
    ratio_NT, _, given = rows([0.9, 0.5], 1.0)
    given = dataclasses.replace(
        given,
        logprobs_NT=torch.tensor([[-1.0, -3.0], [-2.0, -4.0]], dtype=torch.float64),
        old_logprobs_NT=torch.tensor([[-1.5, -3.0], [-2.0, -3.7]], dtype=torch.float64),
        mask_NT=torch.ones(2, 2, dtype=torch.float64),
    )
    ratio_NT = torch.ones(2, 2, dtype=torch.float64)
    advantage_N1 = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    clipped = kl_cov(ratio_NT, advantage_N1, given, share=0.5, coefficient=0.1)
    assert clipped.shares["covariant"].tolist() == [[1.0, 0.0], [0.0, 1.0]]
    expected = torch.tensor([[0.95, 1.0], [-1.0, -1.03]], dtype=torch.float64)
    torch.testing.assert_close(clipped.objective_NT, expected)
    nothing = dataclasses.replace(given, mask_NT=torch.zeros_like(ratio_NT))
    assert float(kl_cov(ratio_NT, advantage_N1, nothing).shares["covariant"].sum()) == 0.0


def test_off_policy_rows():
    """Only a row with a negative advantage that the policy has left stays out."""
    for ratio, advantage, kept in ((0.5, -1.0, False), (0.5, 1.0, True), (0.7, -1.0, True)):
        clipped = clip_off_policy(*rows([ratio, ratio], advantage))
        assert bool((clipped.objective_NT != 0).all()) is kept
        assert bool(clipped.shares["off_policy"].any()) is not kept
    ratio_NT, advantage_N1, given = rows([0.5, 0.5], -1.0)
    given = dataclasses.replace(given, sampler_logprobs_NT=given.logprobs_NT)
    assert float(clip_off_policy(ratio_NT, advantage_N1, given).objective_NT.max()) == -0.8


def test_sequence_token_ratio():
    """The sequence's value; with one advantage a row also its gradient, with several not."""
    for seed in DRAWS:
        found = inputs(draw(seed))
        check(
            ours(compose(ratio=sequence_token_ratio), found),
            ours(compose(ratio=sequence_ratio), found),
            str(seed),
        )
    x_NT = torch.tensor([[0.4, 0.0]], requires_grad=True)
    value_NT = sequence_token_ratio(x_NT, torch.ones(1, 2))
    assert value_NT[0].tolist() == pytest.approx([math.exp(0.2)] * 2)
    (gradient_NT,) = torch.autograd.grad(value_NT[0, 0], x_NT)
    assert gradient_NT[0].tolist() == pytest.approx([math.exp(0.2), 0.0])


OLD = torch.tensor([[0.0, 0.0, 0.0]], dtype=torch.float64)
SAMPLER = -torch.tensor([[3.0, 0.4, 9.0]], dtype=torch.float64).log()
MASK = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("level", "cut", "cap", "floor", "expected"),
    [
        ("token", "truncate", 2.0, None, [2.0, 0.4]),
        ("token", "truncate", 2.0, 0.5, [2.0, 0.5]),
        ("token", "mask", 5.0, 0.5, [3.0, 0.0]),
        ("token", "mask", 2.0, None, [0.0, 0.4]),
        ("sequence", "mask", 2.0, None, [1.2, 1.2]),
        ("sequence", "mask", 1.1, None, [0.0, 0.0]),
        ("sequence", "truncate", 1.1, None, [1.1, 1.1]),
        ("sequence", "truncate", None, None, [1.2, 1.2]),
    ],
)
def test_importance_weight(level, cut, cap, floor, expected):
    weight_NT = importance_weight(OLD, SAMPLER, MASK, level=level, cut=cut, cap=cap, floor=floor)
    assert weight_NT is not None
    assert weight_NT[0, :2].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("cut", ["truncate", "mask"])
def test_weight_is_one_where_sampler_and_trainer_agree(level, cut):
    weight_NT = importance_weight(OLD, OLD, MASK, level=level, cut=cut, cap=2.0, floor=0.5)
    assert weight_NT is not None
    assert weight_NT.tolist() == [[1.0, 1.0, 1.0]]
    with pytest.raises(ValueError, match="sampler"):
        importance_weight(OLD, None, MASK, level=level, cut=cut)


def test_the_truncated_weight_is_a_case_of_it():
    for seed in DRAWS:
        found = draw(seed)
        one = truncated_weight(found.old_NT, found.sampler_NT, found.mask_NT, cap=1.1)
        other = importance_weight(
            found.old_NT, found.sampler_NT, found.mask_NT, cut="truncate", cap=1.1
        )
        assert one is not None
        assert other is not None
        torch.testing.assert_close(one * found.mask_NT, other * found.mask_NT)


def test_sequence_sum():
    totals = LossTotals(rows=4, tokens=3, max_tokens=9)
    loss_NT = torch.tensor([[1.0, 2.0], [5.0, 7.0]])
    mask_NT = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    assert float(sequence_sum(loss_NT, mask_NT, torch.tensor([1.0, 2.0]), totals)) == 13 / 4


def test_limit_of_the_divergence():
    """Clamped like verl's k3: beyond the limit neither value nor gradient grows."""
    found = dataclasses.replace(inputs(draw(0)), ref_logprobs_NT=draw(0).logprobs_NT + 5.0)
    ratio_NT = torch.ones(ROWS, TOKENS, dtype=torch.float64)
    penalty_NT = KlPenalty(0.5, limit=10.0)(found, ratio_NT)
    assert penalty_NT is not None
    assert penalty_NT.unique().tolist() == [5.0]
    (gradient_NT,) = torch.autograd.grad(penalty_NT.sum(), found.logprobs_NT)
    assert float(gradient_NT.abs().max()) == 0.0


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("clip", OBJECTIVES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_from_the_old_policy_everything_is_finite(clip, ratio, dtype):
    """Ratios whose plain exponential is infinite, whole rows masked, advantages of 0."""
    for shift in (-1000.0, -100.0, 100.0, 1000.0):
        found = draw(1)
        given = inputs(found)
        given = dataclasses.replace(
            given,
            logprobs_NT=given.logprobs_NT.detach().to(dtype),
            old_logprobs_NT=(found.old_NT - shift).to(dtype),
            sampler_logprobs_NT=(found.sampler_NT - shift / 2).to(dtype),
            advantages_N=found.advantages_N.to(dtype),
            weights_N=given.weights_N.to(dtype),
        )
        for level in ("token", "sequence"):
            weigh = partial(importance_weight, level=level, cut="mask")
            algorithm = compose(clip=clip, ratio=ratio, correction=weigh)
            loss, gradient_NT = ours(algorithm, given)
            assert bool(loss.isfinite())
            assert bool(gradient_NT.isfinite().all())
            assert float(gradient_NT[found.mask_NT == 0].abs().sum()) == 0.0
            assert float(gradient_NT[1].abs().sum()) == 0.0


@pytest.mark.parametrize("clip", [c for c in OBJECTIVES if c is not vespo])
@pytest.mark.parametrize("aggregation", [token_mean, sequence_sum])
def test_on_policy_all_have_the_gradient_of_reinforce(clip, aggregation):
    """At ratio 1 no trust region matters; VESPO has it too, by phi(1) = 1."""
    found = draw(0)
    given = dataclasses.replace(inputs(found), old_logprobs_NT=found.logprobs_NT)
    given = dataclasses.replace(given, sampler_logprobs_NT=found.logprobs_NT)
    base = compose(aggregation=aggregation)
    plain = ours(base, given)[1]
    torch.testing.assert_close(ours(compose(clip=clip, aggregation=aggregation), given)[1], plain)
    torch.testing.assert_close(ours(compose(clip=vespo, aggregation=aggregation), given)[1], plain)
    algorithm = compose(clip=clip, aggregation=aggregation)
    differs = [
        not torch.allclose(ours(algorithm, stale)[1], ours(base, stale)[1])
        for stale in (inputs(draw(seed)) for seed in range(10))
    ]
    assert any(differs) is (clip is not clip_ratio)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_parts_are_built_from_recipes(spec):
    """Each in its axis, with the function's own defaults as defaults of its settings."""
    assert spec.axis in AXES
    entry = Catalog.load().find("algorithm", spec.name)
    part = create(entry, {})
    function = getattr(part, "func", part)
    assert function.__doc__
    for name, value in getattr(part, "keywords", {}).items():
        if name not in {"level", "cut"}:
            assert function.__kwdefaults__[name] == value, name
    axis = "selector" if spec.axis == "select" else spec.axis
    loss, gradient_NT = ours(compose(**{axis: part}), inputs(draw(0)))
    assert bool(loss.isfinite())
    assert float(gradient_NT.norm()) > 0


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("dual-clip", {"floor": 1.0}),
        ("clip-off-policy", {"delta": 1.1}),
        ("cispo-weight", {"cap": 0.5, "floor": 0.7}),
        ("sapo-gate", {"temperature_pos": 0.0}),
        ("gmpo-clip", {"low": 0.0}),
        ("mask-token", {"cap": 1.0, "floor": 2.0}),
        ("kl", {"limit": 0.0}),
    ],
)
def test_settings_without_sense_are_refused(name, settings):
    with pytest.raises(ValidationError):
        build_config(Catalog.load().find("algorithm", name), settings)


@pytest.mark.parametrize("clip", [c for c in OBJECTIVES if c is not kl_cov])
@pytest.mark.parametrize("aggregation", [token_mean, sequence_sum])
def test_shares_of_micro_batches_add_up(clip, aggregation):
    """A part looks at its row only, so no split of the rows changes the step's loss."""
    algorithm = compose(clip=clip, aggregation=aggregation)
    for seed in range(10):
        whole = inputs(draw(seed))
        loss, gradient_NT = ours(algorithm, whole)
        found = [ours(algorithm, cut(whole, part)) for part in ([0, 3], [1, 2, 5], [4])]
        check(
            (sum((share for share, _ in found), torch.zeros((), dtype=torch.float64)), found[1][1]),
            (loss, gradient_NT[[1, 2, 5]]),
            str(seed),
        )


def cut(whole, part):
    """Some rows of the inputs; the totals stay those of the step."""
    rows_of = {
        name: value[part] for name, value in vars(whole).items() if isinstance(value, torch.Tensor)
    }
    return dataclasses.replace(whole, **rows_of)


def test_a_weight_without_bounds_is_finite():
    far_NT = torch.full((1, 3), -500.0)
    for level in ("token", "sequence"):
        weight_NT = importance_weight(
            torch.zeros(1, 3), far_NT, torch.ones(1, 3), level=level, cut="truncate", cap=None
        )
        assert weight_NT is not None
        assert bool(weight_NT.isfinite().all())
        assert float(weight_NT.min()) > 1e20
