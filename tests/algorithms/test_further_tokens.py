"""Parts that treat single tokens apart: numbers and edges."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from grpokit.algorithms import clip_ratio, sequence_mean, sequence_sum, token_mean
from grpokit.algorithms.further import openpipe
from grpokit.algorithms.further_config import OpenPipeConfig
from grpokit.algorithms.gpg import plain_gradient
from grpokit.algorithms.quantile import Regression
from grpokit.algorithms.token_clip import cov_clip, high_entropy, spared_end
from grpokit.algorithms.token_mask import Selective, after_marker, only_last
from grpokit.spec.flow import LossInputs
from loss_draws import DRAWS, compose, draw, inputs, ours
from tables import rollout_of, scores_of


def test_after_a_marker():
    tokens_NT = torch.tensor([[7, 1, 2, 7, 3, 0], [1, 7, 7, 7, 4, 0], [7, 7, 5, 5, 5, 7]])

    def places(**settings: Any) -> list[list[int]]:
        found = after_marker(tokens_NT, **settings)
        return [row.nonzero().flatten().tolist() for row in found]

    assert places(marker=[7]) == [[1, 4], [2, 3, 4], [1, 2]]
    assert places(marker=[7], offset=2) == [[2, 5], [3, 4, 5], [2, 3]]
    assert places(marker=[7, 7]) == [[], [3, 4], [2]]
    assert places(marker=[7, 7], prefilled=True) == [[0], [0, 3, 4], [0, 2]]
    assert places(marker=[7, 7], prefilled=True, offset=3) == [[2], [2, 5], [2, 4]]
    assert places(marker=[5, 5, 7]) == [[], [], []]
    assert places(marker=[1] * 9) == [[], [], []]
    assert places(marker=[1], offset=9) == [[], [], []]


def test_the_decision_after_a_marker_has_no_gradient():
    found = draw(0)
    tokens_NT = torch.full(found.mask_NT.shape, 3)
    tokens_NT[:, 2] = 9
    given = dataclasses.replace(inputs(found), tokens_NT=tokens_NT)
    _, gradient_NT = ours(compose(mask=Selective((9,))), given)
    _, whole_NT = ours(compose(), given)
    moved = whole_NT[:, 3] != 0
    assert bool(moved.any())
    assert bool((gradient_NT[:, 3] == 0).all())
    assert bool((gradient_NT[:, 4][moved] != 0).any())


def test_a_row_of_decisions_alone_keeps_them():
    mask_NT = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    given = dataclasses.replace(
        inputs(draw(0)), tokens_NT=torch.tensor([[4, 0, 0], [9, 4, 0], [0] * 3])
    )
    kept = Selective((9,), prefilled=True)(mask_NT, given)
    assert kept.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert Selective((9,))(mask_NT, given).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_token_ids_are_asked_for():
    with pytest.raises(ValueError, match="no token ids"):
        Selective((9,))(torch.ones(1, 1), inputs(draw(0)))


def test_only_the_last_token():
    mask_NT = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    found = only_last(mask_NT, torch.zeros(4, dtype=torch.bool))
    assert found.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_the_end_is_spared_and_counts():
    algorithm = openpipe(OpenPipeConfig())
    for seed in DRAWS:
        found = draw(seed)
        _, gradient_NT = ours(algorithm, inputs(found))
        last_NT = only_last(found.mask_NT, torch.zeros(1))
        assert bool((gradient_NT[last_NT == 1] == 0).all())
        _, whole_NT = ours(compose(clip=clip_ratio, aggregation=sequence_mean), inputs(found))
        torch.testing.assert_close(gradient_NT[last_NT == 0], whole_NT[last_NT == 0])
    value = spared_end(torch.ones(1, 1), torch.ones(1, 1), one_token())
    assert value.objective_NT.tolist() == [[0.0]]


def one_token() -> LossInputs:
    found = draw(0)
    return dataclasses.replace(inputs(found), mask_NT=torch.ones(1, 1))


def test_openpipe_takes_the_population_and_drops_what_teaches_nothing():
    algorithm = openpipe(OpenPipeConfig())
    totals = [[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], [1.0] * 8]
    rollout, scores = rollout_of([[1, 2, 3, 4, 5, 6, 7, 8]] * 2), scores_of(totals)
    found = algorithm.advantages(rollout, scores)
    assert found.advantages_PG[0, 0] == pytest.approx(1.732051, abs=1e-5)
    assert found.advantages_PG[0, 1] == pytest.approx(-0.577350, abs=1e-5)
    assert algorithm.select(rollout, scores, found).rows == tuple((0, g) for g in range(8))


def test_the_lot_of_clip_cov_is_the_seeds():
    found = draw(1)
    given = inputs(found)
    ratio_NT = (found.logprobs_NT - found.old_NT).exp()

    def drawn(seed: int, **settings: Any) -> list[int]:
        clipped = cov_clip(
            ratio_NT,
            found.advantages_N[:, None],
            dataclasses.replace(given, seed=seed),
            **{"share": 0.1, "low": -5.0, "high": 5.0, **settings},
        )
        assert bool((clipped.objective_NT[clipped.shares["covariant"]] == 0).all())
        return clipped.shares["covariant"].flatten().nonzero().flatten().tolist()

    count = int(found.mask_NT.sum() * 0.1)
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert len(drawn(1)) == count > 1
    assert len(drawn(1, share=1e-9)) == 1
    assert drawn(1, low=1e3, high=1e4) == []


def test_high_entropy_of_nothing_and_of_equals():
    nothing = torch.zeros(2, 3)
    assert not high_entropy(torch.ones(2, 3), nothing, 0.5).any()
    assert high_entropy(torch.ones(2, 3), nothing + 1, 0.0).all()


PARTS = {
    "regression": {"clip": Regression(0.3)},
    "spare-end": {"clip": spared_end},
    "last-token": {"mask": only_last, "clip": Regression(0.3)},
    "selective": {"mask": Selective((9,)), "clip": plain_gradient},
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("aggregation", [token_mean, sequence_mean, sequence_sum])
def test_shares_of_micro_batches_add_up(name, aggregation):
    """These look at their row only, so no split of the rows changes the step's loss. Padding does not count."""
    algorithm = compose(aggregation=aggregation, **PARTS[name])
    for seed in range(10):
        whole = dataclasses.replace(inputs(draw(seed)), tokens_NT=tokens(seed))
        loss, gradient_NT = ours(algorithm, whole)
        parts = ([0, 3], [1, 2, 5], [4])
        found = [ours(algorithm, cut(whole, part)) for part in parts]
        torch.testing.assert_close(sum(share for share, _ in found), loss)
        for (_, own_NT), part in zip(found, parts, strict=True):
            torch.testing.assert_close(own_NT, gradient_NT[part])


def tokens(seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(7, 11, draw(seed).mask_NT.shape, generator=rng)


def cut(whole: LossInputs, part: list[int]) -> LossInputs:
    """Some rows of the inputs; the totals stay those of the step."""
    rows_of = {
        name: value[part] for name, value in vars(whole).items() if isinstance(value, torch.Tensor)
    }
    return dataclasses.replace(whole, **rows_of)
