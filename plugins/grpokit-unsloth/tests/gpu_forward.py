"""Unsloth's GPU forward on a CPU, through our forward: prints one JSON object with the differences.

    python plugins/grpokit-unsloth/tests/gpu_forward.py

Unsloth's switch for tests without a GPU (UNSLOTH_ALLOW_CPU) brings the forward and the kernels of a GPU;
Triton's interpreter runs the kernels. What needs CUDA itself (the loader, the rope tables) is replaced
here. Completions are drawn by Unsloth's own fast decoding, which is what a GPU without vLLM uses. bfloat16 cannot be interpreted. The fused LoRA kernels take 16-bit weights only.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

os.environ.update(
    UNSLOTH_ALLOW_CPU="1",
    TRITON_INTERPRET="1",
    UNSLOTH_DISABLE_STATISTICS="1",
    UNSLOTH_COMPILE_DISABLE="1",
    UNSLOTH_COMPILE_LOCATION=tempfile.mkdtemp(),
    TORCHDYNAMO_DISABLE="1",
)
sys.path.insert(0, str(Path(__file__).parents[3] / "tests/helpers"))

from grpokit_unsloth.config import UnslothConfig
from grpokit_unsloth.start import start

start(UnslothConfig())

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from transformers import AutoModelForCausalLM, Trainer  # noqa: E402
from unsloth.models import llama  # noqa: E402

from grpokit.api import Completion, Prompt, Rollout, Sampling  # noqa: E402
from grpokit_hf.nn.batch import make_rows, to_batch  # noqa: E402
from grpokit_hf.nn.decode import Drawn  # noqa: E402
from grpokit_hf.text.tokenizer import ChatTokenizer  # noqa: E402
from grpokit_unsloth.forward import check_hidden_states  # noqa: E402
from grpokit_unsloth.policy import UnslothPolicy  # noqa: E402
from grpokit_unsloth.rollout import by_generate  # noqa: E402
from tiny_model import write_tiny_model  # noqa: E402
from updates import advantages_of, everything  # noqa: E402

TEMPERATURE = 0.7
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Patched(UnslothPolicy):
    """The policy of a GPU, although this is none."""

    patched = True


def rope_tables(self: Any, device_index: Any) -> int:
    """The same cosines and sines as Unsloth's, without a CUDA device to keep them on."""
    del device_index
    if not self.multi_gpu_cos_cached or self.multi_gpu_cos_cached[0] is None:
        angle = torch.outer(
            torch.arange(self.current_rope_size).float(), self._unsloth_recompute_inv_freq()
        )
        angle = torch.cat((angle, angle), dim=-1)
        self.multi_gpu_cos_cached = [angle.cos() * self.attention_scaling]
        self.multi_gpu_sin_cached = [angle.sin() * self.attention_scaling]
    return 0


def load(folder: Path, dtype: torch.dtype) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")


def with_adapter(model: Any) -> Any:
    wrapped = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8.0, target_modules=TARGETS, task_type="CAUSAL_LM")
    )
    lot = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, weight in sorted(wrapped.named_parameters()):
            if weight.requires_grad:
                weight.copy_(0.1 * torch.randn(weight.shape, generator=lot))
    return wrapped


def make_rollout(folder: Path) -> Rollout:
    """Rows of different lengths, so that there is padding."""
    tokenizer = ChatTokenizer(folder)
    prompts = tuple(
        Prompt(id=text, index=p, row={}, messages=({"role": "user", "content": text},))
        for p, text in enumerate(("1?", "22?"))
    )
    texts = (("4", "five"), ("twelve", ""))
    return Rollout(
        prompts=prompts,
        prompt_ids=tuple(tokenizer.encode_text(prompt.id) for prompt in prompts),
        completions=tuple(
            tuple(
                Completion(
                    token_ids=(*tokenizer.encode_text(text), tokenizer.ends.main),
                    text=text,
                    finish="stop",
                )
                for text in group
            )
            for group in texts
        ),
        sampling=Sampling(group=2, max_tokens=8, temperature=TEMPERATURE),
    )


def by_hand(model: Any, rollout: Rollout) -> torch.Tensor:
    """Log-probs of all completion tokens, a row at a time, from whole logits."""
    found = []
    for p, g in rollout.rows():
        new = list(rollout.completions[p][g].token_ids)
        ids = torch.tensor([[*rollout.prompt_ids[p], *new]])
        logits_TV = model(input_ids=ids, use_cache=False).logits[0, -len(new) - 1 : -1].float()
        logprobs_TV = (logits_TV / TEMPERATURE).log_softmax(-1)
        found.append(logprobs_TV.gather(1, torch.tensor(new)[:, None])[:, 0])
    return torch.cat(found)


def gradient(model: Any, logprobs_M: torch.Tensor) -> dict[str, torch.Tensor]:
    logprobs_M.square().mean().backward()
    found = {name: w.grad.clone() for name, w in model.named_parameters() if w.requires_grad}
    model.zero_grad()
    return found


@dataclass
class Plain:
    """What transformers says before anything of it is replaced."""

    logprobs_M: torch.Tensor
    off_M: torch.Tensor
    gradient: dict[str, torch.Tensor]
    drawn: list[Drawn]


