"""Peak memory of two steps on a GPU against the plan's estimate: within 15 %.

    python docs/gpu/memory_against_plan.py [CASE ...]

Needs no network: the model is random, of a shape between SmolLM2-360M and Qwen3-0.6B. Each case is a
process of its own, and one whose packages are not here is left out. What one process holds
is read from its allocator; where vLLM samples, what is taken of the whole GPU, less what was taken before.
Prints one JSON line with all numbers; ends with 1 if a case is further off, with 77 where there is no CUDA
device.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 0.15
SHAPE = {
    "vocab_size": 32768,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
}
VARIED = {"unit": "characters", "min": 100_000, "ramp": 100_000}
"""A reward that differs between random completions: without a difference nothing is trained."""
SMALL = {"micro_batch": 2}
"""So that weights and engine weigh more than the activations, which are approximate."""
LORA: dict[str, Any] = {"lora": {"rank": 32, "alpha": 64}}
CASES: dict[str, dict[str, Any]] = {
    "lora": {"model": LORA},
    "lora-checkpointing": {"model": {**LORA, "gradient_checkpointing": True}},
    "lora-long": {"model": LORA, "rollout": {"prompts": 4, "group": 8, "max_tokens": 2048}},
    "full": {"model": {"lora": None}},
    "full-reference": {
        "model": {"lora": None},
        "algorithm": {"use": "grpo", "with": {"beta": 0.04}},
    },
    "full-bfloat16": {"model": {"lora": None, "dtype": "bfloat16"}},
    "vllm": {
        "model": LORA,
        "optim": SMALL,
        "backend": {"use": "hf", "with": {"rollouts": "vllm"}},
    },
    "vllm-sleep": {
        "model": LORA,
        "optim": SMALL,
        "backend": {"use": "hf", "with": {"rollouts": "vllm", "vllm": {"sleep": True}}},
    },
    "unsloth-16bit": {
        "model": LORA,
        "optim": SMALL,
        "backend": {"use": "unsloth", "with": {"fast_inference": False}},
    },
    "unsloth-4bit": {
        "model": LORA,
        "optim": SMALL,
        "backend": {"use": "unsloth", "with": {"fast_inference": False, "load_in_4bit": True}},
    },
    "unsloth-vllm": {
        "model": LORA,
        "optim": SMALL,
        "backend": {"use": "unsloth", "with": {"fast_inference": True, "load_in_4bit": True}},
    },
}
NEEDS = {
    "vllm": ("vllm",),
    "vllm-sleep": ("vllm",),
    "unsloth-16bit": ("unsloth",),
    "unsloth-4bit": ("unsloth", "bitsandbytes"),
    "unsloth-vllm": ("unsloth", "bitsandbytes", "vllm"),
}
"""Packages that a case needs beside torch and transformers."""
WHOLE = ("vllm", "vllm-sleep", "unsloth-vllm")
"""Cases in which another process, or another allocator, takes a part."""


def write_model(folder: Path) -> None:
    """Weights of a random Llama, the tokenizer of the tests' tiny model."""
    sys.path.insert(0, str(ROOT / "tests/helpers"))
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tiny_model import CHATML, write_tokenizer

    torch.manual_seed(0)
    config = LlamaConfig(**SHAPE, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    write_tokenizer(folder, eos="<|im_end|>", pad="<|endoftext|>", template=CHATML, adds_bos=False)


def recipe_of(case: str, folder: Path, out: Path) -> dict[str, Any]:
    """A recipe of two steps whose completions run into their limit."""
    changes = CASES[case]
    return {
        "grpokit": 1,
        "model": {"id": str(folder), **changes["model"]},
        "dataset": {"use": "arithmetic"},
        "rewards": [{"use": "length", "with": VARIED}],
        "algorithm": changes.get("algorithm", {"use": "grpo"}),
        "optim": changes.get("optim", {}),
        "rollout": changes.get("rollout", {"prompts": 8, "group": 8, "max_tokens": 512}),
        "backend": changes.get("backend", {"use": "hf", "with": {"device": "cuda"}}),
        "train": {"steps": 2, "save_every": 2, "out": str(out)},
    }


@contextmanager
def watched() -> Iterator[list[int]]:
    """The most that was taken of the GPU beyond what was taken before, asked twenty times a second."""
    import torch

    def taken() -> int:
        free, total = torch.cuda.mem_get_info()
        return total - free

    before, done = taken(), threading.Event()
    most = [0]

    def watch() -> None:
        while not done.wait(0.05):
            most[0] = max(most[0], taken() - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def run_case(case: str, folder: Path) -> dict[str, Any]:
    """Plans, trains, and reads the allocator's peak. In a process of its own."""
    import torch

    from grpokit.cli.main import main
    from grpokit.compose.load import load_recipe
    from grpokit.compose.plan import make_plan
    from grpokit.registry.catalog import Catalog

    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "recipe.yaml"
        path.write_text(json.dumps(recipe_of(case, folder, Path(work) / "runs")))
        catalog = Catalog.load()
        plan = make_plan(load_recipe(str(path), catalog=catalog), catalog)
        assert plan.memory is not None
        with watched() as most:
            code = main(["train", str(path)])
        steps = next(Path(work).glob("runs/*/metrics.jsonl")).read_text().splitlines()
    assert code == 0, f"training ended with {code}"
    trained = [json.loads(step)["trained_rows"] for step in steps]
    assert all(trained), f"rows that trained: {trained}"
    peak = most[0] if case in WHOLE else torch.cuda.max_memory_allocated()
    return {
        "planned": plan.memory.peak,
        "measured": peak,
        "reserved": torch.cuda.max_memory_reserved(),
        "off": round(peak / plan.memory.peak - 1, 3),
        "parts": dict(plan.memory.parts),
    }


def child(case: str, folder: Path) -> dict[str, Any]:
    """The case in a fresh process; its result is the last line of its output."""
    done = subprocess.run(  # noqa: S603  this very script
        [sys.executable, __file__, "--child", case, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"failed": done.returncode}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def main() -> int:
    import torch

    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(run_case(sys.argv[2], Path(sys.argv[3]))))
        return 0
    if not torch.cuda.is_available():
        print("memory_against_plan: there is no CUDA device")
        return 77
    asked = sys.argv[1:] or list(CASES)
    names = [name for name in asked if all(find_spec(need) for need in NEEDS.get(name, ()))]
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        found = {name: child(name, Path(folder)) for name in names}
    good = bool(found) and all(abs(case.get("off", 9.0)) <= LIMIT for case in found.values())
    device = {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}
    result = {"claim": "memory_against_plan", "holds": good, **device, "cases": found}
    absent = sorted(set(asked) - set(names))
    print(json.dumps({**result, "left_out": absent}))
    return int(not good)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
