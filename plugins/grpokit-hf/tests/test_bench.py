"""The contestants of `grpokit bench step`: equal work, equal gradients, a floor that adds up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from grpokit.bench.step.grid import Cell, Settings
from grpokit.bench.step.results import difference
from grpokit.bench.step.watch import Watch
from grpokit.bench.step.work import make_work
from grpokit.errors import PreflightError
from grpokit.spec.stepwork import StepWork
from grpokit_hf.bench import floor, run
from grpokit_hf.bench.prepare import SHAPES, prepare
from grpokit_hf.bench.weights import SAMPLES, fill_adapter, samples_of
from grpokit_hf.hooks import PLAIN
from grpokit_hf.locate import complete
from grpokit_hf.native import library
from grpokit_hf.nn import amx, packed_attention, packed_native
from grpokit_hf.nn.pack import Pack
from grpokit_hf.nn.packed_attention import Layout
from grpokit_hf.nn.products import Linear, torch_linear
from packed_pairs import CPU, row


def work_of(folder: Path, *, keep: float = 1.0, **settings: Any) -> StepWork:
    cell = Cell(dtype="float32", prompt=20, completion=6, group=4, keep=keep)
    chosen = Settings(
        model="", prompts=2, rank=4, rounds=1, threads=1, device="cpu", lengths="varied"
    )
    tokens = list(range(4, 90))
    work = make_work(cell, chosen, {"folder": str(folder), "tokens": tokens})
    return StepWork(**{**vars(work), "settings": settings})


def measured(work: StepWork) -> dict[str, Any]:
    watch = Watch()
    run(work, watch)
    return watch.result()


@pytest.mark.parametrize("keep", [1.0, 0.5])
def test_both_ways_take_the_same_step(tiny_model_folder: Path, keep: float) -> None:
    fast = measured(work_of(tiny_model_folder, keep=keep))
    plain = measured(work_of(tiny_model_folder, keep=keep, **dict(PLAIN)))
    assert difference(plain["gradients"], fast["gradients"]) < 1e-4
    assert plain["grad_norm"] > 1e-3
    assert all(any(values) for values in plain["gradients"].values()), "A and B have gradients"
    for found in (fast, plain):
        assert len(found["steps"]) == 2
        assert found["floor"] > 0
        stages = {"generate", "score", "forward", "backward", "optimizer", "other", "total"}
        assert set(found["steps"][0]) == stages
        assert found["steps"][1]["backward"] > 0
        assert found["further_stages"] == []


def test_torch_comes_after_the_threads_are_calmed() -> None:
    code = "import sys, grpokit_hf.bench; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_autograd_is_as_it_was(tiny_model_folder: Path) -> None:
    before = torch.autograd.backward, torch.autograd.grad
    measured(work_of(tiny_model_folder, floor=False))
    assert (torch.autograd.backward, torch.autograd.grad) == before


@pytest.mark.skipif(library() is None, reason="there is no C compiler")
def test_the_floor_has_the_products_of_c_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of each item of a forward, five of a backward, as large as what a row sees."""
    seen: list[floor.Call] = []
    monkeypatch.setattr(floor, "alone", lambda call: seen.append(call) or 1.0)
    rows = [row(n, 0, [5] * 10, [6 + n] * 4) for n in range(3)]
    made = Pack.of(rows, CPU, tree=False)
    query, key, value = (torch.randn(len(made.ids_L), n, 16, requires_grad=True) for n in (2, 1, 1))

    def update() -> None:
        layout = Layout(made, native=True)
        packed_attention.packed_attention(query, key, value, layout, 0.25).sum().backward()

    assert floor.floor_of(update) == len(seen)
    shapes = {tuple(x.shape[1:] for x in call.args): call.args[0].shape[0] for call in seen}
    lanes = 2 * 10
    assert shapes[(lanes, 16), (16, 10)] == 3  # both heads of the prompt at once
    assert sum(shapes.values()) == 4 * 7  # the prompt and three rows


@pytest.mark.skipif(not amx.amx_works(), reason="no AMX tiles, or no C compiler")
@pytest.mark.parametrize("linear", [torch_linear, amx.TileLinear()])
def test_products_of_attention_count_as_they_are_computed(linear: Linear) -> None:
    """Those of float32 in tiles are told as such, and computed alone by tiles."""
    made = Pack.of([row(0, 0, [5] * 10, [6] * 4)], CPU, tree=False)
    query, key = torch.randn(len(made.ids_L), 2, 32), torch.randn(len(made.ids_L), 1, 32)
    layout = Layout(made, linear, native=True)
    told: list[packed_native.Told] = []
    with packed_native.watched(told.extend):
        packed_attention.packed_attention(query, key, key, layout, 0.25)
    assert len(told) == 2 * 2  # of the prompt, and of the row
    assert {each[1:] for each in told} == {(torch.float32, linear is not torch_linear)}
    (call,) = floor.dense(*told[0], 7)
    by = torch.bmm if linear is torch_linear else linear
    assert (call.func, call.count) == (by, 1)
    assert call.func(*call.args).numel() == 7 * told[0][0][0] * told[0][0][2]


