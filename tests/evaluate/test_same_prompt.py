"""Training, evaluation and plan render a prompt through the same code: equal token ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from grpokit.compose.load import load_recipe
from grpokit.compose.plan import make_plan
from grpokit.evaluate.run import evaluate, prepare
from grpokit.registry.catalog import Catalog

RECIPE = """
grpokit: 1
model: {{id: {model}, dtype: float32, lora: {{rank: 2, alpha: 2}}}}
dataset: {{use: arithmetic}}
prompt:
  use: boxed
  system: "Think of {{a}}."
  examples: [{{question: "What is 1 + 1?", answer: "\\\\boxed{{2}}"}}]
rewards: [{{use: number}}]
rollout: {{prompts: 6, group: 2, max_tokens: 3, shuffle: false}}
train: {{steps: 1, out: {out}}}
eval: {{dataset: {{use: arithmetic}}, limit: 6}}
"""


@pytest.mark.usefixtures("one_thread")
def test_token_ids_are_equal(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grpokit.compose.plan import plan_json
    from grpokit.engine.observer import Observer
    from grpokit.engine.rundir import RunDir
    from grpokit.engine.session import make_backend, train
    from grpokit_hf.backend import HfBackend

    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE.format(model=tiny_model_folder, out=tmp_path / "runs"))
    catalog = Catalog.load()
    loaded = load_recipe(str(file), catalog=catalog)
    recipe = loaded.recipe
    seen: list[dict[int, tuple[int, ...]]] = []
    generate = HfBackend.generate

    def recording(self: HfBackend, *arguments: Any, **settings: Any) -> Any:
        rollout = generate(self, *arguments, **settings)
        indices = [prompt.index for prompt in rollout.prompts]
        seen.append(dict(zip(indices, rollout.prompt_ids, strict=True)))
        return rollout

    monkeypatch.setattr(HfBackend, "generate", recording)
    plan = make_plan(loaded, catalog)
    run = RunDir.create(tmp_path / "runs", "same", recipe, plan_json(plan))
    train(recipe, run, catalog, Observer())
    exam = prepare(recipe, catalog)
    backend = make_backend(catalog, recipe)
    backend.open_checkpoint(recipe, None)
    try:
        with exam.scorer() as scorer:
            evaluate(backend, exam, label="m", scorer=scorer)
        [training, evaluation] = seen
        assert training == evaluation
        assert len(training) == 6
        planned = backend.policy.tokenizer.encode_text(plan.rendered)  # type: ignore[attr-defined]
        assert tuple(planned) == evaluation[0]
        assert plan.rendered_tokens == len(evaluation[0])
        assert "Think of " in plan.rendered
        assert "What is 1 + 1?" in plan.rendered
    finally:
        backend.close()


@pytest.fixture
def one_thread() -> Any:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
