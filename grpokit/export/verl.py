"""A recipe as overrides of verl's ``ppo_trainer`` configuration."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from grpokit.export.axes import Axes, Part

if TYPE_CHECKING:
    from grpokit.export.notes import Notes
    from grpokit.export.sizes import Sizes
    from grpokit.spec.recipe import Recipe

__all__ = ["algorithm_overrides", "override", "run_overrides"]

ACTOR = "actor_rollout_ref.actor."
ROLLOUT = "actor_rollout_ref.rollout."
MODEL = "actor_rollout_ref.model."
NEVER = 1e9
"""A dual clip that never acts; verl has no switch for it."""
ESTIMATORS = {
    "group-zscore": ("grpo", True),
    "group-centred": ("grpo", False),
    "rloo-baseline": ("rloo", False),
    "length-weighted": ("opo", False),
    "reinforce-baseline": ("reinforce_plus_plus_baseline", False),
    "gpg-scale": ("gpg", False),
}
"""Advantage part -> verl's estimator, and whether GRPO's divides by the deviation."""
LOSSES = {
    "clip": "vanilla",
    "dual-clip": "vanilla",
    "cispo-weight": "cispo",
    "sapo-gate": "sapo",
    "gmpo-clip": "geo_mean",
    "log-prob": "gpg",
    "kl-cov": "kl_cov",
}
MEANS = {
    "token-mean": "token-mean",
    "sequence-mean": "seq-mean-token-mean",
    "sequence-sum": "seq-mean-token-sum",
    "constant-length": "seq-mean-token-sum-norm",
}
RATIOS = {
    "token-ratio": (20.0, -20.0),
    "sequence-ratio": (10.0, None),
    "sequence-token-ratio": (10.0, None),
}
"""Ratio -> verl's bounds of its logarithm."""
PENALTIES = {"k1": "kl", "k2": "mse", "k3": "low_var_kl"}
CORRECTIONS = {
    "truncate": ("token", False),
    "truncate-sequence": ("sequence", False),
    "mask-token": ("token", True),
    "mask-sequence": ("sequence", True),
}
"""Correction -> level of verl's weight, and whether weights outside the bounds become 0."""
LOWEST = 1e-9
"""verl's lower bound must be positive; log-ratios are bounded at -20 before."""
DRAWS = {
    "sampler": ("in-order",),
    "rollout": ("as-given",),
    "aggregate": ("weighted-sum",),
    "allocate": ("fixed", "dynamic-sampling"),
    "select": ("keep-all",),
    "mask": ("completion-mask",),
    "reset": ("never",),
}


def algorithm_overrides(axes: Axes, recipe: Recipe, notes: Notes) -> dict[str, Any]:
    """The algorithm; what verl lacks goes into the notes, with the nearest in its place."""
    for axis, allowed in DRAWS.items():
        axes.only(axis, allowed, notes, "verl")
    found = {**_advantage(axes, notes), **_loss(axes, notes), **_means(axes, recipe, notes)}
    found |= _penalties(axes, notes)
    found |= _correction(axes, notes)
    found |= _filter(axes, notes)
    axes.leftovers(notes, "verl")
    return found


def _convention(part: Part, notes: Notes, setting: str, there: Any) -> None:
    value = part.get(setting, there)
    if value != there:
        notes.differs(part.key(setting), f"{value!r} here, always {there!r} in verl")


def _advantage(axes: Axes, notes: Notes) -> dict[str, Any]:
    name, part = axes.only("advantage", ESTIMATORS, notes, "verl"), axes.one("advantage")
    estimator, scaled = ESTIMATORS.get(name, ("grpo", True))
    conventions: dict[str, dict[str, Any]] = {
        "group-zscore": {"std_ddof": 1, "std_eps": 1e-6},
        "reinforce-baseline": {"variance_eps": 1e-8, "count": "tokens", "dead_groups": "shifted"},
        "gpg-scale": {"nonzero": "rewards"},
    }
    for setting, there in conventions.get(name, {}).items():
        _convention(part, notes, setting, there)
    return {"algorithm.adv_estimator": estimator, "algorithm.norm_adv_by_std_in_grpo": scaled}


