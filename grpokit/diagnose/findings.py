"""Every finding: what it means, when it is said, and what to do. docs/reference/diagnostics.md lists them."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["FINDINGS", "Kind"]

KEY = re.compile(
    r"\b(?:model|rollout|optim|scoring|train|eval|algorithm|backend)\.[a-z_.]*[a-z]"
    r"|(?<=`)(?:rewards|dataset)(?=`)"
)
"""A key of the recipe in a remedy."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One finding.

    Attributes:
        meaning: what it says of the run.
        warn: when it is a warning (or a note); empty if never.
        stop: when it is a reason to stop; empty if never.
        remedy: what to do, with the keys of the recipe.
    """

    meaning: str
    remedy: str
    warn: str = ""
    stop: str = ""

    @property
    def keys(self) -> list[str]:
        """The keys of the recipe that the remedy names, in its order."""
        return list(dict.fromkeys(KEY.findall(self.remedy)))


FINDINGS: dict[str, Kind] = {
    "reward-failures": Kind(
        meaning="a reward raised, ran out of time, or returned no finite number",
        warn="failures are 0.01 of the completions",
        stop="0.5, or no completion has a reward for 3 steps",
        remedy="failures.jsonl of the run says which reward and why; `grpokit rewards try` repeats "
        "it. Mend the reward, or raise scoring.timeout",
    ),
    "abstentions": Kind(
        meaning="every reward abstained: the completion has no total and cannot train",
        warn="0.05 of the completions",
        stop="0.5, or all of them for 3 steps",
        remedy="give `rewards` one that judges every row, or leave such rows out of `dataset`",
    ),
    "gradient-not-finite": Kind(
        meaning="the gradient is NaN or infinite, and the optimiser step is skipped",
        stop="3 steps in a row",
        remedy="lower optim.lr, and set model.dtype: float32 or bfloat16",
    ),
    "constant-reward": Kind(
        meaning="all completions get one reward, so there is nothing to learn from",
        stop="no spread at all for 30 steps, in a run that is not solved",
        remedy="`grpokit rewards try` on a good and a bad answer: the reward reads nothing, or its "
        "extractor never matches the prompt's format. Or the task is too hard: easier rows in `dataset`. Where it "
        "varied before, the policy is broken: go back to a checkpoint, and lower optim.lr",
    ),
    "constant-component": Kind(
        meaning="one of several rewards says the same of every completion, and not full marks",
        warn="spread below 0.02 for 30 steps",
        remedy="check that reward with `grpokit rewards try`, or drop it from `rewards`",
    ),
    "saturated-component": Kind(
        meaning="one of several rewards gives every completion full marks and teaches no more",
        warn="(note) spread below 0.02 for 30 steps, at 0.95 or its best",
        remedy="nothing is wrong; lower its weight in `rewards`, or drop it from the next run",
    ),
    "dead-groups-wrong": Kind(
        meaning="most groups are all wrong: the model never solves these prompts",
        warn="0.6 of the groups, and the reward does not rise",
        stop="0.9 for 50 steps",
        remedy="easier rows in `dataset`, a larger rollout.group, a reward that pays for parts, or a "
        "model that was fine-tuned on such answers. With one right answer in ten, 43 % of the groups "
        "of 8 are dead and 19 % of those of 16. Where they were "
        "solved before, go back to a checkpoint, and lower optim.lr",
    ),
    "dead-groups-right": Kind(
        meaning="most groups are all right from the start: these prompts teach nothing",
        warn="0.6 of the groups, in a run that has not gained",
        stop="0.9 for 50 steps",
        remedy="harder rows in `dataset`, or a part that draws until groups are alive "
        "(algorithm.use: dapo)",
    ),
    "solved": Kind(
        meaning="most groups are all right because the run has learned them",
        warn="(note) 0.6 of the groups, in a run that has gained",
        remedy="nothing is wrong; fewer train.steps, or harder rows in `dataset`",
    ),
    "frozen-weights": Kind(
        meaning="the gradient is exactly 0 although groups are alive: nothing trains",
        warn="0.2 of the steps",
        stop="0.7 of the steps",
        remedy="check model.lora.targets and that the completions are not all masked "
        "(truncated ones are, where the algorithm says so)",
    ),
    "entropy-collapse": Kind(
        meaning="the policy has become certain, and has earned nothing by it",
        warn="0.3 of the start's entropy, with no gain of reward since it was three times as high",
        stop="0.1 of the start's",
        remedy="lower optim.lr, set algorithm.with.epsilon_high: 0.28, rollout.temperature: 1.0, or "
        "add a divergence with algorithm.with.beta",
    ),
    "entropy-explosion": Kind(
        meaning="the policy dissolves: entropy grows and the reward falls",
        warn="2 times the start's entropy, with a reward below the start's",
        stop="4 times",
        remedy="lower optim.lr or rollout.temperature, and look at sampler_gap",
    ),
    "kl-blow-up": Kind(
        meaning="the policy has left the reference model far behind",
        warn="8 times the start's divergence and 0.5 nats a token, or 2.0 nats",
        stop="2.0 nats, with no gain of reward",
        remedy="lower optim.lr, or raise algorithm.with.beta",
    ),
    "clipping": Kind(
        meaning="the updates are larger than the clip range lets through",
        warn="0.2 of the tokens",
        stop="0.4 of the tokens",
        remedy="halve optim.lr, or set optim.iterations: 1 and fewer optim.minibatches",
    ),
    "sampler-mismatch": Kind(
        meaning="what draws and what trains are not the same policy",
        warn="0.05 nats a token, or 0.02 and 3 times the start's",
        stop="0.1 nats a token",
        remedy="the same model.dtype for both, and no quantised cache in backend.with; or correct for "
        "it with a part of the axis `mismatch`",
    ),
    "rejected-tokens": Kind(
        meaning="the correction of the sampler's log-probs throws completions away",
        warn="0.1 of the tokens",
        stop="0.5 of the tokens",
        remedy="mend the mismatch as for sampler-mismatch; or let the part `correction` in "
        "algorithm.parts truncate (cut: truncate) or judge tokens one by one (level: token), for "
        "a product over a long completion is soon out of bounds",
    ),
    "truncation": Kind(
        meaning="completions end because of their length",
        warn="0.1 of the completions; 0.5 while the reward has gained",
        stop="0.3 of the completions, with no gain of reward",
        remedy="raise rollout.max_tokens, or leave truncated ones out of the loss; where a completion "
        "never ends, check model.eos",
    ),
    "duplicates": Kind(
        meaning="a group repeats itself though the policy is far from certain",
        warn="0.35 of the completions, at 6 nats a completion or more",
        remedy="equal seeds in the sampler, or rollout.temperature, rollout.top_p and rollout.top_k "
        "that leave no choice",
    ),
    "missing-end": Kind(
        meaning="completions that have their answer do not end",
        warn="0.9 of those with the step's highest reward ran into the limit of tokens",
        remedy="check model.eos and model.chat_template; a reward for being short in `rewards`, or "
        "examples in prompt.examples, teach where to end",
    ),
    "repetition": Kind(
        meaning="completions go round in circles",
        warn="0.25 of their runs of four words stand in them already, and 0.2 more than at the start",
        stop="0.6, with no gain of reward",
        remedy="lower optim.lr, go back to a checkpoint, and add a divergence with "
        "algorithm.with.beta; where it was so from the start, check model.eos and "
        "model.chat_template",
    ),
    "answer-collapse": Kind(
        meaning="the policy says one and the same to prompts whose answers differ",
        warn="0.6 of the way from the commonest right answer's share to all, with no gain of reward",
        stop="0.9 of the way",
        remedy="go back to a checkpoint, lower optim.lr, and set rollout.temperature: 1.0; `grpokit "
        "rewards check` finds a reward that one constant answer earns",
    ),
    "format-farming": Kind(
        meaning="a helper reward is earned instead of the one that counts",
        warn="it rose by 0.3, and the other was flat for 100 steps",
        remedy="pay for the format only where the answer is right, or cut its weight in `rewards` to "
        "0.2 of the other's or less",
    ),
    "length-hacking": Kind(
        meaning="the reward is earned by length",
        warn="1.5 times the start's length, a rank correlation of 0.6 with the reward, and no better "
        "answers",
        remedy="add a length term to `rewards`, use algorithm.use: dr-grpo, and run "
        "`grpokit rewards check` against padded answers",
    ),
    "over-fitting": Kind(
        meaning="the reward rises in training and not in the evaluations",
        warn="a gap of 0.15 in two evaluations in a row, of at least four",
        stop="0.3, and the evaluations fall",
        remedy="stop, and take the checkpoint of the best evaluation; more rows in `dataset`, and "
        "`grpokit rewards check` on the answers",
    ),
    "reward-drop": Kind(
        meaning="the reward has fallen from what it was",
        warn="by a fifth of its scale and by a third from the best 20 steps",
        remedy="go back to a checkpoint from before the fall, and lower optim.lr",
    ),
    "gradient-spikes": Kind(
        meaning="single batches tear at the weights",
        warn="4 single steps of 30 beyond 3 times the usual norm and 8 robust deviations",
        remedy="lower optim.lr or optim.max_grad_norm, set model.dtype: bfloat16 or float32, and look "
        "at the rewards of those steps",
    ),
    "no-learning": Kind(
        meaning="the reward has not moved since the start although groups are alive",
        warn="less than 0.05 of its scale in 150 steps, with a slope that may be 0",
        remedy="raise optim.lr three times (a LoRA of GRPO begins at 5e-6 to 2e-5), or "
        "rollout.prompts; check model.lora.targets",
    ),
    "slow-generation": Kind(
        meaning="drawing has become slower, and completions are not longer",
        warn="less than 0.6 of the start's tokens a second",
        remedy="look for another program on the machine, or for memory that runs out; then "
        "rollout.max_tokens and backend.with",
    ),
    "slow-rewards": Kind(
        meaning="the model waits for its rewards",
        warn="0.5 of a step's time (a note from 0.2 on), and a second",
        remedy="set scoring.overlap: true, lower scoring.timeout, or mend the slowest of `rewards` "
        "(seconds/score/NAME in metrics.jsonl)",
    ),
}
"""By name, in the order in which they are shown."""
