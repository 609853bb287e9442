"""Completions: from vLLM on the model's own weights, or from the model's ``generate``.

Every row has its own seed in both, so that neither the other rows nor their order change what it
draws (up to rounding). The log-probability of a token is that of the distribution it was drawn
from, at the sampling temperature.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor

from grpokit.api import GrpokitError, OutOfMemoryError, Sampling, ShouldStop
from grpokit_hf.nn.decode import Drawn, Rows, left_pad
from grpokit_hf.nn.pick import pick, row_uniforms
from grpokit_unsloth.policy import UnslothPolicy
from grpokit_unsloth.start import first_line, quiet

__all__ = ["by_generate", "by_vllm", "rest", "stop"]

log = logging.getLogger("grpokit.unsloth")


def by_vllm(
    policy: UnslothPolicy,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
) -> list[Drawn]:
    """One completion a prompt from ``fast_generate``. The adapter goes along with the request: its
    tensors are handed over as they are, nothing is merged and no weight is written to a file.

    Raises:
        OutOfMemoryError: the GPU's memory ran out. (vLLM keeps the requests, so less at once is no way on.)
        GrpokitError: vLLM does not take the adapter, or failed.
    """
    from grpokit_hf.vllm.choices import logprobs_usable
    from grpokit_hf.vllm.requests import sampling_params, to_drawn

    stops = policy.tokenizer.ends.ids
    torch.cuda.empty_cache()
    # The border to foreign code: an engine may raise anything.
    try:
        with quiet("generate"):
            outputs = policy.model.fast_generate(
                [{"prompt_token_ids": list(ids)} for ids in prompts],
                sampling_params=[sampling_params(sampling, seed, stops) for seed in seeds],
                lora_request=lora_request(policy),
                use_tqdm=False,
            )
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemoryError(
            "vLLM ran out of memory",
            place=f"step {sampling.step}",
            remedy="lower backend.with.gpu_memory_utilization or backend.with.generate_rows",
        ) from error
    except Exception as error:
        raise GrpokitError(
            f"vLLM failed: {first_line(error)}",
            place=f"step {sampling.step}",
            remedy="resume from the last checkpoint; with `backend.with.fast_inference: false` the "
            "model itself samples",
        ) from error
    usable = logprobs_usable(sampling, "processed_logprobs")  # the mode of Unsloth's engine
    return [to_drawn(output, with_logprobs=usable) for output in outputs]


def lora_request(policy: UnslothPolicy) -> Any:
    """The adapter as it is now. It has a new number each time, so that no keys cached under an older
    adapter are used. Unsloth writes the adapter's shape, no weights, into the folder that it is given.
    """
    if not policy.adapter:
        return None
    with tempfile.TemporaryDirectory(prefix="grpokit-unsloth-") as scratch:
        return policy.model.load_lora(scratch, load_tensors=True)


def rest(policy: UnslothPolicy) -> None:
    """Gives the memory of vLLM's cache to the update; the next ``fast_generate`` wakes it."""
    with quiet("sleep"):
        policy.engine.sleep(1)


def stop(engine: Any) -> None:
    """Ends vLLM, so that another can start in this process: an evaluation opens one model after the other."""
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

    # The border to foreign code. What was sampled is safe by now, so a failure is only told.
    try:
        with quiet("end"):
            engine.llm_engine.engine_core.shutdown()
            cleanup_dist_env_and_memory()
    except Exception as error:  # noqa: BLE001
        log.warning("vLLM did not end well, its memory may be held: %s", first_line(error))


def by_generate(
    policy: UnslothPolicy,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
    should_stop: ShouldStop | None = None,
) -> list[Drawn]:
    """The same from the model's own ``generate``, with whatever cache and kernels it brings."""
    ids_NL, valid_NL = left_pad(prompts, policy.tokenizer.pad_id, policy.device)
    draw = Draw(
        Rows(
            row_uniforms(seeds, sampling.max_tokens).to(policy.device),
            policy.tokenizer.ends.ids,
        ),
        sampling,
        should_stop,
    )
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=sampling.max_tokens,
        eos_token_id=sorted(policy.tokenizer.ends.ids),
        pad_token_id=policy.tokenizer.pad_id,
    )
    try:
        with quiet("generate"), torch.no_grad():
            policy.model.generate(
                input_ids=ids_NL,
                attention_mask=valid_NL,
                generation_config=settings,
                logits_processor=[draw],
            )
    finally:
        policy.ready_to_train()
    return draw.rows.drawn


class Draw(LogitsProcessor):  # type: ignore[misc]
    """Chooses each row's next token with the row's own random numbers; ``generate`` only obeys."""

    def __init__(self, rows: Rows, sampling: Sampling, should_stop: ShouldStop | None) -> None:
        self.rows = rows
        self.sampling = sampling
        self.should_stop = should_stop

    def __call__(self, input_ids: Any, scores_NV: Tensor) -> Tensor:
        if self.should_stop is not None:
            self.should_stop()
        token_N, logprob_N = pick(scores_NV.float(), self.rows.uniforms(), self.sampling)
        self.rows.record(token_N, logprob_N)
        chosen_NV = torch.full_like(scores_NV, -torch.inf)
        return chosen_NV.scatter_(1, token_N[:, None], 0.0)
