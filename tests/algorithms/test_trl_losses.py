"""Parts of the loss agree with TRL 1.14.2's real loss code, in float64, on fifty random draws each.

The trainer's own ``_compute_loss`` runs. Only what feeds it is replaced: the log-probs that it would
get from the model (``_get_per_token_logps_and_entropies``) are the given tensors, so that the
gradient by log-probs can be compared and ratios can be as far from 1 as wanted.
"""

from __future__ import annotations

from functools import partial

import pytest

from grpokit.algorithms import (
    KlPenalty,
    cispo,
    clip_off_policy,
    clip_ratio,
    constant_length,
    gmpo,
    importance_weight,
    sapo,
    sequence_ratio,
    sequence_sum,
    sequence_token_ratio,
    token_mean,
    token_mean_local,
    vespo,
)
from loss_draws import DRAWS, ROWS, check, compose, draw, inputs, ours
from trl_losses import loss_trainer, their_loss

pytest.importorskip("trl", reason="trl is in the dev dependency group", exc_type=ImportError)


@pytest.fixture(scope="module")
def trainer(tiny_model_folder, tmp_path_factory):
    with loss_trainer(tiny_model_folder, tmp_path_factory.mktemp("trl")) as made:
        yield made


WIDE = {"epsilon_low": 0.2, "epsilon_high": 0.28}
OUR_WIDE = partial(clip_ratio, epsilon=0.2, epsilon_high=0.28)
SEQUENCE = {"importance_sampling_level": "sequence"}
CASES = {
    "grpo": ({"loss_type": "grpo", **WIDE}, {"clip": OUR_WIDE}),
    "dapo": ({"loss_type": "dapo", **WIDE}, {"clip": OUR_WIDE, "aggregation": token_mean}),
    "bnpo": ({"loss_type": "bnpo", **WIDE}, {"clip": OUR_WIDE, "aggregation": token_mean_local}),
    "dr_grpo": (
        {"loss_type": "dr_grpo", **WIDE},
        {"clip": OUR_WIDE, "aggregation": constant_length},
    ),
    "delta": (
        {"loss_type": "grpo", "delta": 1.6, **WIDE},
        {"clip": partial(OUR_WIDE, delta=1.6)},
    ),
    "gspo": (
        {"loss_type": "grpo", **SEQUENCE, **WIDE},
        {"ratio": sequence_ratio, "clip": OUR_WIDE},
    ),
    "gspo-token": (
        {"loss_type": "grpo", **SEQUENCE, **WIDE},
        {"ratio": sequence_token_ratio, "clip": OUR_WIDE},
    ),
    "luspo": (
        {"loss_type": "luspo", **SEQUENCE, **WIDE},
        {"ratio": sequence_ratio, "clip": OUR_WIDE, "aggregation": sequence_sum},
    ),
    "luspo of tokens": (
        {"loss_type": "luspo", **WIDE},
        {"clip": OUR_WIDE, "aggregation": sequence_sum},
    ),
    "cispo": (
        {"loss_type": "cispo", "epsilon_high": 2.0},
        {"clip": partial(cispo, cap=2.0), "aggregation": token_mean},
    ),
    "cispo of sequences": (
        {"loss_type": "cispo", "epsilon_high": 1.3, **SEQUENCE},
        {"clip": partial(cispo, cap=1.3), "aggregation": token_mean, "ratio": sequence_ratio},
    ),
    "sapo": ({"loss_type": "sapo"}, {"clip": sapo}),
    "sapo, sharp": (
        {"loss_type": "sapo", "sapo_temperature_pos": 2.0, "sapo_temperature_neg": 3.5},
        {"clip": partial(sapo, temperature_pos=2.0, temperature_neg=3.5)},
    ),
    "vespo": ({"loss_type": "vespo"}, {"clip": vespo, "aggregation": token_mean}),
    "off-policy": (
        {"loss_type": "grpo", "off_policy_mask_threshold": 0.05, **WIDE},
        {"clip": partial(clip_off_policy, threshold=0.05, epsilon_high=0.28)},
    ),
    "kl": (
        {"loss_type": "grpo", "beta": 0.1, "use_bias_correction_kl": False, **WIDE},
        {"clip": OUR_WIDE, "regulariser": KlPenalty(0.1)},
    ),
    "kl times the sequence's ratio": (
        {"loss_type": "grpo", "beta": 0.1, "use_bias_correction_kl": True, **SEQUENCE, **WIDE},
        {
            "clip": OUR_WIDE,
            "ratio": sequence_ratio,
            "regulariser": KlPenalty(0.1, times_ratio=True),
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient(monkeypatch, trainer, name):
    theirs, mine = CASES[name]
    sizes = []
    for seed in DRAWS:
        found = draw(seed)
        expected = their_loss(monkeypatch, trainer, found, **theirs)
        check(ours(compose(**mine), inputs(found)), expected, f"{name}, draw {seed}")
        sizes.append(float(expected[1].norm()))
    assert min(sizes) > 0
    assert max(sizes) > 0.1


@pytest.mark.parametrize("cut", ["truncate", "mask"])
@pytest.mark.parametrize("level", ["token", "sequence"])
def test_where_the_correction_is_applied(monkeypatch, trainer, level, cut):
    """The weight multiplies the policy term only. TRL takes it as given, here from our function."""
    weigh = partial(importance_weight, level=level, cut=cut, cap=1.2, floor=0.7)
    algorithm = compose(correction=weigh, clip=OUR_WIDE, regulariser=KlPenalty(0.1))
    theirs = {"loss_type": "grpo", "beta": 0.1, "use_bias_correction_kl": False, **WIDE}
    for seed in DRAWS:
        found = draw(seed)
        weight_NT = weigh(found.old_NT, found.sampler_NT, found.mask_NT)
        expected = their_loss(monkeypatch, trainer, found, weight_NT, **theirs)
        check(ours(algorithm, inputs(found)), expected, f"{level} {cut}, draw {seed}")


def test_gmpo(monkeypatch, trainer):
    """A row without tokens has ratio 1 in TRL: a constant without gradient, which we leave out."""
    from trl.experimental.gmpo.gmpo_trainer import GMPOTrainer

    algorithm = compose(clip=partial(gmpo, low=0.4, high=0.3))
    for seed in DRAWS:
        found = draw(seed)
        loss, gradient_NT = their_loss(
            monkeypatch,
            trainer,
            found,
            function=GMPOTrainer._compute_loss,
            epsilon_low=0.4,
            epsilon_high=0.3,
        )
        constant = -found.advantages_N[-1] / ROWS
        assert found.mask_NT[-1].sum() == 0
        check(ours(algorithm, inputs(found)), (loss - constant, gradient_NT), f"gmpo, draw {seed}")
