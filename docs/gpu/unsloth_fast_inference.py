"""The backend unsloth with vLLM on the same weights: it samples from the policy that trains.

    python docs/gpu/unsloth_fast_inference.py

Run it in Unsloth's environment, with vLLM. Needs no network: the model is random, of the shape of a small
Llama. What must hold, with and without standby (each in a process of its own):

1. vLLM's log-probs of its completions are those of our forward on Unsloth's model (mean difference below 0.05);
2. after an update that moves the policy far they are those of the moved policy, and not those of the base;
3. the same seeds draw the same completions, others draw others;
4. the gradient of the loss is that of the backend `hf` within 10 percent in its norm;
5. with standby, vLLM's cache gives its memory back while the update runs.

Prints one JSON line with the numbers; ends with 1 if one does not hold, with 77 without a CUDA device, Unsloth
or vLLM.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/helpers"))
MOST_GAP = 0.05
PROMPTS, GROUP, TOKENS = 8, 8, 64


def write_model(folder: Path) -> None:
    """Head size 128, which vLLM and flash attention have kernels for."""
    from tiny_model import write_tiny_model

    write_tiny_model(folder, hidden=512, layers=4, spread=0.06, dtype="bfloat16")


def recipe_of(folder: Path, backend: str, settings: dict[str, Any]) -> Any:
    from grpokit.api import Recipe

    return Recipe.model_validate(
        {
            "grpokit": 1,
            "model": {"id": str(folder), "lora": {"rank": 8, "alpha": 16.0}},
            "dataset": {"use": "inline"},
            "rewards": [{"use": "exact"}],
            "rollout": {"prompts": PROMPTS, "group": GROUP, "max_tokens": TOKENS},
            "optim": {"lr": 0.02, "schedule": "constant", "warmup": 0.0, "max_grad_norm": 1e6},
            "backend": {"use": backend, "with": settings},
            "train": {"steps": 9, "seed": 7},
        }
    )


def open_backend(folder: Path, backend: str, settings: dict[str, Any]) -> Any:
    from grpokit.engine.session import make_backend
    from grpokit.registry.catalog import Catalog

    if backend == "unsloth":  # before anything imports transformers, as a run does it
        from grpokit_unsloth.config import UnslothConfig
        from grpokit_unsloth.start import start

        start(UnslothConfig(**settings))
    recipe = recipe_of(folder, backend, settings)
    made = make_backend(Catalog.load(), recipe)
    made.open(recipe, needs_reference=True, needs_entropy=False)
    return made


def prompts() -> list[Any]:
    from grpokit.api import Prompt

    return [
        Prompt(
            id=f"q{number}",
            index=number,
            row={},
            messages=(
                {"role": "user", "content": f"What is {number} + {number}? " * (1 + number)},
            ),
        )
        for number in range(PROMPTS)
    ]


def draw(backend: Any, step: int) -> Any:
    from grpokit.api import Sampling

    return backend.generate(prompts(), Sampling(group=GROUP, max_tokens=TOKENS, seed=7, step=step))


def tokens(rollout: Any) -> list[tuple[int, ...]]:
    return [one.token_ids for group in rollout.completions for one in group]


def train(backend: Any, rollout: Any, step: int) -> dict[str, float]:
    """One update that pushes half of the completions up and half down; what it saw of the log-probs."""
    import torch

    from grpokit.api import Advantages, LossOutputs, Selection

    seen: dict[str, list[float]] = {"sampler": [], "base": []}
    sampled = rollout.completions[0][0].logprobs is not None

    def loss(inputs: Any) -> Any:
        mask_NT = inputs.mask_NT.bool()
        new_NT = inputs.logprobs_NT.detach()
        if sampled:
            gap_M = (new_NT - inputs.sampler_logprobs_NT)[mask_NT]
            seen["sampler"] += gap_M.abs().tolist()
            seen["base"] += (
                (inputs.ref_logprobs_NT - inputs.sampler_logprobs_NT)[mask_NT].abs().tolist()
            )
        weighted = inputs.logprobs_NT * inputs.advantages_N[:, None] * inputs.mask_NT
        return LossOutputs(loss=-weighted.sum() / inputs.totals.tokens)

    rows = tuple(rollout.rows())
    table = torch.ones(PROMPTS, GROUP)
    table[:, 1::2] = -1.0
    update = backend.update(
        loss,
        rollout,
        Advantages(
            advantages_PG=table,
            valid_PG=torch.ones(PROMPTS, GROUP, dtype=torch.bool),
            dead_P=torch.zeros(PROMPTS, dtype=torch.bool),
        ),
        Selection(rows=rows, weights=(1.0,) * len(rows), denominator=len(rows)),
        step,
    )
    count = sum(len(ids) for ids in tokens(rollout))
    assert len(seen["sampler"]) == (count if sampled else 0), "not every token was compared"
    means = {name: sum(gaps) / count for name, gaps in seen.items()}
    return {
        "sampler_gap": means["sampler"],
        "gap_to_base": means["base"],
        "grad_norm": update.metrics["grad_norm"],
        "loss": update.metrics["loss"],
    }


def measure(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Two steps; the memory that is free in the update; whether seeds repeat."""
    import torch

    from grpokit_unsloth.load import in_four_bits

    backend = open_backend(folder, "unsloth", settings)
    engine = backend.policy.engine
    first = draw(backend, 1)
    free, total = torch.cuda.mem_get_info()
    found: dict[str, Any] = {
        "vllm": engine is not None,
        "four_bit": in_four_bits(backend.policy.model),
        "frozen_bytes": sum(
            w.nbytes for w in backend.policy.base.parameters() if not w.requires_grad
        ),
        "sampler_logprobs": first.completions[0][0].logprobs is not None,
        "free_share_in_the_update": free / total,
        "repeats": tokens(draw(backend, 1)) == tokens(first),
        "differs": tokens(draw(backend, 2)) != tokens(first),
    }
    found["steps"] = [train(backend, first, 1)]
    found["steps"] += [train(backend, draw(backend, step), step) for step in (2, 3)]
    found["peak_allocated"] = torch.cuda.max_memory_allocated()
    found["first"] = [list(ids) for ids in tokens(first)]
    backend.close()
    return found


