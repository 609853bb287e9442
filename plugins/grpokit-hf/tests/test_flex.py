"""Packed rows by flex attention: the same as the packed attention of CPUs, and the block mask that it reads."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import flex_attention as torch_flex

from grpokit.api import PreflightError, Sampling
from grpokit_hf import kernels
from grpokit_hf.config import HfConfig
from grpokit_hf.kernels import pick_kernel, settle
from grpokit_hf.nn import flex_check
from grpokit_hf.nn.batch import Row
from grpokit_hf.nn.flex import BLOCK, FlexLayout, block_mask, spread, who_sees
from grpokit_hf.nn.pack import Pack
from grpokit_hf.nn.packed_attention import Layout
from grpokit_hf.preflight import preflight, shares_prefix
from updates import assert_close, gradients

CPU = torch.device("cpu")


def rows_of(*groups: tuple[list[int], list[int]], apart: bool = True) -> list[Row]:
    """(a prompt's ids, lengths of its completions), ...; these begin alike unless they are ``apart``."""
    return [
        Row(
            index=0,
            prompt=number,
            prompt_ids=tuple(prompt),
            tokens=(place if apart else 0,) * length,
            advantage=1.0,
            weight=1.0,
            truncated=False,
            sampler_logprobs=None,
        )
        for number, (prompt, lengths) in enumerate(groups)
        for place, length in enumerate(lengths)
    ]


def drawn_rows(seed: int, *, apart: bool | None = None) -> list[Row]:
    """Groups of unequal lengths; every second time the prompts have a common beginning, and so have,
    unless it is said, every other time the completions.
    """
    draw = random.Random(seed)
    stem = [7] * draw.randint(70, 200) if seed % 2 else []
    groups = []
    for number in range(draw.randint(1, 4)):
        prompt = [*stem, 10 + number, *[1] * draw.randint(0, 150)]
        groups.append((prompt, [draw.randint(1, 90) for _ in range(draw.randint(1, 5))]))
    return rows_of(*groups, apart=draw.random() < 0.5 if apart is None else apart)


def truth(pack: Pack) -> Tensor:
    """Who sees whom, written out from the rows of the pack, token by token."""
    end = len(pack.ids_L)
    seen_LL = torch.zeros(end, end, dtype=torch.bool)
    for block in pack.blocks:
        for p, rows in enumerate(block.own_PRT.tolist()):
            for row in rows:
                own = [place for place in row if place != end]
                before = [] if block.prefix_PK is None else block.prefix_PK[p].tolist()
                for count, place in enumerate(own, 1):
                    seen_LL[place, own[:count]] = True
                    seen_LL[place, [each for each in before if each != end]] = True
    return seen_LL


@pytest.mark.parametrize("seed", range(8))
def test_the_block_mask_says_who_sees_whom(seed: int):
    pack = Pack.of(drawn_rows(seed), CPU)
    layout = FlexLayout(pack)
    length, end = len(layout.pack.ids_L), len(pack.ids_L)
    seen_LL = spread(layout.mask)
    assert length % BLOCK == 0
    assert length >= 2 * BLOCK
    assert seen_LL.shape == (length, length)
    assert torch.equal(seen_LL[:end, :end], truth(pack))
    assert not seen_LL[:end, end:].any()  # nobody sees the padding,
    assert not seen_LL[end:, :end].any()  # which sees only itself:
    assert seen_LL.diagonal().all()  # no softmax is empty


def test_the_blocks_are_those_that_torch_would_find():
    pack = Pack.of(drawn_rows(3, apart=True), CPU)
    layout = FlexLayout(pack)
    length = len(layout.pack.ids_L)
    sees = who_sees(pack, length)
    ours = block_mask(sees, layout.pack.ids_L)
    theirs = torch_flex.create_block_mask(sees, None, None, length, length, device="cpu")
    names = ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks")
    for name in names:
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    assert torch.equal(spread(ours), spread(theirs))
    assert int(ours.full_kv_num_blocks.sum()) > 0
    assert int((ours.kv_num_blocks + ours.full_kv_num_blocks).sum()) <= (length // BLOCK) ** 2 / 2


def leaves(length: int, heads: int = 6, shared: int = 2, width: int = 16) -> list[Tensor]:
    generator = torch.Generator().manual_seed(length)
    shapes = [(1, count, length, width) for count in (heads, shared, shared)]
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def attended(layout: Any, qkv: list[Tensor], upto: int, scale: float | None) -> list[Tensor]:
    """Result and gradients of the first ``upto`` tokens."""
    inputs = [x[:, :, : len(layout.pack.ids_L)] for x in qkv]
    out = layout.attend(nn.Identity(), *inputs, scale)[:, :upto]
    generator = torch.Generator().manual_seed(1)
    grads = torch.autograd.grad(out, qkv, torch.randn(out.shape, generator=generator))
    return [out.detach(), *(grad[:, :, :upto] for grad in grads)]


@pytest.mark.parametrize("seed", range(6))
def test_result_and_gradients_are_those_of_packed_attention(seed: int):
    pack = Pack.of(drawn_rows(seed), CPU)
    flex, packed = FlexLayout(pack), Layout(pack)
    qkv = leaves(len(flex.pack.ids_L))
    scale = None if seed % 2 else 0.3
    end = len(pack.ids_L)
    pairs = zip(attended(flex, qkv, end, scale), attended(packed, qkv, end, scale), strict=True)
    assert all(flex_check.relative(a, b) < 1e-5 for a, b in pairs)
    assert flex.used == packed.used == 1


def test_torchs_own_flex_attention_agrees(monkeypatch):
    """Its function for debugging, as compilers would trace it; its gradients refuse a CPU by name alone."""
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *_: None)
    monkeypatch.setattr(torch_flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)
    layout = FlexLayout(Pack.of(flex_check.sample_rows(), CPU))
    qkv = leaves(len(layout.pack.ids_L))
    wanted = attended(layout, qkv, 300, 0.3)
    out = torch_flex.flex_attention(*qkv, block_mask=layout.mask, scale=0.3, enable_gqa=True)
    out = out.transpose(1, 2)[:, :300]
    generator = torch.Generator().manual_seed(1)
    grads = torch.autograd.grad(out, qkv, torch.randn(out.shape, generator=generator))
    found = [out.detach(), *(grad[:, :, :300] for grad in grads)]
    assert all(flex_check.relative(a, b) < 1e-5 for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("grad", [False, True])
def test_two_graphs_serve_all_lengths_and_leave_the_scale_closed(monkeypatch, grad: bool):
    """What torch captures for the compiler; the compiler itself needs a GPU."""
    monkeypatch.setattr(torch_flex, "_validate_device", lambda *_: None)
    torch.compiler.reset()  # it remembers which lengths have varied
    graphs: list[torch.fx.GraphModule] = []

    def take(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    traced = torch.compile(torch_flex.flex_attention, fullgraph=True, backend=take)
    with torch.set_grad_enabled(grad):
        for lengths in ([40], [200, 80], [90] * 6, [5], [120] * 8):
            layout = FlexLayout(Pack.of(rows_of(([1, 2, 3], lengths)), CPU))
            qkv = leaves(len(layout.pack.ids_L))
            traced(*qkv, block_mask=layout.mask, scale=0.25, enable_gqa=True)
    calls = [n for g in graphs for n in g.graph.nodes if n.op == "call_function"]
    calls = [call for call in calls if "flex_attention" in str(call.target)]
    assert len(graphs) == len(calls) == 2
    for call in calls:
        assert call.args[5] == 0.25
        assert call.args[4][-3:-1] == (BLOCK, BLOCK)


FLEX = {"with": {"threads": 1, "device": "cpu", "attention": "flex"}}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0}])
def test_an_update_has_the_gradients_of_the_other_kernel(
    make_recipe, open_backend, take, lora, checkpointing: bool
):
    model = {"lora": lora, "gradient_checkpointing": checkpointing, "dtype": "float32"}
    flex = open_backend(make_recipe(model=model, backend=FLEX))
    other = open_backend(make_recipe(model=model))
    assert flex.policy.forward().layouts is FlexLayout
    assert other.policy.kernel == "float32"
    for backend in (flex, other):
        with torch.no_grad():
            for name, weight in backend.policy.weights.items():
                if "lora_B" in name:
                    weight.fill_(0.05)
    rollout = take(other)
    assert_close(gradients(flex, rollout), gradients(other, rollout))


