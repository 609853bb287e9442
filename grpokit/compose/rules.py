"""Advice about a recipe's numbers: rules as data, each with level, source and remedy.

A rule looks at the checked recipe and at facts of the plan and answers with a sentence or with
nothing. Where its sources disagree, it informs rather than warns. Codes H01 to H57 keep the
numbers of the list of hyper-parameter advice that they come from.
"""

from __future__ import annotations

import math

from grpokit.compose.named_rules import NAMED_RULES
from grpokit.compose.rule import Facts, Rule
from grpokit.registry.foreign.reference import short_name
from grpokit.spec.contracts import Problem
from grpokit.spec.recipe import Recipe, RewardSection

__all__ = ["RULES", "Facts", "Rule", "advise", "learning_rate", "wilson_half_width"]

UNSLOTH = "Unsloth guide to reinforcement learning"
LECTURE = "lecture on GRPO with Qwen3-0.6B"
CPPO = "CPPO, 2503.22342"
KALOMAZE = "kalomaze's notes on GRPO"
CLUE = "Temporal Clue, OpenPipe"

FORMAT_WORDS = ("format", "length", "tags", "boxed-format")


def learning_rate(recipe: Recipe) -> float:
    """The peak learning rate: the recipe's, else 5e-6 with adapters and 1e-6 without."""
    if recipe.optim.lr is not None:
        return recipe.optim.lr
    return 5e-6 if recipe.model.lora else 1e-6


def wilson_half_width(n: int, share: float = 0.5, z: float = 1.959964) -> float:
    """Half the width of the 95 % Wilson interval; how far an accuracy on n items can be off."""
    return z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))


def _small_group(facts: Facts) -> str:
    group = facts.recipe.rollout.group
    return f"groups of {group}: with fewer than 8 the advantages are noisy" if group < 8 else ""


def _group_band(facts: Facts) -> str:
    group = facts.recipe.rollout.group
    ideal = 16 <= group <= 32 or group < 8
    return "" if ideal else f"groups of {group}; 16 to 32 are called ideal where compute allows"


def _few_steps(facts: Facts) -> str:
    steps = facts.recipe.train.steps
    if steps >= 300:
        return ""
    return f"{steps} steps; 100 to 200 are usual, 300 and more are advised for hard tasks"


def _few_rows(facts: Facts) -> str:
    rows = facts.arithmetic.rows
    few = rows is not None and rows < 100
    return f"{rows} rows; at least 500 are advised (16 can already help)" if few else ""


def _some_rows(facts: Facts) -> str:
    rows = facts.arithmetic.rows
    some = rows is not None and 100 <= rows < 500
    return f"{rows} rows; at least 500 are advised" if some else ""


def _temperature(facts: Facts) -> str:
    value = facts.recipe.rollout.temperature
    return "" if 0.6 <= value <= 1.4 else f"temperature {value:g}; 0.6 to 1.4 has been used"


def _lr(facts: Facts) -> str:
    value = learning_rate(facts.recipe)
    if 1e-6 <= value <= 6e-6:
        return ""
    return f"learning rate {value:g}; large models were trained with 1e-6 to 6e-6"


def _schedule(facts: Facts) -> str:
    value = facts.recipe.optim.schedule
    poor = value in ("linear", "cosine")
    return f"schedule {value}; a constant rate after a warm-up worked better" if poor else ""


def _grad_norm(facts: Facts) -> str:
    value = facts.recipe.optim.max_grad_norm
    return f"gradients are clipped at {value:g}; 0.2 is advised" if value > 0.2 else ""


def _epochs(facts: Facts) -> str:
    numbers = facts.arithmetic
    if numbers.rows is None or numbers.epochs is None:
        return ""
    epoch = math.ceil(numbers.rows / numbers.prompts_per_step)
    return (
        f"{numbers.rows} rows at {numbers.prompts_per_step} a step are {epoch} steps an epoch; "
        f"this run makes {numbers.epochs:.3g} epochs"
    )


def _thinking_small(facts: Facts) -> str:
    if facts.parameters is None or facts.parameters >= 1.5e9:
        return ""
    tagged = any("tags" in reward.with_.values() for reward in facts.recipe.rewards)
    prompt = facts.recipe.prompt
    asked = prompt.use == "think-answer" or "<answer>" in f"{prompt.system}{prompt.template}"
    if not asked and not tagged:
        return ""
    return f"{facts.parameters / 1e9:.2f}B weights; below 1.5B models often fail to write tags"


