"""Whether what was written is what was trained, and is not the base model.

Compared are log-probabilities of the next token, in float32 arithmetic: the largest absolute
difference among likely tokens, and the expected one under the trained model. What is allowed is what
the rounding of the written numbers may make.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grpokit.api import CheckpointError
from grpokit_hf.export.proof import Reading, Reference, fingerprint

__all__ = ["ALLOWED", "judge"]

LIKELY = 1e-3
"""Tokens that the trained model gives at least this probability count for the largest difference."""
ALLOWED = {
    "float32": (2e-3, 1e-4),
    "float16": (0.2, 0.02),
    "bfloat16": (1.0, 0.1),
    "q8_0": (1.0, 0.1),
}
"""Type -> largest, and expected, difference that rounding may make."""
SHARE = 0.25
"""The expected difference may be at most this share of what training moved."""


@dataclass(frozen=True, kw_only=True)
class Distance:
    """Largest and expected (under the trained model) absolute difference of log-probs."""

    largest: float
    mean: float

    def as_dict(self) -> dict[str, float]:
        return {"max": self.largest, "mean": self.mean}


def distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Distance:
    """Over all positions of all prompts; what is likely or expected is so under ``first``."""
    a_TV, b_TV = torch.cat(list(first)), torch.cat(list(second))
    gap_TV = (a_TV - b_TV).abs().masked_fill(a_TV == b_TV, 0)  # -inf - -inf is no number
    likely_TV = a_TV >= math.log(LIKELY)
    expected_T = (a_TV.exp() * gap_TV).masked_fill(a_TV == -math.inf, 0).sum(-1)
    return Distance(largest=float(gap_TV[likely_TV].max()), mean=float(expected_T.mean()))


def judge(found: Reference, written: Reading, kind: str, place: str) -> dict[str, Any]:
    """The proof as data.

    Raises:
        CheckpointError: it fails; nothing is exported then.
    """
    largest, expected = ALLOWED[kind]
    off = distance(found.trained.logprobs, written.logprobs)
    moved = distance(found.trained.logprobs, found.base.logprobs)
    answers = compare_answers(found.trained, written, largest)
    weights = compare_weights(found, written, place)
    refuse(not written.loader, "transformers reads other tokens from the written tokenizer", place)
    judge_distance(off, moved, kind, place)
    refuse(
        answers["other"] > 0,
        f"{answers['other']} of {answers['prompts']} greedy answers differ from the trained model's",
        place,
    )
    proof = {
        "format": 1,
        "type": kind,
        "positions": sum(len(each) for each in found.trained.logprobs),
        "difference": {**off.as_dict(), "allowed": {"max": largest, "mean": expected}},
        "moved": moved.as_dict(),
        "answers": answers,
        "weights": weights,
        "tokenizer": written.loader,
    }
    return {**proof, "lines": sentences(proof)}


def judge_distance(off: Distance, moved: Distance, kind: str, place: str) -> None:
    """The written model must be close to the trained one, by far closer than that is to its base."""
    largest, expected = ALLOWED[kind]
    refuse(
        not math.isfinite(off.mean),
        "what was written, or the trained model, gives probabilities that are no numbers",
        place,
        f"if {kind} is too narrow for the weights, choose a wider type; else another checkpoint",
    )
    refuse(
        moved.largest == 0,
        "the trained model says the same as its base on every prompt, so training changed nothing",
        place,
    )
    refuse(
        not (off.largest <= largest and off.mean <= expected),
        f"log-probabilities of what was written differ from the trained model's by at most "
        f"{off.largest:.3g} and {off.mean:.3g} in expectation ({largest:g} and {expected:g} are "
        f"allowed for {kind})",
        place,
    )
    refuse(
        not off.mean <= SHARE * moved.mean,
        f"rounding to {kind} changes the model by {off.mean:.3g} on average, training changed it "
        f"by {moved.mean:.3g}: most of what was learnt would be lost",
        place,
        "choose a finer type (--dtype float32, --quantize f32)",
    )


def refuse(wrong: bool, fact: str, place: str, remedy: str = "") -> None:
    if wrong:
        raise CheckpointError(
            f"the export is not proved: {fact}",
            place=place,
            remedy=remedy or "nothing was written; report it if the run itself evaluates well",
        )


def compare_answers(trained: Reading, written: Reading, allowed: float) -> dict[str, int]:
    """Equal answers; those that part at a tie within the allowed difference; and others."""
    equal = ties = other = 0
    rows = zip(trained.answers, written.answers, trained.logprobs, strict=True)
    for wanted, got, logprobs_TV in rows:
        if wanted == got:
            equal += 1
            continue
        place = next((i for i, (a, b) in enumerate(zip(wanted, got, strict=False)) if a != b), None)
        gap = None
        if place is not None:
            gap = float(logprobs_TV[place, wanted[place]] - logprobs_TV[place, got[place]])
        if gap is not None and gap <= 2 * allowed:
            ties += 1
        else:
            other += 1
    return {"prompts": len(trained.answers), "equal": equal, "ties": ties, "other": other}


def compare_weights(found: Reference, written: Reading, place: str) -> dict[str, Any]:
    """Which tensors differ from the base; where an adapter was merged, these and no others must."""
    before, after = found.base.weights, written.weights
    if not after:
        return {}
    refuse(
        before.keys() != after.keys(), "the written model has other weights than its base", place
    )
    changed = {name for name in before if before[name] != after[name]}
    refuse(not changed, "every written weight is that of the base model", place)
    strange = sorted(changed - found.adapted)
    refuse(bool(strange), f"{strange[:1]} changed, which was not trained", place)
    lost = sorted(found.adapted - changed)
    whole = found.adapted == before.keys()
    refuse(
        bool(lost) and not whole,
        f"{len(lost)} of {len(found.adapted)} trained weights are those of the base model "
        f"({lost[:1]})",
        place,
        "choose a finer type with --dtype float32",
    )
    return {
        "tensors": len(before),
        "changed": len(changed),
        "base": fingerprint(before),
        "written": fingerprint(after),
    }


def sentences(proof: dict[str, Any]) -> list[str]:
    """The proof for people."""
    answers, off, moved = proof["answers"], proof["difference"], proof["moved"]
    ties = f", {answers['ties']} part at a tie" if answers["ties"] else ""
    allowed, kind = off["allowed"], proof["type"]
    equal = f"{answers['equal']} of {answers['prompts']}"
    near = f"{off['max']:.2g} among likely tokens and {off['mean']:.2g} in expectation"
    bounds = f"{allowed['max']:g} and {allowed['mean']:g}"
    lines = [
        f"read back: {equal} greedy answers are the trained model's{ties}",
        f"log-probabilities are off by at most {near} (allowed for {kind}: {bounds})",
        f"distance of the trained model from its base: {moved['max']:.2g} and {moved['mean']:.2g}",
    ]
    if weights := proof["weights"]:
        lines.append(f"{weights['changed']} of {weights['tensors']} weights differ from the base's")
    return lines