def test_autocast_has_one_type_inside(make_recipe, open_backend, take):
    model = {"lora": None, "dtype": "bfloat16"}
    flex = open_backend(make_recipe(model=model, backend=FLEX))
    other = open_backend(make_recipe(model=model))
    rollout = take(other)
    a, b = gradients(flex, rollout), gradients(other, rollout)
    whole = [torch.cat([x.flatten() for x in found.values()]) for found in (a, b)]
    assert flex_check.relative(*whole) < 0.05


def test_what_has_no_layout_is_sdpas(make_recipe, open_backend, make_prompts):
    sampling = Sampling(group=3, max_tokens=12, seed=5)
    settings = {**FLEX["with"], "attention": "sdpa"}
    flex = open_backend(make_recipe(backend=FLEX))
    sdpa = open_backend(make_recipe(backend={"with": settings}))
    drawn = [backend.generate(make_prompts(), sampling).completions for backend in (flex, sdpa)]
    assert drawn[0] == drawn[1]  # to the last bit of every log-prob
    assert flex.identity["attention"] == sdpa.identity["attention"] == "sdpa"


def test_flex_without_packing_computes_whole_rows(make_recipe, open_backend, take):
    settings = {**FLEX["with"], "packing": False}
    flex = open_backend(make_recipe(backend={"with": settings}))
    assert not flex.policy.forward().shared
    rollout = take(flex)
    assert_close(gradients(flex, rollout), gradients(open_backend(make_recipe()), rollout))


