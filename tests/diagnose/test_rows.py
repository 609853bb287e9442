"""A step's numbers, from our files and from TRL's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from grpokit.diagnose.rows import TRL_NAMES, own_row, trl_row

OWN = {
    "step": 7,
    "reward": 0.5,
    "failures": 6,
    "length/mean": 2.5,
    "tokens": 60,
    "trained_rows": 24,
    "seconds": {"total": 1.0},
}
TRL = {
    "clip_ratio/high_max": 0.0,
    "clip_ratio/high_mean": 0.02,
    "clip_ratio/low_mean": 0.01,
    "completions/clipped_ratio": 0.75,
    "completions/mean_length": 10.5,
    "entropy": 3.3,
    "frac_reward_zero_std": 0.25,
    "grad_norm": 0.5,
    "learning_rate": 1e-5,
    "loss": 0.0,
    "num_tokens": 416.0,
    "reward": 1.0,
    "reward_std": 0.0,
    "rewards/number/mean": 0.0,
    "sampling/sampling_logp_difference/mean": 0.004,
    "step": 3,
}


def test_our_row_gains_what_follows_from_it() -> None:
    row = own_row(OWN)
    assert row.step == 7
    assert row.values["completions"] == 24
    assert row.values["failed"] == 0.25
    assert "seconds" not in row.values
    assert row.odd == frozenset()


def test_what_was_not_measured_is_not_zero() -> None:
    row = own_row({"step": 1, "reward": 0.5})
    assert dict(row.values) == {"reward": 0.5}


def test_an_evaluation_is_told_apart() -> None:
    row = own_row({"step": 50, "accuracy": 0.4, "items": 200})
    assert row.is_evaluation
    assert row.values["held_out"] == 0.4
    assert not own_row(OWN).is_evaluation


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_no_number_is_told_apart_from_no_value(value: float | None) -> None:
    row = trl_row({"step": 1, "reward": value})
    assert "reward" not in row.values
    assert "reward" in row.odd


@pytest.mark.parametrize("row", [{}, {"step": None}, {"step": "3"}, {"step": True}, {"step": 1.5}])
def test_a_row_needs_a_step(row: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="step"):
        own_row(row)
    with pytest.raises(ValueError, match="step"):
        trl_row(row)


def test_trls_names_become_ours() -> None:
    values = trl_row(TRL).values
    assert values["truncated"] == 0.75
    assert values["dead_groups"] == 0.25
    assert values["length/mean"] == 10.5
    assert (values["clip_low"], values["clip_high"]) == (0.01, 0.02)
    assert values["sampler_gap"] == 0.004
    assert values["rewards/number/mean"] == 0.0
    assert "completions" not in values


def test_trls_evaluation_becomes_held_out() -> None:
    row = trl_row(
        {"step": 9, "eval_reward": 0.6, "eval_loss": 0.1, "eval_rewards/number/mean": 0.5}
    )
    assert row.is_evaluation
    assert dict(row.values) == {"held_out/reward": 0.6}


def test_the_names_are_those_that_trl_writes() -> None:
    """The installed TRL's own source; learning_rate is written by transformers' trainer."""
    spec = importlib.util.find_spec("trl")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "trainer/grpo_trainer.py"
    source = path.read_text("utf-8")
    wanted = {*TRL_NAMES, "entropy", "kl", "reward", "reward_std"} - {"learning_rate"}
    assert [name for name in wanted if f'["{name}"]' not in source] == []
