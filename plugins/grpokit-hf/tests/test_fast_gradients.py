"""Every fast path of the update against the textbook's: same gradients at every step, same weights.

The reference (``plain_updates``) shares no computation with the backend: another model object, float64,
padded rows, all logits. What float32 leaves is 1e-6 to 1e-5 of a parameter's gradient.

bfloat16 leaves more: about 2% of a gradient of these models; of SmolLM2's, 6% with an adapter and 3% in
full fine-tuning (padded rows: 5% and 4%). torch's own attention leaves as much. All of it is rounding,
2^-9 at every product: with float16, which rounds 8 times finer, the same code leaves an eighth. Packing
adds nothing to it because its attention is float32 also under autocast. If autocast reached inside,
packed rows would be up to 1.7 times as far off as padded ones: scores would be rounded in the forward
alone, and the backward, which computes them again, would use weights that do not sum to 1.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from grpokit.algorithms import logprobs
from grpokit.registry.catalog import Catalog
from grpokit_hf.native import library
from grpokit_hf.nn import amx, pack, packed_attention, pointwise, products, tree
from grpokit_hf.nn.amx import TileLinear, amx_works
from update_pairs import KINDS, Case, Pair, distance, error

SEEDS = range(int(os.environ.get("GRPOKIT_FUZZ", "2")))
"""More rollouts a case: ``GRPOKIT_FUZZ=50 pytest plugins/grpokit-hf/tests/test_fast_gradients.py``."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models take the paths of large ones: oneDNN, a head in blocks, cuts, products one by one."""
    monkeypatch.setattr(logprobs, "BLOCK", 37)
    monkeypatch.setattr(products, "SMALL", 1)
    monkeypatch.setattr(amx, "SMALL", 1)
    monkeypatch.setattr(pack, "SMALL", 200)
    monkeypatch.setattr(tree, "WORTH", 4)
    monkeypatch.setattr(tree, "BRANCH", 3)
    monkeypatch.setattr(pack, "SCORES", 2000)
    monkeypatch.setattr(packed_attention, "LOOP", 1000)
    monkeypatch.setattr(packed_attention, "LONG", 16)


FAR = {"bf16x3": 1e-3}
"""Relative distance of gradients, by the way they are computed; else 1e-4. Most found in 12 rollouts: 3.6e-4."""


def check(pair: Pair, seed: int, far: float = 1e-4, **shape: Any) -> None:
    """The backend's update is the textbook's."""
    drawn = pair.draw(seed, **shape)
    ours, moved = pair.fast(drawn)
    theirs, wanted = pair.plain(drawn)
    assert len(ours) == len(theirs) > 0
    gaps = [distance(a, b) for a, b in zip(ours, theirs, strict=True)]
    assert max(gaps) < far, gaps
    for name, value in wanted.items():
        rounding = 2.0**-23 * pair.start[name].norm() * len(ours)
        assert (moved[name] - value).norm() <= far * value.norm() + rounding, name


KL = {"beta": 0.04}
CASES = [
    Case(kind="llama"),
    Case(kind="llama", lora=False, checkpointing=True, micro_tokens=60, temperature=0.7),
    Case(kind="qwen2", options=KL, iterations=2, minibatches=2, checkpointing=True),
    Case(kind="qwen2", options=KL, lora=False, iterations=2, temperature=0.7, micro_tokens=120),
    Case(kind="qwen3", parts={"select": "drop-zero"}, micro_tokens=90, temperature=0.7),
    Case(kind="mistral", algorithm="gfpo", options={"keep": 2}, lora=False, minibatches=2),
    Case(
        kind="smollm3", algorithm="cppo", options={"rate": 0.5, **KL}, iterations=2, temperature=1.3
    ),
    Case(kind="olmo2", algorithm="cppo", options={"rate": 0.75}, lora=False, temperature=0.7),
    Case(kind="phi3", options={"entropy_coef": 0.01}, micro_tokens=1),
    Case(kind="phi3", algorithm="cppo", options={"rate": 0.5, **KL}, iterations=2, minibatches=2),
]


WIDE = {"hidden_size": 128, "intermediate_size": 96, "initializer_range": 0.1}
"""Heads of 32 numbers, which the C code takes as a whole: attention, norms, rotation and SwiGLU."""


NATIVE = pytest.param(
    "native", marks=pytest.mark.skipif(library() is None, reason="there is no C compiler")
)


TILES = [
    pytest.param(name, marks=pytest.mark.skipif(not amx_works(), reason="there are no AMX tiles"))
    for name in ("amx", "bf16x3")
]