def _loss(axes: Axes, notes: Notes) -> dict[str, Any]:
    clip, ratio = axes.one("clip"), axes.one("ratio")
    axes.only("clip", LOSSES, notes, "verl")
    axes.only("ratio", RATIOS, notes, "verl")
    mode = LOSSES.get(clip.name, "vanilla")
    if ratio.name in ("sequence-ratio", "sequence-token-ratio"):
        if mode != "vanilla":
            notes.missing(ratio.place, f"verl's {mode} takes the ratio of single tokens")
        mode = "gspo"
    _log_bounds(ratio, mode, notes)
    return {f"{ACTOR}policy_loss.loss_mode": mode, **_bounds(clip, mode, notes)}


def _log_bounds(ratio: Part, mode: str, notes: Notes) -> None:
    high, low = ratio.get("log_max", 60.0), ratio.get("log_min")
    there = RATIOS.get(ratio.name, (60.0, None))
    if mode in ("geo_mean", "gpg") or (high, low) == there:
        return
    notes.differs(
        ratio.key("log_max"),
        f"log-ratios are bounded ({low}, {high:g}) here, {there[1], there[0]} in verl",
    )


def _bounds(clip: Part, mode: str, notes: Notes) -> dict[str, Any]:
    if mode == "sapo":
        return {f"{ACTOR}tau_{side}": clip.get(f"temperature_{side}") for side in ("pos", "neg")}
    if mode == "kl_cov":
        return {
            f"{ACTOR}policy_loss.kl_cov_ratio": clip.get("share"),
            f"{ACTOR}policy_loss.ppo_kl_coef": clip.get("coefficient"),
        }
    if mode == "gpg":
        return {}
    if mode == "geo_mean":
        low, high = clip.get("low"), clip.get("high")
    elif mode == "cispo":
        floor = clip.get("floor")
        low, high = 1 - (floor or 0.0), clip.get("cap") - 1
    else:
        low = clip.get("epsilon", 0.2)
        high = clip.get("epsilon_high") or low
    found = {
        f"{ACTOR}clip_ratio": low,
        f"{ACTOR}clip_ratio_low": low,
        f"{ACTOR}clip_ratio_high": high,
    }
    if mode in ("vanilla", "gspo"):
        limits = {name: clip.get(name) for name in ("dual_clip", "floor", "delta")}
        name = next((name for name, limit in limits.items() if limit), None)
        if mode == "vanilla":
            found[f"{ACTOR}clip_ratio_c"] = NEVER if name is None else limits[name]
        elif name is not None:
            notes.missing(clip.key(name), "verl's gspo has no bound for negative advantages")
    return found


def _means(axes: Axes, recipe: Recipe, notes: Notes) -> dict[str, Any]:
    part = axes.one("aggregation")
    axes.only("aggregation", MEANS, notes, "verl")
    found: dict[str, Any] = {f"{ACTOR}loss_agg_mode": MEANS.get(part.name, "token-mean")}
    if part.name == "constant-length":
        _convention(part, notes, "denominator", "rows-and-length")
        found[f"{ACTOR}loss_scale_factor"] = recipe.rollout.max_tokens
    return found


def _penalties(axes: Axes, notes: Notes) -> dict[str, Any]:
    axes.only("regulariser", ("kl", "entropy-bonus", "no-regulariser"), notes, "verl")
    kl, bonus = axes.kind("kl"), axes.kind("entropy-bonus")
    found: dict[str, Any] = {
        f"{ACTOR}use_kl_loss": False,
        f"{ACTOR}entropy_coeff": 0.0,
        "algorithm.use_kl_in_reward": False,
    }
    if kl is not None:
        beta, estimator, limit, times = (
            kl.get(n) for n in ("beta", "estimator", "limit", "times_ratio")
        )
        if beta:
            found |= {
                f"{ACTOR}use_kl_loss": True,
                f"{ACTOR}kl_loss_coef": beta,
                f"{ACTOR}kl_loss_type": PENALTIES.get(estimator, "low_var_kl"),
            }
            if estimator not in PENALTIES:
                notes.differs(kl.key("estimator"), f"verl has no {estimator}; it is k3")
            there = 10.0 if estimator == "k3" else None
            if limit != there:
                notes.differs(kl.key("limit"), f"{limit} here, {there} in verl")
            if times:
                notes.differs(
                    kl.key("times_ratio"), "verl does not multiply the divergence by the ratio"
                )
    if bonus is not None:
        found[f"{ACTOR}entropy_coeff"] = bonus.get("coefficient")
        if (
            bonus.get("mean") == "tokens"
            and bonus.get("coefficient")
            and axes.name_of("aggregation") != "token-mean"
        ):
            notes.differs(bonus.key("mean"), "verl aggregates the bonus like the objective")
    return found


