"""The borders to vLLM's own types: sampling parameters in, drawn completions out.

Used by every backend that samples with vLLM. vLLM is imported when a function is called.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from grpokit.api import GrpokitError, NonFiniteError, Sampling
from grpokit_hf.nn.decode import Drawn

__all__ = ["answer_of", "drawn", "request_settings", "sampling_params", "to_drawn"]


def request_settings(sampling: Sampling, seed: int, stop_ids: Iterable[int]) -> dict[str, Any]:
    """One completion's settings, as ``SamplingParams`` and the server's JSON both name them.

    The ends are ours alone (``ignore_eos``): what vLLM reads from the tokenizer's or the generation
    config may name another token. Text is not made: our own tokenizer decodes.
    """
    return {
        "n": 1,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "seed": seed,
        "stop_token_ids": sorted(stop_ids),
        "ignore_eos": True,
        "skip_special_tokens": False,
        "logprobs": 0,  # of the sampled token and no other
    }


def sampling_params(sampling: Sampling, seed: int, stop_ids: Iterable[int]) -> Any:
    """``vllm.SamplingParams`` of one completion; ``seed`` is the row's own (``derive_seed``)."""
    from vllm import SamplingParams

    return SamplingParams(**request_settings(sampling, seed, stop_ids), detokenize=False)


def answer_of(request_output: Any) -> tuple[list[int], list[float], str | None]:
    """Tokens, log-probs and the reason of the end, of a finished ``vllm.RequestOutput``."""
    output = request_output.outputs[0]
    tokens = [int(token) for token in output.token_ids]
    found = output.logprobs or ()
    logprobs = [float(at[token].logprob) for token, at in zip(tokens, found, strict=False)]
    return tokens, logprobs, output.finish_reason


def to_drawn(request_output: Any, *, with_logprobs: bool = True) -> Drawn:
    """The one completion of a finished ``vllm.RequestOutput``.

    ``logprobs`` is those of the sampler as the engine's ``logprobs_mode`` gives them; empty without
    ``with_logprobs``. A broken model shows here first: NaN logits give NaN log-probs.
    """
    return drawn(*answer_of(request_output), with_logprobs=with_logprobs)


def drawn(
    tokens: list[int], logprobs: list[float], reason: str | None, *, with_logprobs: bool
) -> Drawn:
    """A completion from either engine's answer, checked."""
    if reason not in ("stop", "length"):
        raise GrpokitError(
            f"vLLM broke a completion off after {len(tokens)} tokens ({reason})",
            remedy="see that nobody else puts the engine to sleep or ends its requests, and resume",
        )
    if len(logprobs) != len(tokens) or not all(map(math.isfinite, logprobs)):
        raise NonFiniteError(
            f"vLLM drew {len(tokens)} tokens with log-probabilities that are missing or not numbers",
            remedy="lower optim.lr, or set model.dtype: float32; "
            "if it happens at the first step, vLLM cannot compute this model",
        )
    return Drawn(tokens, logprobs if with_logprobs else [], ended=reason == "stop")
