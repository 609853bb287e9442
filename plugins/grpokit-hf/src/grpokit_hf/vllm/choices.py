"""What follows from a recipe for vLLM; no torch, no vLLM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from grpokit.api import Recipe, Sampling

if TYPE_CHECKING:
    from grpokit_hf.config import HfConfig

__all__ = [
    "RANKS",
    "LogprobsMode",
    "by_adapter",
    "compute_type",
    "cuts",
    "engine_rank",
    "logprobs_mode",
    "logprobs_usable",
]

LogprobsMode = Literal["processed_logprobs", "raw_logprobs"]

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Adapter ranks that vLLM makes room for."""


def by_adapter(recipe: Recipe, config: HfConfig, *, cuda: bool) -> bool:
    """Whether the adapter is handed over; else whole weights are.

    On a CPU an adapter costs vLLM more than the model itself: SmolLM2 with one took three times the
    processor time of the same weights with the adapter in them.
    """
    section = config.vllm
    if recipe.model.lora is None:
        return False
    if section.sync != "auto":
        return section.sync == "adapter"
    return cuda or section.mode == "server" or config.parallel == "fsdp"


def engine_rank(rank: int) -> int:
    """The rank that vLLM makes room for where an adapter has ``rank``."""
    return next((size for size in RANKS if size >= rank), rank)


def compute_type(recipe: Recipe) -> str:
    """The type that the policy computes in; vLLM computes in the same."""
    if recipe.model.dtype in ("float32", "bfloat16"):
        return recipe.model.dtype
    return "float32" if recipe.model.lora is None else "bfloat16"


def cuts(sampling: Sampling) -> bool:
    """Whether top-k, top-p or min-p take tokens out of the distribution."""
    return sampling.top_p < 1.0 or sampling.top_k > 0 or sampling.min_p > 0.0


def logprobs_mode(sampling: Sampling) -> LogprobsMode:
    """The engine's ``logprobs_mode`` under which such sampling gets the log-probs that it needs.

    They are wanted at the sampling temperature and before anything is cut (``Completion.logprobs``).
    vLLM's *processed* ones are at the temperature but after the cut, its *raw* ones before the cut
    but at temperature 1. So an engine for sampling with a cut answers with raw ones.
    """
    return "raw_logprobs" if cuts(sampling) else "processed_logprobs"


def logprobs_usable(sampling: Sampling, mode: LogprobsMode) -> bool:
    """Whether an engine in ``mode`` gives the log-probs that are wanted; where not, none are kept.

    None come for a cut at a temperature that is neither 0 nor 1.
    """
    if mode == "raw_logprobs":
        return sampling.temperature in (0.0, 1.0)
    return sampling.temperature == 0.0 or not cuts(sampling)