def _correction(axes: Axes, notes: Notes) -> dict[str, Any]:
    name = axes.only("correction", ("no-correction", *CORRECTIONS), notes, "verl")
    part, key = axes.one("correction"), "algorithm.rollout_correction."
    found = {f"{key}rollout_is": None, f"{key}rollout_rs": None, f"{key}bypass_mode": False}
    if name not in CORRECTIONS:
        return found
    level, masks = CORRECTIONS[name]
    floor, cap = part.get("floor"), part.get("cap")
    _convention(part, notes, "denominator", "keep")
    if floor is not None and not masks:
        notes.differs(part.key("floor"), "verl cuts weights from above alone")
    bounds: Any = f"{floor or LOWEST!r}_{cap!r}" if masks else cap
    return {**found, f"{key}rollout_is": level, f"{key}rollout_is_threshold": bounds}


def _filter(axes: Axes, notes: Notes) -> dict[str, Any]:
    part = axes.one("allocate")
    if part.name != "dynamic-sampling":
        return {"algorithm.filter_groups.enable": False}
    metric = part.get("metric")
    for setting in ("tolerance", "factor", "refill", "on_bound"):
        part.get(setting)
    notes.differs(
        part.place,
        "verl asks question by question until the batch is full, and compares scores exactly: "
        "tolerance, factor, refill and on_bound have no place there, and verl 0.9.1 never reads the "
        "bound of rounds (max_rounds)",
    )
    return {
        "algorithm.filter_groups.enable": True,
        "algorithm.filter_groups.metric": "reward" if metric == "total" else f"reward/{metric}",
        "algorithm.filter_groups.max_num_gen_batches": part.get("max_rounds"),
    }


def run_overrides(
    recipe: Recipe, sizes: Sizes, notes: Notes, *, name: str, longest: int
) -> dict[str, Any]:
    """Data, model, optimiser, sampling and run; paths are the script's."""
    rollout, train = recipe.rollout, recipe.train
    return {
        "data.train_batch_size": sizes.prompts,
        "data.max_prompt_length": rollout.max_prompt_tokens or longest,
        "data.max_response_length": rollout.max_tokens,
        "data.filter_overlong_prompts": rollout.on_long_prompt == "drop",
        "data.truncation": "error",
        "data.shuffle": rollout.shuffle,
        "data.seed": train.seed,
        **_model(recipe, notes),
        **_optim(recipe, sizes, notes),
        **_sampling(recipe, notes),
        f"{ACTOR}ppo_mini_batch_size": sizes.prompts // sizes.minibatches,
        f"{ACTOR}ppo_epochs": sizes.iterations,
        f"{ACTOR}ppo_micro_batch_size_per_gpu": sizes.micro,
        f"{ROLLOUT}log_prob_micro_batch_size_per_gpu": sizes.micro,
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu": sizes.micro,
        "trainer.total_training_steps": train.steps,
        "trainer.total_epochs": train.steps,
        "trainer.save_freq": train.save_every,
        "trainer.max_actor_ckpt_to_keep": train.keep,
        "trainer.test_freq": recipe.eval.every or -1,
        "trainer.val_before_train": False,
        "trainer.logger": ["console"],
        "trainer.project_name": "grpokit",
        "trainer.experiment_name": name,
        "trainer.nnodes": 1,
    }