def _epsilon(facts: Facts) -> str:
    value = facts.recipe.algorithm.with_.get("epsilon")
    usual = value is None or value == 0.2 or facts.recipe.algorithm.use != "grpo"
    return "" if usual else f"epsilon {value}; 0.2 is usual"


def _beta(facts: Facts) -> str:
    value = facts.recipe.algorithm.with_.get("beta", 0.0)
    if not isinstance(value, int | float) or value <= 0.04:
        return ""
    return f"beta {value:g}; 0 to 0.04 has been used"


def _efficiency(facts: Facts) -> str:
    algorithm = facts.recipe.algorithm
    settings = [algorithm.with_, *(part.with_ for part in algorithm.parts.values())]
    if not any(given.get("metric") == "efficiency" for given in settings):
        return ""
    return (
        "metric efficiency: rewards of 0 and 1 are erased where as many answers are right as are kept, "
        "and of negative totals the longest are kept"
    )


def _short(facts: Facts) -> str:
    value = facts.recipe.rollout.max_tokens
    return f"completions end at {value} tokens; reasoning needs 512 or more" if value < 512 else ""


def _is_format(reward: RewardSection) -> bool:
    name = reward.use.rpartition("/")[2]
    return any(word in name for word in FORMAT_WORDS)


def correct_reward(recipe: Recipe) -> str:
    """Name of the training reward that means "correct": ``eval.correct``, else the first one."""
    return recipe.eval.correct or reward_name(recipe.rewards[0])


def reward_name(reward: RewardSection) -> str:
    """A reward's name in metrics."""
    return reward.name or short_name(reward.use)


def _weights(facts: Facts) -> str:
    rewards = facts.recipe.rewards
    forms = [r for r in rewards if _is_format(r) and r.weight > 0]
    rest = [r.weight for r in rewards if not _is_format(r)]
    if not forms or not rest:
        return ""
    heaviest = max(forms, key=lambda reward: reward.weight)
    if max(rest) > heaviest.weight:
        return ""
    name = reward_name(heaviest)
    return f"{name} weighs {heaviest.weight:g}, correctness only {max(rest):g}"


def _uneven(facts: Facts) -> str:
    rows, parts = facts.arithmetic.completions_per_step, facts.recipe.optim.minibatches
    if rows % parts == 0:
        return ""
    return f"{rows} completions cut into {parts} parts leave optimiser steps of unequal size"


def _questions(facts: Facts) -> int | None:
    limit, rows = facts.recipe.eval.limit, facts.eval_rows
    if facts.recipe.eval.dataset is None or (limit is None and rows is None):
        return None
    return min(n for n in (limit, rows) if n is not None)


def _few_questions(facts: Facts) -> str:
    n = _questions(facts)
    if n is None or n > 100:
        return ""
    return f"{n} held-out questions: an accuracy of 50 % is known to +-{_points(n)} points"


def _some_questions(facts: Facts) -> str:
    n = _questions(facts)
    if n is None or not 100 < n < 1319:
        return ""
    return f"{n} held-out questions: an accuracy of 50 % is known to +-{_points(n)} points"


def _points(n: int) -> str:
    return f"{100 * wilson_half_width(n):.1f}"


def _lora(facts: Facts) -> str:
    lora = facts.recipe.model.lora
    if lora is None or lora.rank <= lora.alpha <= 4 * lora.rank:
        return ""
    return f"alpha {lora.alpha:g} with rank {lora.rank}; alpha is usually 1 to 4 times the rank"


def _dropout(facts: Facts) -> str:
    lora = facts.recipe.model.lora
    if lora is None or lora.dropout == 0:
        return ""
    return f"dropout {lora.dropout:g}: the policy that trains is not the one that sampled"


def _warmup(facts: Facts) -> str:
    optim = facts.recipe.optim
    if optim.schedule == "constant" or optim.warmup > 0:
        return ""
    return "no warm-up; a tenth of the steps is usual"


def _many_passes(facts: Facts) -> str:
    value = facts.recipe.optim.iterations
    return f"{value} passes over each rollout batch; 1 or 2 are usual" if value > 2 else ""


