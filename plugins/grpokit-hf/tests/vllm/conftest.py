"""Real vLLM on tiny models. Where vLLM is not installed these tests say so and are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from grpokit.api import Prompt
from grpokit_hf.backend import HfBackend
from tiny_model import write_tiny_model
from until_runs import give_answers
from vllm_runs import opened, vllm_recipe, widen

HERE = Path(__file__).parent
NEEDS_VLLM = {
    "test_ahead.py",
    "test_answers.py",
    "test_engine.py",
    "test_evaluates.py",
    "test_reload.py",
    "test_server.py",
    "test_learns.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_spec("vllm") is not None:
        return
    skip = pytest.mark.skip(reason="vLLM is not installed; see docs/howto-vllm.md")
    for item in items:
        if item.path.parent == HERE and item.path.name in NEEDS_VLLM:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def wide_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama whose heads are 32 wide: vLLM's kernels for CPUs have no smaller ones."""
    return give_answers(write_tiny_model(tmp_path_factory.mktemp("wide"), hidden=128, spread=0.12))


@pytest.fixture(scope="session")
def wide_sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model ``tiny-sums`` with heads twice as wide and the same function."""
    from grpokit_hf.locate import ensure, locate

    target = tmp_path_factory.mktemp("sums") / "model"
    return widen(ensure(locate("tiny-sums", None), say=lambda text: None), target)


@pytest.fixture(scope="session")
def adapter_backend(wide_model: Path) -> Iterator[HfBackend]:
    """LoRA on the random model; the tests change its weights one after another.

    Starting vLLM takes long, so test_ahead.py, test_answers.py and test_engine.py share one; the last
    kills it for good.
    """
    backend = opened(vllm_recipe(wide_model, vllm={"sync": "adapter"}))
    yield backend
    backend.close()


@pytest.fixture(scope="session")
def questions() -> list[Prompt]:
    """Prompts of different lengths that begin alike."""
    texts = ("2+2?", "2+2 and then 13 + 29?", "a long question " * 3)
    return [
        Prompt(
            id=f"id-{index}",
            index=index,
            row={"answer": "4"},
            messages=({"role": "user", "content": text},),
        )
        for index, text in enumerate(texts)
    ]
