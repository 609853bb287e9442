"""The backend trl with vLLM in its own process: it draws from the trained weights, and memory comes back.

    python docs/gpu/trl_colocate.py

Needs no network: the model is random, of the shape of a small Llama. What must hold:

1. vLLM's log-probs of its completions are those of the trainer (mean difference below 0.05 in bfloat16);
2. after an update that moves the policy far, vLLM's log-probs are those of the moved policy, and not those of
   the one before;
3. with sleep mode vLLM gives its memory back while the update runs;
4. the frozen weights are bit for bit what they were, after weights were handed over three times.

Prints one JSON line with the numbers; ends with 1 if one does not hold, with 77 without a CUDA device or vLLM.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/helpers"))
SHARE = 0.3
MOST_GAP = 0.05


def write_model(folder: Path) -> None:
    """Head size 64, which vLLM has kernels for."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tiny_model import CHATML, LETTERS, SPECIAL, write_tokenizer

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(SPECIAL) + len(LETTERS),
        hidden_size=512,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        initializer_range=0.06,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    write_tokenizer(folder, eos="<|im_end|>", pad="<|endoftext|>", template=CHATML, adds_bos=False)


def recipe_of(folder: Path) -> Any:
    from grpokit.spec.recipe import Recipe

    return Recipe.model_validate(
        {
            "grpokit": 1,
            "model": {"id": str(folder), "lora": {"rank": 8, "alpha": 16.0}},
            "dataset": {"use": "inline"},
            "rewards": [{"use": "exact"}],
            "rollout": {"prompts": 8, "group": 8, "max_tokens": 64},
            "optim": {"lr": 0.05, "schedule": "constant", "warmup": 0.0, "max_grad_norm": 10.0},
            "backend": {
                "use": "trl",
                "with": {
                    "vllm": "colocate",
                    "args": {
                        "vllm_gpu_memory_utilization": SHARE,
                        "vllm_enable_sleep_mode": True,
                        "vllm_max_model_length": 256,
                    },
                },
            },
            "train": {"steps": 2, "seed": 7},
        }
    )


class Steps:
    """A feed of two steps with a loss that raises the log-probs of what was drawn in even places."""

    def __init__(self, backend: Any, recipe: Any) -> None:
        self.backend, self.recipe = backend, recipe
        self.step = 0
        self.gaps: list[float] = []
        self.seconds: list[float] = []
        self.free: dict[str, int] = {}
        self.moved = 0.0

    def rollout(self, step: int) -> Any:
        from grpokit.engine.session import sampling_of
        from grpokit.spec.flow import Prompt

        prompts = [
            Prompt(
                id=f"q{number}",
                index=number,
                row={},
                messages=({"role": "user", "content": f"What is {number} + {number}?"},),
            )
            for number in range(self.recipe.rollout.prompts)
        ]
        from dataclasses import replace

        start = time.perf_counter()
        found = self.backend.generate(prompts, replace(sampling_of(self.recipe), step=step))
        self.seconds.append(time.perf_counter() - start)
        return found

    def begin(self) -> Any:
        import torch

        from grpokit.spec.contracts import Task
        from grpokit.spec.flow import Advantages, Resets, Selection

        if self.step == self.recipe.train.steps:
            return None
        self.step += 1
        rollout = self.rollout(self.step)
        rows = tuple(rollout.rows())
        shape = (len(rollout.prompts), rollout.group)
        advantages = torch.ones(shape)
        advantages[:, 1::2] = -1.0
        self.free["update"] = torch.cuda.mem_get_info()[0]
        return Task(
            step=self.step,
            loss=self.loss,
            rollout=rollout,
            advantages=Advantages(
                advantages_PG=advantages,
                valid_PG=torch.ones(shape, dtype=torch.bool),
                dead_P=torch.zeros(shape[0], dtype=torch.bool),
            ),
            selection=Selection(rows=rows, weights=(1.0,) * len(rows), denominator=len(rows)),
            resets=Resets(),
        )

    def loss(self, inputs: Any) -> Any:
        from grpokit.spec.flow import LossOutputs

        mask_NT = inputs.mask_NT.bool()
        gap = (inputs.logprobs_NT.detach() - inputs.sampler_logprobs_NT)[mask_NT].abs().mean()
        self.gaps.append(float(gap))
        weighted = inputs.logprobs_NT * inputs.advantages_N[:, None] * inputs.mask_NT
        return LossOutputs(loss=-weighted.sum() / inputs.totals.tokens)

    def end(self, update: Any) -> None:
        del update


def base_gap(backend: Any, rollout: Any) -> float:
    """Mean distance of vLLM's log-probs from those of the model without its adapter."""
    import torch

    from grpokit.api import Advantages, Selection
    from grpokit_hf.nn.batch import make_rows

    rows = tuple(rollout.rows())
    shape = (len(rollout.prompts), rollout.group)
    table = Advantages(
        advantages_PG=torch.zeros(shape),
        valid_PG=torch.ones(shape, dtype=torch.bool),
        dead_P=torch.zeros(shape[0], dtype=torch.bool),
    )
    chosen = Selection(rows=rows, weights=(1.0,) * len(rows), denominator=len(rows))
    made = make_rows(rollout, table, chosen)
    with torch.no_grad(), backend.loaded.model.disable_adapter():
        values_M, _ = backend.trainer.row_logps(None, made, 1.0, with_entropy=False)
    said = torch.tensor([value for row in made for value in row.sampler_logprobs or ()])
    return float((values_M.float().cpu() - said).abs().mean())


def frozen(backend: Any) -> dict[str, Any]:
    """Copies of the weights that do not train, off the GPU."""
    named = backend.loaded.model.named_parameters()
    return {name: weight.detach().cpu() for name, weight in named if not weight.requires_grad}


def main() -> int:
    import torch

    if not torch.cuda.is_available() or find_spec("vllm") is None:
        print("trl_colocate: there is no CUDA device, or vLLM is not installed")
        return 77
    from grpokit_trl.backend import TrlBackend
    from grpokit_trl.config import TrlConfig

    with tempfile.TemporaryDirectory() as scratch:
        write_model(Path(scratch))
        recipe = recipe_of(Path(scratch))
        backend = TrlBackend(TrlConfig.model_validate(recipe.backend.with_))
        backend.open(recipe, needs_reference=False, needs_entropy=False)
        steps = Steps(backend, recipe)
        before = frozen(backend)
        backend.run(steps)
        last = steps.rollout(3)
        after = frozen(backend)
        changed = [name for name, weight in after.items() if not torch.equal(weight, before[name])]
        from_base = base_gap(backend, last)
        total = torch.cuda.mem_get_info()[1]
        backend.close()
    asleep = steps.free["update"] / total
    near = all(gap <= MOST_GAP and from_base > 10 * gap for gap in steps.gaps)  # NaN is neither
    holds = bool(steps.gaps) and near and asleep > 1 - SHARE and not changed
    numbers = {
        "sampler_gap": steps.gaps,
        "gap_to_the_base": from_base,
        "free_share_in_the_update": asleep,
        "frozen_weights_changed": len(changed),
        "generate_seconds": steps.seconds,
        "peak_allocated": torch.cuda.max_memory_allocated(),
    }
    device = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    print(json.dumps({"claim": "trl_colocate", "holds": holds, **device, **numbers}))
    return int(not holds)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
