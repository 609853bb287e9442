"""Capabilities: what a component may need and a backend may provide. One list, checked in plan."""

from __future__ import annotations

__all__ = ["CAPABILITIES", "Capability"]

Capability = str

CAPABILITIES: dict[Capability, str] = {
    "logprobs": "log-probabilities of sampled tokens under the policy",
    "old-logprobs": "several optimiser steps a rollout batch, with the old policy's log-probs",
    "reference": "log-probabilities under a frozen reference policy",
    "entropy": "per-token entropy of the policy",
    "token-statistics": "what the policy says about each token of a completion, for rewards",
    "continuations": "log-probabilities of other texts in the place of an answer, for rewards",
    "custom-loss": "the algorithm's own loss function is what is minimised",
    "exact-resume": "a resumed run equals the uninterrupted one bit by bit",
    "lora": "low-rank adapters",
    "full": "full fine-tuning",
    "reset": "policy, optimiser or reference policy can begin anew in the course of a run",
    "draws-ahead": "completions of the next step are drawn while the model trains",
    "until-answered": "a completion can end where its answer is complete",
    "seeded-rows": "each completion has its own seed",
    "distributed": "several processes share a run",
}
