"""Parts that look at lengths and references, and those of filtered fine-tuning: numbers and edges."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from grpokit.algorithms import Composition, group_zscore
from grpokit.algorithms.further import ad_gfpo, gfpo, opo, qrpo, rest_em
from grpokit.algorithms.lengthwise import (
    AdaptiveFilter,
    GroupFilter,
    filtered_zscore,
    keep_filtered,
)
from grpokit.algorithms.lengthwise_config import (
    AdGfpoConfig,
    GfpoConfig,
    KeptConfig,
    OpoConfig,
)
from grpokit.algorithms.offline import above_threshold, keep_capped
from grpokit.algorithms.offline_config import RestEmConfig
from grpokit.algorithms.quantile import Quantile, Regression, beta_log_partition, regression_loss
from grpokit.algorithms.quantile_config import QrpoConfig
from grpokit.algorithms.reset import Restart
from grpokit.errors import ComponentError
from grpokit.spec.flow import Advantages, Resets, Scores
from loss_draws import DRAWS, compose, draw, inputs, ours
from remembering import assert_goes_on, outcome
from tables import rollout_of, scores_of

REWARDS = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0]
LENGTHS = [100, 50, 30, 200, 400, 20]


def advantages(
    algorithm: Composition,
    totals: Sequence[Sequence[float | None]],
    lengths: Sequence[Sequence[int]],
    **settings: Any,
) -> Tensor:
    rollout = rollout_of(lengths, max_tokens=1000, **settings)
    return algorithm.advantages(rollout, scores_of(totals)).advantages_PG


def valid(totals_PG: Tensor) -> Tensor:
    return torch.ones_like(totals_PG, dtype=torch.bool)


def test_gfpo_by_length_is_the_published_vector():
    found = GroupFilter(keep=3)(
        torch.tensor([REWARDS], dtype=torch.float64),
        torch.ones(1, 6, dtype=torch.bool),
        rollout_of([LENGTHS], max_tokens=1000),
    )
    half = 1 / math.sqrt(2)
    expected = torch.tensor([[0.0, 2 * half, -half, 0.0, 0.0, -half]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_gfpo_by_efficiency_erases_a_binary_reward():
    """As many right answers as are kept: nothing is left to compare. A reward that knows length is not erased."""
    totals_PG = torch.tensor([REWARDS], dtype=torch.float64)
    lengths_PG = torch.tensor([LENGTHS])
    settings = {"keep_P": [3], "metric": "efficiency"}
    assert filtered_zscore(totals_PG, valid(totals_PG), lengths_PG, **settings).tolist() == [
        [0.0] * 6
    ]
    graded_PG = torch.tensor([[0.9, 1.0, 0.0, 0.0, 0.5, 0.0]], dtype=torch.float64)
    found = filtered_zscore(graded_PG, valid(graded_PG), lengths_PG, **settings)
    assert [round(value, 4) for value in found[0].tolist()] == [
        0.4629,
        0.9258,
        0.0,
        0.0,
        -1.3887,
        0.0,
    ]


def test_what_abstained_is_never_kept():
    totals = [[None, 1.0, 0.0, None, 1.0, 0.0]]
    found = advantages(gfpo(GfpoConfig(keep=3)), totals, [LENGTHS])[0]
    assert found[0] == found[3] == found[4] == 0
    assert found[1] > 0 > found[2]
    nothing = advantages(gfpo(GfpoConfig(keep=3)), [[None] * 6], [LENGTHS])
    assert nothing.tolist() == [[0.0] * 6]


@pytest.mark.parametrize(("keep", "count"), [(None, 3), (2, 2), (6, 6)])
def test_how_many_are_kept(keep, count):
    totals = [[0.1, 0.2, 0.3, 0.4, 0.5, 0.7]]
    found = advantages(gfpo(GfpoConfig(keep=keep)), totals, [LENGTHS])
    assert int((found != 0).sum()) == count


def test_old_trl_divides_by_the_kept_alone():
    """The sample's deviation plus 1e-4 among the kept, which alone are selected."""
    algorithm = gfpo(GfpoConfig(keep=3, denominator="kept", std_ddof=1, std_eps=1e-4))
    rollout, scores = rollout_of([LENGTHS], max_tokens=1000), scores_of([REWARDS])
    found = algorithm.advantages(rollout, scores)
    kept = [g for _, g in algorithm.select(rollout, scores, found).rows]
    assert kept == [1, 2, 5]
    among = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    expected = group_zscore(among, valid(among)).float()
    torch.testing.assert_close(found.advantages_PG[:, kept], expected)
    paper = gfpo(GfpoConfig(keep=3))
    assert paper.select(rollout, scores, found).denominator == 6