def _inert_clip(facts: Facts) -> str:
    optim = facts.recipe.optim
    if optim.iterations * optim.minibatches > 1:
        return ""
    return "one optimiser step a rollout batch: the ratio is 1, so clipping never acts"


RULES: tuple[Rule, ...] = (
    Rule(
        id="H01",
        level="warning",
        key="rollout.group",
        source=f"{LECTURE}; {UNSLOTH}",
        check=_small_group,
        remedy="--set rollout.group=8",
    ),
    Rule(id="H02", level="info", key="rollout.group", source=LECTURE, check=_group_band),
    Rule(
        id="H03", level="info", key="train.steps", source=f"{LECTURE}; {UNSLOTH}", check=_few_steps
    ),
    Rule(
        id="H04",
        level="warning",
        key="dataset",
        source=f"{UNSLOTH}; {CLUE}",
        check=_few_rows,
        remedy="add rows, or watch the held-out accuracy for memorising",
    ),
    Rule(id="H04", level="info", key="dataset", source=UNSLOTH, check=_some_rows),
    Rule(
        id="H05",
        level="info",
        key="rollout.temperature",
        source=f"{LECTURE}; {CPPO}; POLARIS",
        check=_temperature,
    ),
    Rule(id="H06", level="info", key="optim.lr", source=f"{LECTURE}; {CPPO}; {CLUE}", check=_lr),
    Rule(id="H07", level="info", key="optim.schedule", source=KALOMAZE, check=_schedule),
    Rule(id="H08", level="info", key="optim.max_grad_norm", source=KALOMAZE, check=_grad_norm),
    Rule(id="H11", level="info", key="train.steps", source=UNSLOTH, check=_epochs),
    Rule(
        id="H12",
        level="warning",
        key="model.id",
        source=UNSLOTH,
        check=_thinking_small,
        remedy="use a larger model, or a simpler format such as `prompt: {use: boxed}`",
    ),
    Rule(
        id="H14",
        level="info",
        key="algorithm.with.epsilon",
        source=f"{UNSLOTH}; {CPPO}",
        check=_epsilon,
    ),
    Rule(id="H19", level="info", key="algorithm.with.beta", source=f"{CPPO}; {CLUE}", check=_beta),
    Rule(
        id="H20",
        level="info",
        key="rollout.max_tokens",
        source=f"{LECTURE}; {CPPO}",
        check=_short,
        remedy="watch the truncated share",
    ),
    Rule(
        id="H25",
        level="warning",
        key="rewards",
        source=f"{LECTURE}; {CPPO}",
        check=_weights,
        remedy="let correctness weigh more than format, for instance 1.0 and 0.1",
    ),
    Rule(
        id="H26",
        level="warning",
        key="optim.minibatches",
        source="TRL",
        check=_uneven,
        remedy="choose a divisor of prompts * group",
    ),
    Rule(
        id="H27",
        level="warning",
        key="eval.limit",
        source=LECTURE,
        check=_few_questions,
        remedy="hold out more questions, and --set eval.limit=500 or more",
    ),
    Rule(id="H27", level="info", key="eval.limit", source=LECTURE, check=_some_questions),
    Rule(
        id="H37",
        level="info",
        key="algorithm.with.metric",
        source="GFPO, 2508.09726",
        check=_efficiency,
        remedy="give a reward that knows length, or take metric: shortest",
    ),
    Rule(id="H50", level="info", key="model.lora.alpha", source="Tina; Unsloth", check=_lora),
    Rule(
        id="H51",
        level="warning",
        key="model.lora.dropout",
        source="policy gradient needs the sampled policy",
        check=_dropout,
        remedy="--set model.lora.dropout=0",
    ),
    Rule(id="H52", level="info", key="optim.warmup", source=f"{CPPO}; Unsloth", check=_warmup),
    Rule(id="H53", level="info", key="optim.iterations", source=CPPO, check=_many_passes),
    Rule(id="H53", level="info", key="optim.iterations", source=CPPO, check=_inert_clip),
    *NAMED_RULES,
)


def advise(facts: Facts) -> tuple[Problem, ...]:
    """What the rules have to say, warnings first."""
    found = [
        Problem(
            level=rule.level,
            fact=f"{fact} ({rule.source})",
            remedy=rule.remedy,
            code=rule.id,
            key=rule.key,
        )
        for rule in RULES
        if (fact := rule.check(facts))
    ]
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(found, key=lambda problem: order[problem.level]))