@pytest.mark.parametrize("scores", ["blocks", "tiles", NATIVE, *TILES])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_update_is_the_textbooks(case: Case, scores: str, folders, open_backend, monkeypatch):
    native = scores not in ("blocks", "tiles")
    way: dict[str, Any] = {"native": True} if native else {"native": False, "scores": scores}
    if scores in ("amx", "bf16x3"):
        way["products"] = scores
    case = replace(case, settings={**case.settings, **way})
    shape = {**WIDE, "head_dim": 32} if case.kind == "qwen3" else WIDE
    calls: set[str] = set()
    real = pointwise.call
    monkeypatch.setattr(pointwise, "call", lambda name, *rest: calls.add(name) or real(name, *rest))
    pair = Pair(case, folders(case.kind, **(shape if native else {})), open_backend)
    assert native or pair.backend.policy.tiles == (scores == "tiles")
    forward = pair.backend.policy.forward()
    assert forward.shared
    if "products" in way:
        assert forward.linear == TileLinear({"amx": 3, "bf16x3": 2}[scores])
    else:
        assert forward.linear is products.onednn_linear or not products.onednn_works()
    for seed in SEEDS:
        drawn = {"prompts": 3 - seed % 3, "group": (4, 8)[seed % 2], "alike": (5 * seed) % 17}
        check(pair, seed, FAR.get(scores, 1e-4), **drawn, branching=(0.0, 0.8, 0.4)[seed % 3])
    known = case.kind in ("llama", "qwen2", "qwen3", "mistral")
    every = {"norm", "norm_back", "gate", "gate_back", "rotate"}
    assert calls == (every if native and known else set())


def test_all_kinds_are_tested():
    assert {case.kind for case in CASES} == set(KINDS)


SELECTS = [
    e.id for e in Catalog.load().entries("algorithm") if getattr(e.spec, "axis", "") == "select"
]


@pytest.mark.parametrize("select", SELECTS)
def test_every_selection(select: str, folders, open_backend):
    pair = Pair(Case(kind="llama", parts={"select": select}), folders("llama"), open_backend)
    check(pair, 0, prompts=2, group=8)


OFF = {
    "packing": False,
    "tree": False,
    "skip": False,
    "products": "torch",
    "attention": "eager",
    "native": False,
}
SWITCHES = [{name: value} for name, value in OFF.items()]
OTHERS = [{"attention": "sdpa"}, {"attention": "flex"}]


@pytest.mark.parametrize(
    ("settings", "lora"),
    [
        *((settings, True) for settings in [*SWITCHES, *OTHERS]),
        (OFF, False),
    ],
    ids=str,
)
def test_each_switch_turned_off_changes_no_gradient(settings, lora: bool, folders, open_backend):
    case = Case(
        kind="qwen2",
        algorithm="gfpo",
        options={"keep": 2},
        lora=lora,
        minibatches=2,
        micro_tokens=150,
        settings=settings,
    )
    pair = Pair(case, folders("qwen2"), open_backend)
    check(pair, 0, branching=0.5)


@pytest.mark.parametrize("skip", [True, False])
def test_minibatches_without_a_signal_take_no_step(skip: bool, folders, open_backend):
    case = Case(kind="llama", minibatches=4, settings={"skip": skip})
    pair = Pair(case, folders("llama"), open_backend)
    drawn = pair.draw(3, prompts=1, totals=[[0.0, 1.0, 2.0, 1.0]])
    assert [weight != 0 for weight in drawn.selection.weights] == [True, False, True, False]
    assert len(pair.fast(drawn)[0]) == 2
    check(pair, 3, prompts=1, totals=[[0.0, 1.0, 2.0, 1.0]])


@pytest.mark.parametrize("lora", [True, False])
def test_bfloat16_is_off_by_its_rounding_alone(lora: bool, folders, open_backend):
    exact: dict[int, dict[str, Tensor]] = {}

    def gap(low: torch.dtype, *, packing: bool) -> float:
        case = Case(kind="llama", lora=lora, dtype="bfloat16", settings={"packing": packing})
        pair = Pair(case, folders("llama"), open_backend)
        pair.compute_in(low)
        found = []
        for seed in range(3):
            drawn = pair.draw(seed, prompts=2, group=8, longest_prompt=100)
            if seed not in exact:
                exact[seed] = pair.plain(drawn)[0][0]
            found.append(error(pair.fast(drawn)[0][0], exact[seed]))
        return sum(found) / len(found)

    packed, padded = gap(torch.bfloat16, packing=True), gap(torch.bfloat16, packing=False)
    finer = gap(torch.float16, packing=True)
    assert packed < 0.04
    assert packed < 1.25 * padded
    assert finer < 5e-3
    assert packed / 11 < finer < packed / 5.5