def test_selected_rows_are_those_with_statistics():
    """Part and part agree on which are kept, for ties and rewards that abstained."""
    lot = random.Random(4)
    for metric in ("shortest", "efficiency"):
        for _ in range(50):
            lengths = [[lot.randrange(1, 5) for _ in range(6)] for _ in range(2)]
            totals = [[lot.choice([None, 0.0, 0.5, 1.0]) for _ in range(6)] for _ in range(2)]
            rollout, scores = rollout_of(lengths), scores_of(totals)
            rows = keep_filtered(rollout, scores, None, keep=3, metric=metric).rows  # type: ignore[arg-type]
            kept = set(rows)
            part = GroupFilter(3, metric)
            totals_PG = torch.tensor(
                [[0.0 if t is None else t for t in group] for group in totals], dtype=torch.float64
            )
            valid_PG = torch.tensor([[t is not None for t in group] for group in totals])
            found = part(totals_PG, valid_PG, rollout)
            moved = {(p, g) for p, g in rollout.rows() if found[p, g] != 0}
            assert moved <= kept
            for p in range(2):
                own = [totals[p][g] for q, g in rows if q == p]
                assert (len(set(own)) > 1) == any(q == p for q, _ in moved)


def test_easy_groups_keep_fewer():
    """Quartiles of the means of the steps before; strictly below the first is very hard."""
    part = AdaptiveFilter(warmup=8)
    assert [part.keep(mean, 16) for mean in (0.0, 0.5, 1.0)] == [8, 8, 8]
    means = [i / 8 for i in range(9)]
    part.observe(outcome(total=[[mean, mean] for mean in means]))
    assert part.digest.count == 9
    asked = (0.0, 0.2, 0.25, 0.49, 0.5, 0.7, 0.75, 1.0)
    assert [part.keep(mean, 16) for mean in asked] == [8, 8, 8, 8, 6, 6, 4, 4]
    assert [part.keep(mean, 8) for mean in asked] == [4, 4, 4, 4, 3, 3, 2, 2]
    assert part.keep(1.0, 4) == 2
    assert part.keep(None, 16) == 8


def test_difficulty_is_that_of_the_steps_before():
    """The step itself changes nothing until it is over; an abstained group adds nothing."""
    algorithm = ad_gfpo(AdGfpoConfig(warmup=4))
    totals = [[0.0, 0.0, 1.0, 0.1] * 2, [None] * 8]
    lengths = [[3, 1, 2, 4, 5, 6, 7, 8]] * 2
    before = advantages(algorithm, totals, lengths)
    for _ in range(4):
        assert torch.equal(advantages(algorithm, totals, lengths), before)
        algorithm.observe(outcome(total=totals))
    assert algorithm.state()["advantage"] == {"centroids": [[0.275, 1.0]] * 4}
    after = advantages(algorithm, totals, lengths)
    assert int((before != 0).sum()) == 4
    assert int((after != 0).sum()) == 2  # a mean among equal ones is at every quartile: easy


def test_adaptive_gfpo_goes_on_from_its_state():
    lot = random.Random(1)
    outcomes = [
        outcome(step, [[lot.randrange(2) for _ in range(4)] for _ in range(3)])
        for step in range(1, 12)
    ]

    def probe(part: AdaptiveFilter) -> list[int]:
        return [part.keep(mean / 8, 16) for mean in range(9)]

    answers = assert_goes_on(lambda: AdaptiveFilter(warmup=6), outcomes, probe)
    assert len({tuple(answer) for answer in answers}) > 2


def test_opo_weighs_the_baseline_by_length():
    found = advantages(opo(OpoConfig()), [[1.0, 0.0, 0.0], [0.5] * 3], [[6, 3, 1], [1, 2, 3]])
    torch.testing.assert_close(found, torch.tensor([[0.4, -0.6, -0.6], [0.0, 0.0, 0.0]]))
    found = advantages(opo(OpoConfig()), [[1.0, None, 0.0], [None, None, 1.0]], [[6, 90, 3]] * 2)
    torch.testing.assert_close(found, torch.tensor([[1 / 3, 0.0, -2 / 3], [0.0, 0.0, 0.0]]))


