"""From a recipe to a running sampler."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.api import Recipe, sampling_of
from grpokit_hf.load import pick_device
from grpokit_hf.machine import physical_cores
from grpokit_hf.text.tokenizer import read_json
from grpokit_hf.vllm.choices import (
    by_adapter,
    compute_type,
    engine_rank,
    logprobs_mode,
)
from grpokit_hf.vllm.engine import Engine, Start
from grpokit_hf.vllm.environment import host_environment
from grpokit_hf.vllm.rollouts import Rollouts
from grpokit_hf.vllm.sampler import Sampler
from grpokit_hf.vllm.scratch import Scratch
from grpokit_hf.vllm.server import Server
from grpokit_hf.vllm.sync import Sync

if TYPE_CHECKING:
    from grpokit_hf.config import HfConfig
    from grpokit_hf.policy import Policy

__all__ = ["join", "start_sampler", "window"]

LENGTH = 4096
SPREAD = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")


def window(recipe: Recipe, config: HfConfig, folder: Path) -> int:
    """Tokens of the longest prompt and completion together."""
    dimensions = read_json(folder / "config.json")
    text = dimensions.get("text_config") or dimensions
    limit = text.get("max_position_embeddings") or LENGTH
    asked = config.vllm.max_len
    if asked is None:
        rollout = recipe.rollout
        asked = max(LENGTH, (rollout.max_prompt_tokens or 0) + rollout.max_tokens)
    return min(int(limit), asked)


def engine_options(recipe: Recipe, config: HfConfig, folder: Path, *, cuda: bool) -> dict[str, Any]:
    """Arguments of ``vllm.LLM``; the recipe's own come last."""
    section = config.vllm
    lora = recipe.model.lora
    options: dict[str, Any] = {
        "model": str(folder),
        "dtype": compute_type(recipe),
        "seed": 0,
        "max_model_len": window(recipe, config, folder),
        "max_num_seqs": config.generate_rows,
        "enable_prefix_caching": section.prefix_caching,
        "enforce_eager": not cuda if section.eager is None else section.eager,
        "logprobs_mode": logprobs_mode(sampling_of(recipe)),
        "generation_config": "vllm",
        "disable_log_stats": True,
        "trust_remote_code": False,
        "skip_tokenizer_init": True,  # token ids go in and come out
    }
    if cuda:
        options |= {
            "gpu_memory_utilization": section.memory,
            "enable_sleep_mode": section.sleep,
        }
    else:
        # A prompt that is computed in pieces rewinds its random numbers after each, which the
        # generators of CPUs cannot ("CPU Generator does not use offset").
        options |= {
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(LENGTH, options["max_model_len"]),
        }
    if lora is not None and by_adapter(recipe, config, cuda=cuda):
        rank = engine_rank(lora.rank)
        options |= {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 2, "max_lora_rank": rank}
    return options | section.options


def spread(options: Mapping[str, Any]) -> bool:
    """Whether vLLM has workers in processes of their own."""
    return any(int(options.get(name) or 1) > 1 for name in SPREAD)


def weights_folder(asked: str | None) -> Path | None:
    """The folder of the settings as another process finds it, whatever folder that was started in."""
    return Path(asked).expanduser().absolute() if asked else None


def start_sampler(recipe: Recipe, config: HfConfig, folder: Path) -> Sampler:
    """Starts vLLM on the model folder, or finds the server. On a CPU it loads while we go on."""
    section = config.vllm
    device = pick_device(config.device)
    cuda = device.type == "cuda"
    level = 1 if section.sleep and (cuda or section.mode == "server") else 0
    if section.mode == "server":
        return Server(section.url, section.patience, sleep_level=level)
    options = engine_options(recipe, config, folder, cuda=cuda)
    environment = host_environment(
        os.environ,
        cuda=(device.index or 0) if cuda else None,
        threads=config.threads or physical_cores(),
        cache=section.cpu_cache,
        processes=spread(options),
    )
    descriptor, name = tempfile.mkstemp(prefix="grpokit-vllm-", suffix=".log")
    os.close(descriptor)
    start = Start(
        options=options,
        environment=environment,
        log=Path(name),
        patience=section.patience,
        sleep_level=level,
    )
    engine = Engine(start)
    if cuda:
        engine.ready()  # vLLM measures the GPU's free memory, so nobody else may take some
    return engine


def join(
    recipe: Recipe, config: HfConfig, policy: Policy, sampler: Sampler, folder: Path
) -> Rollouts:
    """The policy with its sampler."""
    section = config.vllm
    adapter = by_adapter(recipe, config, cuda=policy.device.type == "cuda")
    size = sum(weight.numel() for weight in policy.model.parameters()) * 4
    if adapter:
        size = sum(weight.numel() for weight in policy.weights.values()) * 4
    return Rollouts(
        policy=policy,
        sampler=sampler,
        sync=Sync(
            scratch=Scratch.make(weights_folder(section.folder), size),
            dtype=policy.compute,
            adapter=adapter,
        ),
        config=section,
        mode=logprobs_mode(sampling_of(recipe)),
        window=window(recipe, config, folder),
    )