def test_many_equal_products_are_computed_together() -> None:
    calls = floor.dense((3, 4, 5), torch.bfloat16, False, 2 * floor.BATCH + 7)
    assert [(call.count, tuple(call.args[0].shape)) for call in calls] == [
        (2, (floor.BATCH, 3, 4)),
        (1, (7, 3, 4)),
    ]
    assert {x.dtype for call in calls for x in call.args} == {torch.bfloat16}
    assert (
        sum(call.count for call in floor.dense((3, 4, 5), torch.float32, False, floor.BATCH)) == 1
    )


@pytest.mark.skipif(not amx.amx_works(), reason="no AMX tiles, or no C compiler")
def test_the_floor_has_the_products_of_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """By who multiplied them, those that another did by themselves."""
    seen: list[floor.Call] = []
    monkeypatch.setattr(floor, "alone", lambda call: seen.append(call) or 1.0)
    x, weight, low = torch.randn(64, 80), torch.randn(96, 80), torch.randn(64, 4)
    two, three = amx.TileLinear(2), amx.TileLinear(3)

    def products() -> None:
        for linear in (two, three, three):
            linear(x, weight)
        three.adapted(x, weight, None, torch.randn(4, 80), torch.randn(96, 4))
        three.crossed(low.bfloat16(), x.bfloat16())
        three(x[:3], weight)

    assert floor.floor_of(products) == 6.0
    counts = {
        (call.func, call.args[0]): call.count for call in seen if call.args[0] in (two, three)
    }
    assert counts == {
        (amx.TileLinear.__call__, two): 1,
        (amx.TileLinear.__call__, three): 2,
        (amx.TileLinear.adapted, three): 1,
        (amx.TileLinear.crossed, three): 1,
    }


def test_the_floor_is_the_products_times_how_often(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[floor.Call] = []
    monkeypatch.setattr(floor, "alone", lambda call: seen.append(call) or 1.0)
    x, y, z = torch.randn(3, 4), torch.randn(4, 5, requires_grad=True), torch.randn(6, 4)

    def products() -> None:
        ((x @ y).sum() + (x @ y).sum() + (z @ y).sum()).backward()
        torch.bmm(torch.randn(2, 3, 4), torch.randn(2, 4, 5))
        torch.relu(x)

    # forward: x @ y twice, z @ y; backward: x' @ g twice and z' @ g, all of other shapes; bmm
    assert floor.floor_of(products) == 7.0
    assert sorted(call.count for call in seen) == [1, 1, 1, 2, 2]


def test_a_product_is_timed_alone() -> None:
    calls: list[Any] = []
    call = floor.Call(1, lambda *args, **named: calls.append((args, named)), (1,), {"out": 2})
    assert floor.alone(call) >= 0
    assert calls == [((1,), {"out": 2})] * (floor.REPEATS + 1)


def test_an_adapter_is_the_same_for_equal_names() -> None:
    def fresh() -> dict[str, torch.Tensor]:
        names = ("x.lora_A.w", "x.lora_B.w", "x.norm.w")
        return {name: torch.zeros(3, 40) for name in names}

    one, other = fresh(), dict(reversed(fresh().items()))
    fill_adapter(one, 3)
    fill_adapter(other, 3)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["x.lora_A.w"], one["x.lora_B.w"])
    assert not one["x.norm.w"].any()
    weight = torch.zeros(3, 40, requires_grad=True)
    weight.grad = torch.arange(120.0).view(3, 40)
    (found,) = samples_of({"w": weight, "frozen": torch.zeros(2)}).values()
    assert found[0] == pytest.approx(float(weight.grad.norm()))
    assert (found[1], found[-1], len(found)) == (0.0, 119.0, SAMPLES + 1)


def test_a_shape_is_made_once(tmp_path: Path) -> None:
    found = prepare("", "tiny", tmp_path)
    folder = Path(found["folder"])
    assert complete(folder)
    assert found["vocabulary"] == SHAPES["tiny"]["vocab_size"]
    assert max(found["tokens"]) < found["vocabulary"]
    assert len(found["tokens"]) > 500
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert prepare("", "tiny", tmp_path) == found
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_an_unknown_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"there is no shape 'qwen2\.5-0\.5'; did you mean"):
        prepare("", "qwen2.5-0.5", tmp_path)