@pytest.mark.parametrize(
    ("beta", "exact", "approximate"),
    [(0.1, 0.769737, 0.769741), (1.0, 0.541325, 1.0), (0.003, 0.982573, 0.982573)],
)
def test_the_partition_function(beta, exact, approximate):
    assert beta_log_partition(beta) == pytest.approx(exact, abs=5e-7)
    assert beta_log_partition(beta, exact=False) == pytest.approx(approximate, abs=5e-7)


def test_the_partition_function_is_that_of_uniform_rewards():
    """Z = integral of e^(r / beta) over r in [0, 1], and it stays finite where e^(1/beta) does not."""
    for beta in (0.2, 0.5, 2.0):
        steps = 20_000
        z = math.fsum(math.exp((i + 0.5) / steps / beta) for i in range(steps)) / steps
        assert beta_log_partition(beta) == pytest.approx(beta * math.log(z), abs=1e-8)
    assert beta_log_partition(1e-6) == pytest.approx(1 + 1e-6 * math.log(1e-6), abs=1e-12)


def test_quantiles_count_equals_and_leave_out_what_abstained():
    algorithm = qrpo(QrpoConfig())
    found = advantages(algorithm, [[0.0, 1.0, 1.0, None], [None] * 4], [[1, 2, 3, 4]] * 2)
    torch.testing.assert_close(found[0], torch.tensor([1 / 3, 1.0, 1.0, 0.0]))
    assert found[1].tolist() == [0.0] * 4


def test_quantiles_among_rewards_of_the_reference():
    algorithm = qrpo(QrpoConfig(against="column"))
    columns = [{"ref_rewards": [0, 0.5, 0.5, 1.0]}, {"ref_rewards": (0.2,)}]
    found = advantages(
        algorithm, [[-1.0, 0.5, 0.9, 2.0], [0.2, 0.1, None, 0.3]], [[1] * 4] * 2, columns=columns
    )
    assert found.tolist() == [[0.0, 0.75, 0.75, 1.0], [1.0, 0.0, 0.0, 1.0]]


def test_the_column_is_asked_for_only_where_it_is_read():
    assert QrpoConfig().columns() == ()
    assert QrpoConfig(against="column").columns() == ("ref_rewards",)


@pytest.mark.parametrize("value", [None, "0.5", [], ["a"], [0.1, None], [math.nan], 3.0])
def test_a_row_without_rewards_of_the_reference_is_named(value):
    columns = [{"ref_rewards": [0.5]}, {"ref_rewards": value} if value is not None else {}]
    with pytest.raises(ComponentError, match="column `ref_rewards`") as caught:
        advantages(
            qrpo(QrpoConfig(against="column")),
            [[1.0, 0.0]] * 2,
            [[1, 2]] * 2,
            rows=[4, 9],
            columns=columns,
        )
    assert caught.value.place == "data set row 9"
    assert "against: group" in caught.value.remedy


def test_the_regression_by_hand():
    """Fifty draws against a loop over rows, with the derivative written out."""
    beta = 0.3
    algorithm = compose(clip=Regression(beta))
    for seed in DRAWS:
        found = draw(seed)
        found.advantages_N = found.advantages_N.abs().clamp(max=1.0)
        loss, gradient_NT = ours(algorithm, inputs(found))
        total, expected_NT = 0.0, torch.zeros_like(gradient_NT)
        for row in range(len(found.advantages_N)):
            length = int(found.mask_NT[row].sum())
            if not length:
                continue
            log = sum(
                float(found.logprobs_NT[row, t] - found.ref_NT[row, t]) for t in range(length)
            )
            z = beta * (math.exp(1 / beta) - 1)
            gap = float(found.advantages_N[row]) - beta * math.log(z) - beta * log
            total += gap**2 / len(found.advantages_N)
            expected_NT[row, :length] = -2 * beta * gap / len(found.advantages_N)
        assert float(loss) == pytest.approx(total, rel=1e-9)
        torch.testing.assert_close(gradient_NT, expected_NT, rtol=1e-9, atol=1e-12)