def hf_norm(folder: Path, rows: list[list[int]]) -> float:
    """The gradient norm that `hf` finds for the same completions."""
    from grpokit.api import Completion, Rollout, Sampling

    backend = open_backend(folder, "hf", {"device": "cuda"})
    made = [Completion(token_ids=tuple(ids), text="", finish="stop") for ids in rows]
    rollout = Rollout(
        prompts=tuple(prompts()),
        prompt_ids=tuple(backend.encode(prompt.messages) for prompt in prompts()),
        completions=tuple(tuple(made[p * GROUP : (p + 1) * GROUP]) for p in range(PROMPTS)),
        sampling=Sampling(group=GROUP, max_tokens=TOKENS, seed=7, step=1),
    )
    return train(backend, rollout, 1)["grad_norm"]


def apart(*arguments: str, given: str = "") -> Any:
    """This script in a process of its own, for one part of the work."""
    done = subprocess.run(  # noqa: S603 - this interpreter, a script of ours
        [sys.executable, *arguments], input=given, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def missing(claim: str, *packages: str) -> bool:
    """Says what is not here."""
    import torch

    gone = [name for name in packages if find_spec(name) is None]
    if not torch.cuda.is_available():
        gone.insert(0, "a CUDA device")
    if gone:
        print(f"{claim}: not here: {', '.join(gone)}")
    return bool(gone)


def holds(found: dict[str, Any], most: float = MOST_GAP, farther: float = 10.0) -> bool:
    """Each comparison by itself: ``max`` would pass over a gap that is not a number."""
    gaps = [step["sampler_gap"] for step in found["steps"]]
    moved = found["steps"][-1]["gap_to_base"]
    right = found["sampler_logprobs"] and found["repeats"] and found["differs"]
    return bool(right and all(gap <= most and moved > farther * gap for gap in gaps))


def main() -> int:
    import torch

    if missing("unsloth_fast_inference", "unsloth", "vllm"):
        return 77
    with tempfile.TemporaryDirectory() as scratch:
        write_model(Path(scratch))
        found = {
            name: apart(__file__, "--measure", scratch, json.dumps(settings))
            for name, settings in {
                "plain": {"fast_inference": True, "gpu_memory_utilization": 0.3},
                "standby": {"fast_inference": True, "standby": True},
            }.items()
        }
        norm = apart(__file__, "--hf", scratch, given=json.dumps(found["plain"]["first"]))
    ours = found["plain"]["steps"][0]["grad_norm"]
    shares = {name: one["free_share_in_the_update"] for name, one in found.items()}
    good = (
        all(one["vllm"] and holds(one) for one in found.values())
        and abs(ours - norm) <= 0.1 * norm
        and shares["standby"] > shares["plain"]
    )
    for one in found.values():
        del one["first"]
    device = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    line = {
        "claim": "unsloth_fast_inference",
        "holds": good,
        **device,
        "hf_grad_norm": norm,
        **found,
    }
    print(json.dumps(line))
    return int(not good)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    match sys.argv[1:]:
        case ["--measure", folder, text]:
            print(json.dumps(measure(Path(folder), json.loads(text))))
        case ["--hf", folder]:
            print(json.dumps(hf_norm(Path(folder), json.load(sys.stdin))))
        case _:
            sys.exit(main())
