"""Small recipes whose completions come from vLLM, and a model that its kernels for CPUs can compute."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from grpokit.api import Prompt, Recipe, Rollout
from grpokit_hf.backend import HfBackend
from grpokit_hf.config import HfConfig
from grpokit_hf.nn.batch import Row, to_batch
from grpokit_hf.vllm.engine import Engine


def widen(source: Path, target: Path) -> Path:
    """Heads of d become heads of 2d that compute the same.

    Rotary frequencies are theta^(-2i/d): every second one of the wide head is one of the narrow
    head. So dimension i goes to 2i in its half, zeros between, and the queries grow by sqrt(2)
    because the wide head divides its products by sqrt(2d).
    """
    shutil.copytree(source, target)
    config = json.loads((source / "config.json").read_text())
    heads, narrow = config["num_attention_heads"], config["head_dim"]
    config["head_dim"] = 2 * narrow
    (target / "config.json").write_text(json.dumps(config))
    weights = load_file(source / "model.safetensors")
    places = [2 * i + (narrow if half else 0) for half in (0, 1) for i in range(narrow // 2)]
    for name, weight in weights.items():
        kind = name.rsplit(".", 2)[-2]
        if kind in ("q_proj", "k_proj", "v_proj"):
            wide = torch.zeros(heads, 2 * narrow, weight.shape[1])
            wide[:, places] = weight.view(heads, narrow, -1)
            if kind == "q_proj":
                wide *= math.sqrt(2.0)
            weights[name] = wide.reshape(heads * 2 * narrow, -1)
        elif kind == "o_proj":
            wide = torch.zeros(weight.shape[0], heads, 2 * narrow)
            wide[:, :, places] = weight.view(-1, heads, narrow)
            weights[name] = wide.reshape(weight.shape[0], -1)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def vllm_recipe(
    folder: Path, *, lora: bool = True, vllm: dict[str, Any] | None = None, **sections: Any
) -> Recipe:
    """A small recipe whose completions come from vLLM."""
    data: dict[str, Any] = {
        "grpokit": 1,
        "model": {
            "id": str(folder),
            "dtype": "float32",
            "lora": {"rank": 4, "alpha": 8.0} if lora else None,
        },
        "dataset": {"use": "inline"},
        "rewards": [{"use": "exact"}],
        "rollout": {"prompts": 3, "group": 4, "max_tokens": 10},
        "optim": {"lr": 2e-2, "warmup": 0.0, "schedule": "constant", "max_grad_norm": 10.0},
        "backend": {
            "use": "hf",
            "with": {
                "threads": 1,
                "device": "cpu",
                "rollouts": "vllm",
                "vllm": {"cpu_cache": 1, "max_len": 256, **(vllm or {})},
            },
        },
        "train": {"steps": 20, "seed": 7},
    }
    for name, values in sections.items():
        data[name] = {**data[name], **values}
    return Recipe.model_validate(data)


def opened(recipe: Recipe) -> HfBackend:
    backend = HfBackend(HfConfig.model_validate(recipe.backend.with_))
    backend.open(recipe, needs_reference=False, needs_entropy=False)
    return backend


def engine_of(backend: HfBackend) -> Engine:
    """The process that samples for the backend."""
    assert backend._rollouts is not None
    engine = backend._rollouts.sampler
    assert isinstance(engine, Engine)
    return engine


def write_gpu_model(folder: Path) -> Path:
    """A random Llama in bfloat16, large enough to be seen in a GPU's memory (0.5 GB)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from tiny_model import CHATML, LETTERS, SPECIAL, write_tokenizer

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(SPECIAL) + len(LETTERS),
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=16,
        num_attention_heads=16,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        initializer_range=0.03,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    write_tokenizer(folder, eos="<|im_end|>", pad="<|endoftext|>", template=CHATML, adds_bos=False)
    return folder


def gpu_recipe(folder: Path, *, lora: bool, **vllm: Any) -> Recipe:
    """That model on a GPU, in bfloat16."""
    recipe = vllm_recipe(folder, lora=lora, vllm={"memory": 0.3, "max_len": 512, **vllm})
    data = recipe.model_dump(by_alias=True)
    data["model"]["dtype"] = "bfloat16"
    data["rollout"] |= {"prompts": 8, "group": 8, "max_tokens": 128}
    data["backend"]["with"]["device"] = "cuda"
    return Recipe.model_validate(data)


def shift(backend: HfBackend, size: float, seed: int) -> None:
    """Changes the trained weights as an update would; ``size`` is relative to their own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in backend.policy.weights.items():
            if "lora_A" in name or weight.ndim < 2:
                continue
            noise = torch.randn(weight.shape, generator=generator).to(weight.device)
            scale = 0.03 if "lora_B" in name else float(weight.std())
            weight.add_(noise, alpha=size * scale)
    backend._changed()


def asked(count: int) -> list[Prompt]:
    """Questions of different lengths."""
    return [
        Prompt(
            id=f"q{n}",
            index=n,
            row={},
            messages=({"role": "user", "content": f"What is {n} + {n}? " * (n % 5 + 1)},),
        )
        for n in range(count)
    ]


def trainer_logprobs(backend: HfBackend, rollout: Rollout, temperature: float) -> list[float]:
    """What an update would compute for the completions, one after another."""
    rows = [
        Row(
            index=0,
            prompt=p,
            prompt_ids=rollout.prompt_ids[p],
            tokens=completion.token_ids,
            advantage=0.0,
            weight=1.0,
            truncated=False,
            sampler_logprobs=None,
        )
        for p, group in enumerate(rollout.completions)
        for completion in group
    ]
    policy = backend.policy
    with torch.no_grad():
        batch = to_batch(rows, policy.tokenizer.pad_id, policy.device)
        found: list[float] = policy.forward()(batch, temperature).logprobs_M.float().tolist()
    return found


def sampled_logprobs(rollout: Rollout) -> list[float]:
    """What the sampler said, in the same order."""
    return [v for group in rollout.completions for c in group for v in (c.logprobs or ())]


def sampler_gap(backend: HfBackend, rollout: Rollout) -> float:
    """Mean difference of vLLM's log-probs from the trainer's, in nats a token."""
    wanted = trainer_logprobs(backend, rollout, rollout.sampling.temperature or 1.0)
    said = sampled_logprobs(rollout)
    return math.fsum(abs(a - b) for a, b in zip(wanted, said, strict=True)) / len(said)


@contextmanager
def lent(backend: HfBackend, version: int) -> Iterator[None]:
    """Backends that open meanwhile take this one's engine instead of starting their own.

    Their first weights have this version, which must be new: vLLM caches under the names of adapters.
    """
    engine, join = engine_of(backend), HfBackend._join_vllm

    def joined(self: HfBackend, *arguments: Any) -> None:
        join(self, *arguments)
        assert self._rollouts is not None
        self._rollouts.sync.version = version - 1
        self._changed()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HfBackend, "_start_vllm", lambda *_: engine)
        patch.setattr(HfBackend, "_join_vllm", joined)
        patch.setattr(engine, "close", lambda: None)
        yield
    backend._changed()


def runs(pid: int) -> bool:
    """Whether there is such a process; one that ended and that nobody asked about does not run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
