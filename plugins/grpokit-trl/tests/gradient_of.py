"""One fixed step of the backend trl, in as many processes as the environment says.

    python gradient_of.py FOLDER OUT ROWS [ROWS ...]

FOLDER is that of ``parity.prepare``, with a checkpoint in ``before``. ROWS are the rows that train, as
``0.1,2.3``. Writes the gradients of all optimiser steps, the metrics and the weights after them to
``OUT/ROWS.json``, and a checkpoint to ``OUT/ROWS``. With several processes the last one then fails in its loss,
and ``OUT/error.txt`` holds what each of them was told.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed

import parity
from grpokit.api import (
    Advantages,
    LossInputs,
    LossOutputs,
    OutOfMemoryError,
    Resets,
    Selection,
    Task,
)
from grpokit.spec.recipe import Recipe
from grpokit_trl.backend import TrlBackend
from grpokit_trl.config import TrlConfig


def token_loss(inputs: LossInputs) -> LossOutputs:
    """Clipped surrogate with a divergence, over the tokens of the step."""
    ratio_NT = (inputs.logprobs_NT - inputs.old_logprobs_NT).exp()
    advantage_N1 = (inputs.advantages_N * inputs.weights_N)[:, None]
    objective_NT = torch.minimum(ratio_NT * advantage_N1, ratio_NT.clamp(0.8, 1.2) * advantage_N1)
    gap_NT = inputs.ref_logprobs_NT - inputs.logprobs_NT
    k3_NT = gap_NT.exp() - gap_NT - 1
    loss = ((0.1 * k3_NT - objective_NT) * inputs.mask_NT).sum() / inputs.totals.tokens
    count = inputs.mask_NT.sum()
    return LossOutputs(
        loss=loss, sums={"ratio": ((ratio_NT * inputs.mask_NT).sum().detach(), count)}
    )


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    if "WORLD_SIZE" in os.environ:
        distributed.init_process_group("gloo")
    out.mkdir()
    for rows in sys.argv[3:]:
        result = measure(folder, out / rows)
        (out / f"{rows}.json").write_text(json.dumps(result), encoding="utf-8")
    if distributed.is_initialized():
        try:
            measure(folder, out / "0.0,1.0", ill_loss)
        except OutOfMemoryError as error:
            (out / "error.txt").write_text(str(error), encoding="utf-8")
        distributed.destroy_process_group()


def ill_loss(inputs: LossInputs) -> LossOutputs:
    """No memory left on the last process."""
    if distributed.get_rank() == distributed.get_world_size() - 1:
        raise OutOfMemoryError("no memory left", remedy="buy some")
    return token_loss(inputs)


def measure(folder: Path, saved: Path, loss: Any = token_loss) -> dict[str, Any]:
    data = parity.recipe_data("trl", "grpo", folder)
    data["optim"] |= {"micro_batch": 1, "max_grad_norm": 100.0}
    data["backend"]["with"] = {"threads": 1}
    recipe = Recipe.model_validate(data)
    backend = TrlBackend(TrlConfig.model_validate(recipe.backend.with_))
    backend.open(recipe, needs_reference=True, needs_entropy=False)
    backend.load_state(folder / "before")
    rollout = parity.fixed_rollout(backend, recipe, folder)
    shape = (len(rollout.prompts), rollout.group)
    advantages = Advantages(
        advantages_PG=torch.linspace(-1, 1.5, shape[0] * shape[1]).view(shape),
        valid_PG=torch.ones(shape, dtype=torch.bool),
        dead_P=torch.zeros(shape[0], dtype=torch.bool),
    )
    found: list[dict[str, Any]] = []
    before = backend.trainer.clipped_norm

    def watched(model: Any, largest: float) -> float:
        found.append({n: w.grad.flatten().tolist() for n, w in backend.loaded.weights.items()})
        return float(before(model, largest))

    backend.trainer.clipped_norm = watched
    rows = [tuple(map(int, row.split("."))) for row in saved.name.split(",")]
    task = Task(
        step=1,
        loss=loss,
        rollout=rollout,
        advantages=advantages,
        selection=Selection(rows=tuple(rows), weights=(1.0,) * len(rows), denominator=len(rows)),
        resets=Resets(),
    )
    feed = parity.OneStep(task)
    seen: list[int] = []
    hook = backend.loaded.base.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(len(inputs["input_ids"])), with_kwargs=True
    )
    backend.run(feed)
    hook.remove()
    backend.save_policy(saved / "policy")
    backend.save_state(saved / "state")
    weights = {n: w.flatten().tolist() for n, w in backend.loaded.weights.items()}
    backend.close()
    return {
        "forwards": sum(seen),
        "gradients": found,
        "metrics": dict(feed.update.metrics),
        "weights": weights,
    }


if __name__ == "__main__":
    main()