def _model(recipe: Recipe, notes: Notes) -> dict[str, Any]:
    model = recipe.model
    if model.dtype == "float32":
        notes.differs("model.dtype", "verl computes in bfloat16 and keeps float32 weights")
    if model.revision is not None:
        notes.differs(
            "model.revision",
            "verl takes no revision: bring it with `hf download` and name the folder",
        )
    found: dict[str, Any] = {f"{MODEL}enable_gradient_checkpointing": model.gradient_checkpointing}
    if model.lora is None:
        return {**found, f"{MODEL}lora_rank": 0}
    if model.lora.dropout:
        notes.differs("model.lora.dropout", "verl's adapters have no dropout")
    alpha = max(1, round(model.lora.alpha))
    if model.lora.alpha != alpha:
        notes.differs("model.lora.alpha", f"verl takes a whole number; it is {alpha}")
    return {
        **found,
        f"{MODEL}lora_rank": model.lora.rank,
        f"{MODEL}lora_alpha": alpha,
        f"{MODEL}target_modules": model.lora.targets,
        f"{ROLLOUT}load_format": "safetensors",
    }


def _optim(recipe: Recipe, sizes: Sizes, notes: Notes) -> dict[str, Any]:
    optim, key = recipe.optim, f"{ACTOR}optim."
    if optim.schedule == "linear":
        notes.differs("optim.schedule", "verl has no linear schedule; it is cosine")
    if sizes.warmup:
        notes.differs(
            "optim.warmup", "the first rate of the warm-up is 0 there, one step's share here"
        )
    if sizes.per_step > 1 and optim.schedule != "constant":
        notes.differs("optim.schedule", "verl changes the rate once a step, not an optimiser step")
    found: dict[str, Any] = {
        f"{key}lr": sizes.lr,
        f"{key}lr_scheduler_type": "cosine"
        if optim.schedule in ("linear", "cosine")
        else "constant",
        f"{key}lr_warmup_steps": math.ceil(sizes.warmup / sizes.per_step),
        f"{key}weight_decay": optim.weight_decay,
        f"{key}betas": list(optim.betas),
        f"{key}clip_grad": optim.max_grad_norm,
    }
    if optim.eps != 1e-8:
        found[f"{key}override_optimizer_config"] = {"eps": optim.eps}
    return found


def _sampling(recipe: Recipe, notes: Notes) -> dict[str, Any]:
    rollout, exam = recipe.rollout, recipe.eval
    if rollout.min_p:
        notes.differs("rollout.min_p", "verl's sampling has no min_p")
    if rollout.staleness:
        notes.differs("rollout.staleness", "verl's trainer draws with the weights that it trains")
    if exam.max_tokens not in (None, rollout.max_tokens):
        notes.differs(
            "eval.max_tokens",
            f"verl's validation has the limit of the rollout, {rollout.max_tokens}",
        )
    return {
        f"{ROLLOUT}name": "vllm",
        f"{ROLLOUT}n": rollout.group,
        f"{ROLLOUT}temperature": rollout.temperature,
        f"{ROLLOUT}top_p": rollout.top_p,
        f"{ROLLOUT}top_k": rollout.top_k or -1,
        f"{ROLLOUT}seed": recipe.train.seed,
        f"{ROLLOUT}tensor_model_parallel_size": 1,
        f"{ROLLOUT}val_kwargs.temperature": exam.temperature,
        f"{ROLLOUT}val_kwargs.top_p": exam.top_p,
        f"{ROLLOUT}val_kwargs.do_sample": exam.temperature > 0,
    }


def override(key: str, value: Any) -> str:
    """One override in Hydra's grammar."""
    return f"{key}={_value(value)}"


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "True", False: "False"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_value(each)}" for key, each in value.items()) + "}"
    text = str(value)
    if re.fullmatch(r"[A-Za-z_][\w./-]*", text, re.ASCII) and text.lower() not in (
        "null",
        "true",
        "false",
    ):
        return text
    return quoted(text)


def quoted(text: str) -> str:
    """Text in Hydra's quotes: backslashes count before a quote alone; ``${`` would be looked up."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    text = re.sub(r"(\\*)(?='|$)", r"\1\1", text)
    return "'" + text.replace("'", "\\'") + "'"
