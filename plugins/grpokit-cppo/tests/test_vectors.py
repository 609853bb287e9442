"""Every published vector of advantages, kept sets, scopes and losses (made with the authors' formulas)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from grpokit_cppo.algorithm import build
from grpokit_cppo.config import CppoConfig

FILE = Path(__file__).parents[4] / "shared" / "vectors" / "cppo.json"
DATA: dict[str, Any] = json.loads(FILE.read_text("utf-8")) if FILE.is_file() else {}
GROUPS = [*DATA.get("vectors", ()), *DATA.get("extra_vectors", ())]
CASES = [(vector, rate) for vector in GROUPS for rate in vector["per_P"]]
BATCHES = DATA.get("batch_vectors", [])

pytestmark = pytest.mark.skipif(not DATA, reason="../shared/vectors/cppo.json is not there")


def name(value: Any) -> str:
    return value["id"] if isinstance(value, dict) else str(value)


def whole(vector: dict[str, Any], rate: str) -> bool:
    exact = vector["G"] * (1 - float(rate))
    return exact >= 1 and abs(exact - round(exact)) < 1e-6


def quota(vector: dict[str, Any], rate: str) -> dict[str, Any]:
    """The rate where it leaves a whole number; the authors' rounded count where it does not."""
    count = vector["per_P"][rate]["n_keep"]
    return {"rate": float(rate)} if whole(vector, rate) else {"keep": count}


def test_nothing_is_missing():
    assert len(GROUPS) == 12
    assert len(CASES) == 36
    assert len(BATCHES) == 3
    assert len(DATA["loss_vectors"]) == 1
    assert sum(whole(*case) for case in CASES) >= 18
    assert sum(not whole(*case) for case in CASES) >= 6


@pytest.mark.parametrize("vector", GROUPS, ids=name)
def test_advantages(advantages_of, vector):
    found = advantages_of([vector["rewards"]], std_eps=vector["eps"], std_ddof=vector["std_ddof"])
    expected = torch.tensor([vector["advantages_float64"]])
    torch.testing.assert_close(found.advantages_PG, expected, atol=1e-5, rtol=0)
    in_float32 = torch.tensor([vector["advantages_float32"]])
    torch.testing.assert_close(found.advantages_PG, in_float32, atol=1e-5, rtol=0)
    verl = advantages_of([vector["rewards"]], std_eps=1e-6)
    expected = torch.tensor([vector["advantages_verl_eps1e6_float64"]])
    torch.testing.assert_close(verl.advantages_PG, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("vector", "rate"), CASES, ids=name)
@pytest.mark.parametrize("ties", ["index", "random"])
def test_kept_set(kept, vector, rate, ties):
    case = vector["per_P"][rate]
    for seed in range(1 if ties == "index" else 8):
        found = kept([vector["rewards"]], ties=ties, seed=seed, **quota(vector, rate))
        assert len(found) == case["n_keep"]
        assert found == sorted(found)
        if not case["fragile"]:
            assert set(case["must_keep"]) <= set(found)
            rest = set(found) - set(case["must_keep"])
            assert rest <= set(case["tied_at_boundary"])
            assert len(rest) == case["n_taken_from_tied"]


def test_the_fragile_case_is_a_tie_that_rounding_broke(kept):
    (vector,) = (vector for vector in GROUPS if vector["id"] == "v08")
    assert vector["per_P"]["0.75"]["fragile"]
    assert kept([vector["rewards"]], rate=0.75) == [0, 1, 11]
    drawn = {tuple(kept([vector["rewards"]], rate=0.75, ties="random", seed=s)) for s in range(20)}
    assert drawn == {(0, 1, 11), (0, 10, 11)}


@pytest.mark.parametrize(("vector", "rate"), CASES, ids=name)
def test_kept_set_of_the_stable_rule(kept, vector, rate):
    case = vector["per_P"][rate]
    if not case["fragile"]:
        assert kept([vector["rewards"]], **quota(vector, rate)) == case["kept_canonical"]


METRICS = {
    "max(prune largest |A|)": "largest",
    "min*(prune lowest raw A)": "smallest-raw",
    "max*(prune highest raw A)": "largest-raw",
}


@pytest.mark.parametrize(("vector", "rate"), CASES, ids=name)
@pytest.mark.parametrize("words", METRICS)
def test_other_metrics(kept, vector, rate, words):
    expected = vector["per_P"][rate]["variants_canonical"][words]
    assert kept([vector["rewards"]], metric=METRICS[words], **quota(vector, rate)) == expected


@pytest.mark.parametrize("batch", BATCHES, ids=name)
def test_scopes(kept, advantages_of, batch):
    rewards, rate = batch["rewards"], batch["P"]
    flat = advantages_of(rewards).advantages_PG.flatten()
    expected = torch.tensor(batch["advantages_float32"])
    torch.testing.assert_close(flat, expected, atol=1e-5, rtol=0)

    question = batch["per_question"]
    assert kept(rewards, rate=rate) == question["kept_rows"]
    whole_step = batch["global_batch"]
    found = kept(rewards, rate=rate, scope="global")
    assert found == whole_step["kept_rows_canonical"]
    assert per_group(found, rewards) == whole_step["kept_per_group"]

    # A device is a process, which sees its own questions only.
    share = len(rewards) // batch["n_devices"]
    local = []
    for start in range(0, len(rewards), share):
        rows = kept(rewards[start : start + share], rate=rate, scope="device")
        local += [start * batch["G"] + row for row in rows]
    device = batch["device_local"]
    assert local == device["kept_rows_canonical"]
    assert per_group(local, rewards) == device["kept_per_group"]
    assert (found == local) == (batch["n_devices"] == 1)
    for rows, where in ((question["kept_rows"], "per_question"), (found, "global")):
        assert int((flat[rows] == 0).sum()) == batch["zero_advantage_kept"][where]


def per_group(rows, rewards):
    group = len(rewards[0])
    return [sum(row // group == p for row in rows) for p in range(len(rewards))]


LOSSES = {
    "loss_token_mean_openr1": ({"aggregation": "token-mean"}, 2),
    "loss_seq_mean_1_over_k_paper": ({"aggregation": "sequence-mean"}, 2),
    "loss_1_over_G": ({"aggregation": "sequence-mean", "normalise": "group"}, 4),
}


def loss_of(inputs_of, rows: int, **settings: Any) -> float:
    case = DATA["loss_vectors"][0]
    inputs = inputs_of(
        case["logp"], case["old_logp"], case["ref_logp"], case["mask"], case["advantages"], rows
    )
    return build(CppoConfig(**settings)).loss(inputs).loss.item()


@pytest.mark.parametrize("key", LOSSES)
def test_loss(inputs_of, select, key):
    settings, rows = LOSSES[key]
    # k = 2 of G = 4: the denominator that the algorithm really gives with these settings.
    assert select([[0.0, 1.0, 2.0, 3.0]], **settings).denominator == rows
    expected = DATA["loss_vectors"][0][key]
    assert loss_of(inputs_of, rows, **settings) == pytest.approx(expected, abs=1e-9)


def test_loss_of_the_verl_version(inputs_of):
    """Its objective is a token mean, its divergence a sequence mean; ours in two halves."""
    objective = loss_of(inputs_of, 2, beta=0.0)
    both = loss_of(inputs_of, 2, aggregation="sequence-mean")
    divergence = both - loss_of(inputs_of, 2, aggregation="sequence-mean", beta=0.0)
    words = DATA["loss_vectors"][0]["loss_verl_fork_single_microbatch"]
    assert objective + divergence == pytest.approx(float(words.rpartition("= ")[2]), abs=1e-9)
