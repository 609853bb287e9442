"""The model that is made on the spot: it half knows how to add, and is the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from grpokit.api import Sampling
from grpokit_hf.catalogue import tiny
from grpokit_hf.preflight import preflight


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bring(tmp_path_factory.mktemp("tiny-sums"))


def test_it_is_an_ordinary_model(folder: Path, make_recipe):
    from grpokit_hf.hooks import grpokit_models

    [spec] = [spec for spec in grpokit_models() if spec.name == "tiny-sums"]
    found = preflight(make_recipe(folder, model={"id": str(folder), "lora": None}))
    assert found.problems == ()
    assert found.notes == ()
    assert found.dimensions["parameters"] == spec.parameters
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size == pytest.approx(spec.size, rel=0.1)
    assert found.render is not None
    assert found.render([{"role": "user", "content": "3 + 4"}]) == "<|start|>3 + 4<|end|><|answer|>"


def test_it_adds_some_of_the_time(folder: Path, make_recipe, open_backend, make_prompts):
    model = {"id": str(folder), "lora": None, "dtype": "float32"}
    backend = open_backend(make_recipe(folder, model=model))
    pairs = [(a, b) for a in range(1, 100, 7) for b in range(2, 100, 9)]
    rollout = backend.generate(
        make_prompts(*(f"{a} + {b}" for a, b in pairs)),
        Sampling(group=1, max_tokens=4, temperature=0.0),
    )
    answers = [group[0] for group in rollout.completions]
    right = sum(each.text == str(a + b) for each, (a, b) in zip(answers, pairs, strict=True)) / len(
        pairs
    )
    assert 0.15 < right < 0.6
    ended = sum(each.finish == "stop" for each in answers) / len(pairs)
    assert ended > 0.9
    assert all(each.text.isdigit() for each in answers)


def test_it_is_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(tiny, "MOST_STEPS", 20)
    random = torch.random.get_rng_state()
    threads = torch.get_num_threads()
    weights = [
        (tiny.bring(tmp_path / name) / "model.safetensors").read_bytes() for name in ("one", "two")
    ]
    assert weights[0] == weights[1]
    assert torch.equal(torch.random.get_rng_state(), random)
    assert torch.get_num_threads() == threads


def test_the_other_lesson_shows_its_steps():
    from grpokit_hf.hooks import grpokit_models

    assert tiny.STEPS.answer(352, 685) == "2+5+0=7, 5+8+0=13, 3+6+1=10 #### 1037"
    assert tiny.STEPS.answer(7, 999) == "7+9+0=16, 0+9+1=10, 0+9+1=10 #### 1006"
    assert tiny.STEPS.answer(0, 0) == "0+0+0=0, 0+0+0=0, 0+0+0=0 #### 0"
    assert {spec.name for spec in grpokit_models()} >= {tiny.SUMS.name, tiny.STEPS.name}
    tokens_NT, labels_NT = tiny.rows([(352, 685), (7, 999)], tiny.STEPS)
    assert tokens_NT.shape == labels_NT.shape
    learnt = labels_NT[0][labels_NT[0] >= 0].tolist()
    assert learnt == [*tiny.ids(tiny.STEPS.answer(352, 685)), tiny.END]