@pytest.mark.parametrize(
    ("wanted", "device", "train", "sharded", "there", "kernel"),
    [
        ("auto", "cpu", True, False, True, "float32"),
        ("auto", "cuda", True, False, True, "flex"),
        ("auto", "cuda", True, False, False, "sdpa"),
        ("auto", "cuda", False, False, True, "sdpa"),
        ("auto", "cuda", True, True, True, "sdpa"),
        ("flex", "cuda", True, True, False, "flex"),
        ("sdpa", "cuda", True, False, True, "sdpa"),
        ("eager", "cpu", True, False, True, "eager"),
    ],
)
def test_which_kernel_is_taken(monkeypatch, wanted, device, train, sharded, there, kernel):
    monkeypatch.setattr(kernels, "compiles", lambda: there)
    assert pick_kernel(wanted, device, train=train, sharded=sharded) == kernel


class Shape:
    num_attention_heads, num_key_value_heads, hidden_size = 4, 2, 64

    def get_text_config(self) -> Shape:
        return self


def test_a_gpu_where_it_fails_gets_sdpa_or_a_remedy(monkeypatch, caplog):
    """The trial runs before anything depends on it; `meta` stands for a GPU that computes nothing."""
    meta = torch.device("meta")
    assert settle("auto", Shape(), torch.float32, meta) == "sdpa"
    assert "flex attention does not work on this GPU" in caplog.text
    with pytest.raises(PreflightError, match="does not work on this GPU") as error:
        settle("flex", Shape(), torch.float32, meta)
    assert error.value.remedy == "set backend.with.attention: sdpa"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_trial_passes_what_is_right_and_names_what_is_not(monkeypatch, dtype):
    before = torch.get_rng_state()
    assert flex_check.difference(6, 2, 16, dtype, CPU) is None
    assert torch.equal(before, torch.get_rng_state())
    right = FlexLayout.attend

    def wrong(self: FlexLayout, module: Any, q: Tensor, k: Tensor, v: Tensor, s: float) -> Tensor:
        return right(self, module, q, k.detach() + 0.1 * (k - k.detach()), v, s)

    monkeypatch.setattr(FlexLayout, "attend", wrong)
    fact = flex_check.difference(6, 2, 16, dtype, CPU)
    assert fact is not None
    assert fact.startswith("the gradient of keys differs by 0.9")


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ({}, {"gradient_checkpointing": True}),
        ({}, {"lora": None, "dtype": "bfloat16"}),
        ({"attention": "flex"}, {}),
        ({"attention": "sdpa"}, {}),
        ({"packing": False}, {}),
    ],
)
def test_the_plan_knows_where_a_prompt_is_computed_once(make_recipe, open_backend, settings, model):
    recipe = make_recipe(model=model, backend={"with": {"threads": 1, "device": "cpu", **settings}})
    backend = open_backend(recipe)
    assert preflight(recipe).shared_prefix is backend.policy.forward().shared


def test_the_plan_knows_it_of_gpus(monkeypatch, make_recipe):
    def told(**settings: Any) -> bool:
        config = HfConfig.model_validate(settings)
        recipe = make_recipe(train={"processes": 2})
        return shares_prefix(recipe, config, {"num_hidden_layers": 2}, on_cpu=False)

    monkeypatch.setattr(kernels, "compiles", lambda: True)
    assert told()
    assert not told(parallel="fsdp")
    monkeypatch.setattr(kernels, "compiles", lambda: False)
    assert not told()
