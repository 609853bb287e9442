"""The update as a textbook would write it, to judge the fast paths by.

The model is loaded anew and is nobody's but transformers': eager attention, whole padded rows, all
logits, autograd through everything, float64. An adapter is not a module here but a change of the
weights, W + s B A. Only the algorithm's loss is the one that is under test's.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import AutoModelForCausalLM

from grpokit.api import (
    Advantages,
    Algorithm,
    Completion,
    LossInputs,
    LossTotals,
    Prompt,
    Rollout,
    Sampling,
    Scores,
    Selection,
)
from grpokit_hf.nn.batch import Row, make_rows, minibatches

__all__ = ["Drawn", "PlainUpdate", "draw", "load_plain"]


@dataclass(frozen=True)
class Drawn:
    """A rollout batch that nobody sampled, and what the algorithm makes of it."""

    rollout: Rollout
    advantages: Advantages
    selection: Selection


def draw(
    algorithm: Algorithm,
    seed: int,
    *,
    vocabulary: int,
    prompts: int = 3,
    group: int = 4,
    longest: int = 20,
    longest_prompt: int = 40,
    alike: int = 0,
    branching: float = 0.0,
    temperature: float = 1.0,
    totals: Sequence[Sequence[float]] | None = None,
) -> Drawn:
    """Prompts and completions of all lengths, among them completions of one token and a dead group.

    All prompts begin with the same ``alike`` tokens, and a share ``branching`` of completions as another
    of their group does.
    """
    lot = random.Random(seed)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(lot.randrange(vocabulary) for _ in range(count))

    def completion(others: Sequence[Completion]) -> Completion:
        tokens = ids(lot.choice([1, longest, lot.randint(1, longest)]))
        if branching and others and lot.random() < branching:
            other = lot.choice(others).token_ids
            tokens = (*other[: lot.randint(1, len(other))], *tokens[lot.randint(0, 4) :])[:longest]
        finish = lot.choice(["stop", "length"])
        return Completion(token_ids=tokens, text="", finish=finish)  # type: ignore[arg-type]

    def completions() -> tuple[Completion, ...]:
        made: list[Completion] = []
        for _ in range(group):
            made.append(completion(made))
        return tuple(made)

    if totals is None:
        table = [[float(lot.randint(0, 2)) for _ in range(group)] for _ in range(prompts)]
        table[0][:2] = [0.0, 1.0]
        if prompts > 1:
            table[lot.randrange(1, prompts)] = [1.0] * group
        totals = table
    begin = ids(alike)
    lengths = [
        lot.choice([1, longest_prompt, lot.randint(1, longest_prompt)]) for _ in range(prompts)
    ]
    rollout = Rollout(
        prompts=tuple(Prompt(id=str(p), index=p, row={}, messages=()) for p in range(prompts)),
        prompt_ids=tuple((*begin, *ids(length)) for length in lengths),
        completions=tuple(completions() for _ in range(prompts)),
        sampling=Sampling(group=group, max_tokens=longest, temperature=temperature),
    )
    scores = Scores(rewards={"r": totals}, components={}, total=totals)
    advantages = algorithm.advantages(rollout, scores)
    return Drawn(rollout, advantages, algorithm.select(rollout, scores, advantages))


def load_plain(folder: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The weights as ``dtype`` holds them, computing in float64."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    assert not any("forward" in module.__dict__ for module in model.modules())
    plain: nn.Module = model.double().eval().requires_grad_(requires_grad=False)
    return plain


@dataclass
class PlainUpdate:
    """All optimiser steps on one rollout batch, by plain gradient descent.

    Attributes:
        weights: trained weights by the backend's names; moved by ``run``.
        scale: of the adapter.
        gradients: those of each optimiser step, clipped, in order.
    """

    model: nn.Module
    algorithm: Algorithm
    weights: dict[str, Tensor]
    scale: float = 1.0
    lr: float = 1e-2
    max_norm: float = 10.0
    reference: Mapping[str, Tensor] | None = None
    gradients: list[dict[str, Tensor]] = field(default_factory=list)

    def run(self, drawn: Drawn, *, iterations: int, parts: int, seed: int) -> None:
        """The steps of ``drawn``; ``seed`` is the run's, and the step is 1."""
        rows = make_rows(drawn.rollout, drawn.advantages, drawn.selection)
        temperature = drawn.rollout.sampling.temperature
        with torch.no_grad():
            old = [self.values(self.weights, [row], temperature)[0][0] for row in rows]
        for iteration in range(iterations):
            for part in minibatches(rows, parts, seed, 1, iteration):
                if any(row.weight for row in part):
                    self.step(part, len(rows), drawn, [old[row.index] for row in part])

    def step(self, part: Sequence[Row], count: int, drawn: Drawn, old: Sequence[Tensor]) -> None:
        leaves = {name: value.double().requires_grad_() for name, value in self.weights.items()}
        sampling = drawn.rollout.sampling
        logprobs_NT, entropy_NT = self.values(leaves, part, sampling.temperature)
        mask_NT = torch.zeros(logprobs_NT.shape)
        old_NT = torch.zeros_like(logprobs_NT)
        for n, row in enumerate(part):
            mask_NT[n, : len(row.tokens)] = 1
            old_NT[n, : len(row.tokens)] = old[n][: len(row.tokens)]
        inputs = LossInputs(
            logprobs_NT=logprobs_NT,
            old_logprobs_NT=old_NT,
            ref_logprobs_NT=self.referred(part, sampling.temperature),
            sampler_logprobs_NT=None,
            entropy_NT=entropy_NT,
            advantages_N=torch.tensor([row.advantage for row in part]),
            weights_N=torch.tensor([row.weight for row in part]),
            truncated_N=torch.tensor([row.truncated for row in part]),
            mask_NT=mask_NT.double(),
            totals=LossTotals(
                rows=max(1, round(drawn.selection.denominator * len(part) / count)),
                tokens=sum(len(row.tokens) for row in part),
                max_tokens=sampling.max_tokens,
            ),
        )
        loss = self.algorithm.loss(inputs).loss
        found = torch.autograd.grad(loss, list(leaves.values()))
        norm = torch.stack([value.norm() for value in found]).norm()
        factor = min(1.0, float(self.max_norm / (norm + 1e-6)))
        gradient = {name: value * factor for name, value in zip(leaves, found, strict=True)}
        self.gradients.append(gradient)
        self.weights = {
            name: leaves[name].detach() - self.lr * value for name, value in gradient.items()
        }

    def referred(self, part: Sequence[Row], temperature: float) -> Tensor | None:
        if self.reference is None:
            return None
        with torch.no_grad():
            return self.values(self.reference, part, temperature)[0]

    def values(
        self, weights: Mapping[str, Tensor], rows: Sequence[Row], temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Log-probs and entropies of the rows' tokens, (N, T), zero behind a row's end."""
        full = [[*row.prompt_ids, *row.tokens] for row in rows]
        longest = max(map(len, full))
        ids_NL = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in full])
        real_NL = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in full])
        out = functional_call(
            self.model,
            self.merged(weights),
            kwargs={"input_ids": ids_NL, "attention_mask": real_NL, "use_cache": False},
        )
        assert out.logits.dtype == torch.float64
        log_p_NLV = torch.log_softmax(out.logits / temperature, -1)
        entropy_NL = -(log_p_NLV.exp() * log_p_NLV).sum(-1)
        columns = max(len(row.tokens) for row in rows)
        logprobs, entropies = [], []
        for n, row in enumerate(rows):
            start, count = len(row.prompt_ids) - 1, len(row.tokens)
            here = slice(start, start + count)
            chosen_T = log_p_NLV[n, here].gather(1, torch.tensor(row.tokens)[:, None])[:, 0]
            logprobs.append(nn.functional.pad(chosen_T, (0, columns - count)))
            entropies.append(nn.functional.pad(entropy_NL[n, here], (0, columns - count)))
        return torch.stack(logprobs), torch.stack(entropies)

    def merged(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The model's weights by its own names, those that train in place of those that were loaded."""
        own = dict(self.model.named_parameters())
        found: dict[str, Tensor] = {}
        for name, value in weights.items():
            if "lora_B" in name:
                continue
            if "lora_A" not in name:
                found[name] = value.double()
                continue
            up = weights[name.replace("lora_A", "lora_B")].double()
            base = name.removeprefix("base_model.model.").replace("lora_A.default.", "")
            found[base] = own[base] + self.scale * up @ value.double()
        assert found.keys() <= own.keys()
        return found