def test_the_regression_is_zero_at_its_optimum():
    """log pi = log pi_ref + R / beta - log Z, spread over the tokens."""
    found = draw(3)
    found.advantages_N = torch.rand(len(found.advantages_N), dtype=torch.float64)
    beta = 0.5
    length_N1 = found.mask_NT.sum(-1, keepdim=True).clamp(min=1)
    gap_N1 = (found.advantages_N[:, None] - beta_log_partition(beta)) / beta
    found.logprobs_NT = found.ref_NT + gap_N1 / length_N1
    value = regression_loss(
        torch.ones_like(found.mask_NT), found.advantages_N[:, None], inputs(found), beta=beta
    ).objective_NT
    assert float((value.detach() * found.mask_NT).abs().max()) < 1e-20


def test_rows_of_the_lowest_quantile_train_too():
    """Advantage 0 is a target like any other here; only what abstained leaves."""
    algorithm = qrpo(QrpoConfig(against="column"))
    columns = [{"ref_rewards": [1.0]}]
    rollout, scores = rollout_of([[1, 2, 3]], columns=columns), scores_of([[0.0, None, 2.0]])
    found = algorithm.advantages(rollout, scores)
    assert found.advantages_PG.tolist() == [[0.0, 0.0, 1.0]]
    selection = algorithm.select(rollout, scores, found)
    assert selection.rows == ((0, 0), (0, 2))
    assert selection.weights == (1.0, 1.0)
    assert algorithm.needs_reference
    assert not algorithm.skips_zero_advantage


def test_right_answers_weigh_one_and_are_capped():
    algorithm = rest_em(RestEmConfig(threshold=0.5, cap=2))
    totals = [[0.4, 0.5, 1.0, 0.9], [None, 0.0, 0.1, None], [1.0, None, 1.0, 1.0]]
    rollout, scores = rollout_of([[1, 2, 3, 4]] * 3), scores_of(totals)
    found = algorithm.advantages(rollout, scores)
    assert found.advantages_PG.tolist() == [[0, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 1]]
    selection = algorithm.select(rollout, scores, found)
    assert selection.rows == ((0, 1), (0, 2), (2, 0), (2, 2))
    assert selection.denominator == 4
    nothing = algorithm.advantages(rollout, scores_of([[0.0] * 4] * 3))
    assert algorithm.select(rollout, scores, nothing).rows == ()


def test_its_loss_is_the_likelihood_of_the_tokens():
    """Stale log-probs do not matter: there is no ratio."""
    algorithm = rest_em(RestEmConfig())
    for seed in DRAWS:
        found = draw(seed)
        found.advantages_N = torch.ones_like(found.advantages_N)
        loss, gradient_NT = ours(algorithm, inputs(found))
        count = found.mask_NT.sum()
        torch.testing.assert_close(loss, -(found.logprobs_NT * found.mask_NT).sum() / count)
        torch.testing.assert_close(gradient_NT, -found.mask_NT / count)


def test_a_threshold_on_totals_that_abstained():
    totals_PG = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    found = above_threshold(totals_PG, torch.tensor([[True, False]]), threshold=-1.0)
    assert found.tolist() == [[1.0, 0.0]]


def test_restart_is_due_from_the_first_update_on():
    both = Resets(policy=True, optimizer=True)
    assert [Restart()(step) for step in (1, 2)] == [both, both]
    assert [Restart(3)(step) == both for step in range(1, 8)] == [
        True, False, False, True, False, False, True,
    ]  # fmt: skip


def test_a_group_too_small_for_what_is_kept():
    assert KeptConfig(keep=8).misfit(prompts=1, group=16) is None
    assert KeptConfig().misfit(prompts=1, group=2) is None
    problem = GfpoConfig(keep=8).misfit(prompts=1, group=4)
    assert problem is not None
    assert problem[0] == "keep"


def test_quantile_parts_are_frozen_in_what_they_say():
    """The Composition finds needs on the object, not on the class."""
    assert Quantile().needs_rollout
    assert Regression().zero_moves


def test_a_capped_selection_keeps_the_first():
    found = Advantages(
        advantages_PG=torch.tensor([[1.0, 2.0, 0.0, 3.0]]),
        valid_PG=torch.ones(1, 4, dtype=torch.bool),
        dead_P=torch.zeros(1, dtype=torch.bool),
    )
    scores = Scores(rewards={}, components={}, total=[[0.0] * 4])
    assert keep_capped(rollout_of([[1] * 4]), scores, found, cap=2).rows == ((0, 0), (0, 1))