def draw(policy: UnslothPolicy, rollout: Rollout) -> list[Drawn]:
    """Two rows a prompt; the prompts have different lengths."""
    prompts = [rollout.prompt_ids[p] for p in (0, 0, 1, 1)]
    return by_generate(policy, prompts, [11, 12, 13, 14], rollout.sampling)


def measure_plain(folder: Path, rollout: Rollout, dtype: torch.dtype) -> Plain:
    model = with_adapter(load(folder, dtype))
    logprobs_M = by_hand(model, rollout)
    with torch.no_grad(), model.disable_adapter():
        off_M = by_hand(model, rollout)
    policy = UnslothPolicy(model=model, **settings(folder, dtype))
    drawn = draw(policy, rollout)
    return Plain(logprobs_M.detach(), off_M, gradient(model, logprobs_M), drawn)


def patch() -> None:
    from unsloth.kernels import rope_embedding

    llama.get_current_device = lambda: "cpu"
    llama.DEVICE_TYPE_TORCH, llama.DEVICE_COUNT = "cpu", 1
    llama._PerDeviceRopeCache._ensure_rope_cache = rope_tables
    llama._PerDeviceRopeCache.get_cached = lambda self, *_: self._slice_rope_cache(
        self._ensure_rope_cache(0), None
    )
    rope_embedding._eviction_hints_ok = lambda device: False
    Trainer._inner_training_loop.__name__ = "_fast_inner_training_loop"  # the loader patches it
    llama.FastLlamaModel.pre_patch()


def with_generate(model: Any) -> Any:
    """What the loader does for Unsloth's decoding."""
    for layer in model.model.layers:
        layer.self_attn.rotary_emb = model.model.rotary_emb
    model._old_generate = model.generate
    model.generate = MethodType(llama.unsloth_fast_generate, model)
    return model


def patched_policy(folder: Path, dtype: torch.dtype, *, recompute: bool) -> Patched:
    model = with_generate(load(folder, dtype))
    model.max_seq_length = model.model.max_seq_length = 64
    model = with_adapter(model)
    llama.mark_unsloth_fast_path(model)
    model = llama.FastLlamaModel.patch_peft_model(model, use_gradient_checkpointing=recompute)
    return Patched(model=model, recompute=recompute, **settings(folder, dtype))


def settings(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    return {
        "folder": folder,
        "tokenizer": ChatTokenizer(folder),
        "device": torch.device("cpu"),
        "dtype": dtype,
        "adapter": True,
        "autocast": None,
        "kernel": "unsloth",
        "config": UnslothConfig().as_hf(),
        "checkpointing": False,
        "dropout": 0.0,
        "longest": 64,
    }


def compare(policy: Patched, rollout: Rollout, plain: Plain) -> dict[str, Any]:
    forward = policy.forward()
    check_hidden_states(policy.base, forward.body, torch.tensor([[5, 6, 7, 8]]))
    rows = make_rows(rollout, advantages_of(rollout), everything(rollout))
    batch = to_batch(rows, policy.tokenizer.pad_id, policy.device)
    layer = policy.base.model.layers[0]
    drawn = draw(
        policy, rollout
    )  # first: it turns gradient checkpointing off, and must turn it on again
    passes: list[int] = []
    layer.mlp.register_forward_hook(lambda *_: passes.append(1))
    policy.model.train(bool(policy.recompute))
    values = forward(batch, TEMPERATURE, with_entropy=True)
    ours = gradient(policy.model, values.logprobs_M)
    recomputed = len(passes)
    policy.model.eval()
    with torch.no_grad(), policy.model.disable_adapter():
        off_M = forward(batch, TEMPERATURE).logprobs_M
    worst = [(ours[name] - g).abs().max() / g.abs().max() for name, g in plain.gradient.items()]
    return {
        "fused": layer.mlp.forward.__func__.__name__ == "apply_lora_mlp_swiglu",
        "tokens": len(off_M),
        "logprobs": float((values.logprobs_M.detach() - plain.logprobs_M).abs().max()),
        "off": float((off_M - plain.off_M).abs().max()),
        "adapter": float((plain.logprobs_M - plain.off_M).abs().max()),
        "gradient": float(max(worst)),
        "gradients": len(worst),
        "passes": recomputed,
        "drawn": [one.tokens for one in drawn],
        "plainly": [one.tokens for one in plain.drawn],
        "sampler": max(
            abs(a - b)
            for ours_one, plain_one in zip(drawn, plain.drawn, strict=True)
            for a, b in zip(ours_one.logprobs, plain_one.logprobs, strict=False)
        ),
    }


def main() -> dict[str, Any]:
    torch.set_num_threads(1)
    folder = write_tiny_model(Path(tempfile.mkdtemp()) / "model")
    rollout = make_rollout(folder)
    types = {"float32": torch.float32, "float16": torch.float16}
    plain = {name: measure_plain(folder, rollout, dtype) for name, dtype in types.items()}
    patch()
    return {
        name: compare(
            patched_policy(folder, dtype, recompute=name == "float32"), rollout, plain[name]
        )
        for name, dtype in types.items()
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
