"""Packed rows by flex attention on a GPU against whole padded rows by sdpa: gradients, time, memory.

    python docs/gpu/flex_attention.py [--rehearse]

Needs no network: the model is random. 4 prompts of about 512 tokens with 16 completions of 32 to 512 tokens each
train a LoRA adapter, and all weights in float32 and in bfloat16 under autocast. What must hold:

1. `attention: auto` takes flex, so the trial before the run passed;
2. in float32 the gradient is that of padded rows: relative difference of the whole vector below 1e-4;
3. in bfloat16 it is no further from the gradient in float32 than 1.25 times what padded rows are;
4. an update takes at most half the time of padded rows, and no more memory at its peak;
5. with gradient checkpointing the gradient is the same.

What compiling costs shows in the seconds of opening (the trial) and of the first update (its lengths). Prints one JSON line with the
numbers; ends with 1 if one does not hold, with 77 without a CUDA device. ``--rehearse`` does it with a small model
on a CPU, where no kernel is compiled and 3 and 4 are not judged, to try the script itself.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/helpers"))
GAP, FURTHER, FASTER, ROUNDS = 1e-4, 1.25, 0.5, 5
SHAPES = {
    "cuda": {"hidden_size": 1024, "num_hidden_layers": 24, "intermediate_size": 2816},
    "cpu": {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128},
}
TOKENS = {"cuda": (512, 512), "cpu": (60, 30)}
"""Longest prompt and longest completion."""
LORA = {"rank": 16, "alpha": 32.0}
CASES: dict[str, dict[str, Any]] = {
    "lora-float32": {"lora": LORA, "dtype": "float32"},
    "lora-bfloat16": {"lora": LORA, "dtype": "bfloat16"},
    "lora-bfloat16-checkpointing": {
        "lora": LORA,
        "dtype": "bfloat16",
        "gradient_checkpointing": True,
    },
    "full-float32": {"lora": None, "dtype": "float32"},
    "full-bfloat16": {"lora": None, "dtype": "bfloat16"},
}


def write_model(folder: Path, device: str) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tiny_model import CHATML, write_tokenizer

    torch.manual_seed(0)
    config = LlamaConfig(
        **SHAPES[device],
        vocab_size=32768 if device == "cuda" else 128,
        num_attention_heads=16 if device == "cuda" else 4,
        num_key_value_heads=4 if device == "cuda" else 2,
        max_position_embeddings=4096,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    write_tokenizer(folder, eos="<|im_end|>", pad="<|endoftext|>", template=CHATML, adds_bos=False)


def drawn(device: str) -> Any:
    """Random tokens: groups of unequal lengths."""
    import random

    from grpokit.api import Completion, Rollout, Sampling
    from tiny_recipes import questions

    draw = random.Random(5)  # noqa: S311 - not for secrets
    longest, new = TOKENS[device]
    prompts = questions(*[f"question {p}" for p in range(4)])

    def ids(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(3, 100) for _ in range(count))

    return Rollout(
        prompts=tuple(prompts),
        prompt_ids=tuple(ids(longest - 7 * p) for p in range(4)),
        completions=tuple(
            tuple(
                Completion(
                    token_ids=ids(draw.randint(new // 16, new)),
                    logprobs=None,
                    text="",
                    finish="stop",
                )
                for _ in range(16)
            )
            for _ in range(4)
        ),
        sampling=Sampling(group=16, max_tokens=new),
    )


def measure(folder: Path, device: str, model: dict[str, Any], settings: dict[str, Any]) -> Any:
    """Gradient (as one vector on the CPU), seconds of the first and of later updates, peak, kernel."""
    import torch

    from grpokit_hf.backend import HfBackend
    from grpokit_hf.config import HfConfig
    from tiny_recipes import tiny_recipe
    from updates import gradients

    recipe = tiny_recipe(
        "hf",
        folder,
        model=model,
        optim={"lr": 1e-12, "max_grad_norm": 1e9, "micro_batch": 32},
        backend={"with": {"device": device, **settings}},
    )
    backend = HfBackend(HfConfig.model_validate(recipe.backend.with_))
    began = time.perf_counter()
    backend.open(recipe, needs_reference=False, needs_entropy=False)
    opened = time.perf_counter() - began
    with torch.no_grad():
        for name, weight in backend.policy.weights.items():
            if "lora_B" in name:  # it begins as zero, where A has no gradient
                weight.copy_(torch.linspace(-0.01, 0.01, weight.numel()).view(weight.shape))
    rollout, seconds = drawn(device), []
    vector = torch.empty(0)
    cuda = device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    for number in range(1 + ROUNDS):
        began = time.perf_counter()
        found = gradients(backend, rollout)
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        if number == 0:
            vector = torch.cat([found[name].float().cpu().flatten() for name in sorted(found)])
        del found
    numbers = {
        "kernel": backend.policy.kernel,
        "packed": backend.policy.forward().shared,
        "open": round(opened, 2),
        "first": round(seconds[0], 2),
        "update": round(statistics.median(seconds[1:]), 3),
        "peak": torch.cuda.max_memory_allocated() if cuda else 0,
    }
    backend.close()
    gc.collect()
    return vector, numbers


def relative(a: Any, b: Any) -> float:
    return float((a - b).norm() / b.norm())


def case(folder: Path, device: str, model: dict[str, Any]) -> dict[str, Any]:
    """A case's numbers for both ways, and how far the gradients are apart."""
    ours = {"attention": "auto" if device == "cuda" else "flex"}
    theirs = {"attention": "sdpa", "packing": False}
    flex, packed = measure(folder, device, model, ours)
    sdpa, padded = measure(folder, device, model, theirs)
    found: dict[str, Any] = {"flex": packed, "padded": padded, "gap": relative(flex, sdpa)}
    if model["dtype"] == "bfloat16":
        exact, _ = measure(folder, device, {**model, "dtype": "float32"}, theirs)
        found["from_float32"] = {"flex": relative(flex, exact), "padded": relative(sdpa, exact)}
    return found


def judge(found: dict[str, Any], *, rehearse: bool) -> bool:
    """Whether a case holds; what is not a number does not."""
    flex, padded = found["flex"], found["padded"]
    if not (flex["kernel"] == "flex" and flex["packed"] and not padded["packed"]):
        return False
    if "from_float32" not in found:
        if not found["gap"] < GAP:
            return False
    elif not rehearse:
        far = found["from_float32"]
        if not far["flex"] <= FURTHER * far["padded"]:
            return False
    quick = flex["update"] <= FASTER * padded["update"] and flex["peak"] <= padded["peak"]
    return bool(rehearse or quick)


def main() -> int:
    import torch

    rehearse = "--rehearse" in sys.argv
    if not rehearse and not torch.cuda.is_available():
        print("flex_attention: there is no CUDA device")
        return 77
    device = "cpu" if rehearse else "cuda"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_model(folder, device)
        found = {name: case(folder, device, model) for name, model in CASES.items()}
    holds = {name: judge(numbers, rehearse=rehearse) for name, numbers in found.items()}
    gpu = "cpu" if rehearse else torch.cuda.get_device_name()
    line = {"claim": "flex_attention", "holds": all(holds.values()), "gpu": gpu}
    print(json.dumps({**line, "torch": torch.__version__, "cases": found, "each": holds}))
    return int(not all(holds.values()))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
