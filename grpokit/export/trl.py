"""A recipe as settings of TRL's GRPOConfig, and the script around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpokit.export.axes import Axes, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grpokit.export.notes import Notes
    from grpokit.export.sizes import Sizes
    from grpokit.spec.recipe import Recipe

__all__ = ["algorithm_settings", "denominators", "run_settings"]

LOSSES = {
    "sequence-mean": "grpo",
    "token-mean": "dapo",
    "token-mean-local": "bnpo",
    "constant-length": "dr_grpo",
}
SCALES = {"group-zscore": "group", "group-centred": "none", "batch-std": "batch"}
OWN_LOSS = {
    "cispo-weight": ("cispo", "token-mean"),
    "sapo-gate": ("sapo", "sequence-mean"),
    "vespo-weight": ("vespo", "token-mean"),
}
"""Clip part -> TRL's loss type and the aggregation that it comes with."""
MODES = {
    "truncate": "token_truncate",
    "truncate-sequence": "sequence_truncate",
    "mask-token": "token_mask",
    "mask-sequence": "sequence_mask",
}
RATIOS = ("token-ratio", "sequence-ratio")
CLIPS = ("clip", "dual-clip", "clip-off-policy", "top-entropy", *OWN_LOSS)
DRAWS = {
    "sampler": ("in-order",),
    "rollout": ("as-given",),
    "allocate": ("fixed",),
    "select": ("keep-all",),
    "reset": ("never",),
}
"""Axes that no setting of TRL can change."""


def algorithm_settings(axes: Axes, notes: Notes) -> dict[str, Any]:
    """The algorithm; what TRL lacks goes into the notes, with the nearest in its place."""
    for axis, allowed in DRAWS.items():
        axes.only(axis, allowed, notes, "TRL")
    found = {**_advantage(axes, notes), **_clip(axes, notes), **_mask(axes, notes)}
    found |= _correction(axes, notes)
    found |= _penalties(axes, notes)
    axes.leftovers(notes, "TRL")
    return found


def _advantage(axes: Axes, notes: Notes) -> dict[str, Any]:
    aggregate = axes.only("aggregate", ("weighted-sum", "normalise-then-sum"), notes, "TRL")
    name = axes.only("advantage", SCALES, notes, "TRL")
    part = axes.one("advantage")
    found: dict[str, Any] = {"scale_rewards": SCALES.get(name, "group")}
    parts = [part]
    if aggregate == "normalise-then-sum":
        found["multi_objective_aggregation"] = "normalize_then_sum"
        parts.append(axes.one("aggregate"))
        if name != "batch-std":
            notes.missing(
                part.place,
                "with normalise-then-sum TRL always divides by the batch's deviation (batch-std)",
            )
    for each in parts:
        _convention(each, notes, "std_ddof", 1, "1")
        _convention(each, notes, "std_eps", 1e-4, "1e-4")
    return found


def _convention(part: Part, notes: Notes, setting: str, there: Any, told: str) -> None:
    value = part.get(setting, there)
    if value != there:
        notes.differs(part.key(setting), f"{value!r} here, always {told} in TRL")


def _clip(axes: Axes, notes: Notes) -> dict[str, Any]:
    clip, ratio = axes.one("clip"), axes.one("ratio")
    axes.only("clip", CLIPS, notes, "TRL")
    if clip.name in OWN_LOSS:
        return _own_loss(axes, clip, notes)
    axes.only("ratio", RATIOS, notes, "TRL")
    level = "token" if ratio.name == "token-ratio" else "sequence"
    found = {"importance_sampling_level": level, **_bounds(clip, notes)}
    found["loss_type"] = _loss_type(axes, level, notes)
    _log_bounds(ratio, notes)
    return found


def _bounds(clip: Part, notes: Notes) -> dict[str, Any]:
    found = {
        "epsilon": clip.get("epsilon", 0.2),
        "epsilon_high": clip.get("epsilon_high"),
    }
    found["delta"] = clip.get("delta") or _floor(clip, found, notes)
    if clip.name == "clip-off-policy":
        found["off_policy_mask_threshold"] = clip.get("threshold")
        _convention(clip, notes, "drift", "current", "that of the current policy")
    if clip.name == "top-entropy":
        found["top_entropy_quantile"] = clip.get("share")
        notes.differs(
            clip.key("share"), "TRL ranks the tokens of all processes, not those of a micro-batch"
        )
    return found


def _floor(clip: Part, found: Mapping[str, Any], notes: Notes) -> float | None:
    """A floor of the objective as TRL's cap of the ratio: above the clip range they are the same."""
    name = "dual_clip" if clip.get("dual_clip") else "floor"
    floor: float | None = clip.get(name)
    top = 1 + (found["epsilon"] if found["epsilon_high"] is None else found["epsilon_high"])
    if floor is None or floor > top:
        return floor
    notes.missing(
        clip.key(name), f"TRL bounds negative advantages by 1 + epsilon_high ({top:g}) at the least"
    )
    return float(top)


def _loss_type(axes: Axes, level: str, notes: Notes) -> str:
    part = axes.one("aggregation")
    if part.name == "sequence-sum" and level == "sequence":
        return "luspo"
    axes.only("aggregation", LOSSES, notes, "TRL")
    if part.name == "constant-length":
        _convention(part, notes, "denominator", "rows-and-length", "completions times length")
    return LOSSES.get(part.name, "grpo")


def _log_bounds(ratio: Part, notes: Notes) -> None:
    high, low = ratio.get("log_max", 60.0), ratio.get("log_min")
    if high < 60 or low is not None:
        notes.differs(
            ratio.key("log_max"), f"log-ratios are bounded ({low}, {high:g}) here, and not in TRL"
        )


def _own_loss(axes: Axes, clip: Part, notes: Notes) -> dict[str, Any]:
    loss, aggregation = OWN_LOSS[clip.name]
    found: dict[str, Any] = {"loss_type": loss, "importance_sampling_level": "token"}
    ratio, means = axes.one("ratio"), axes.one("aggregation")
    if ratio.name != "token-ratio":
        notes.missing(
            ratio.place, f"TRL's {loss} takes the ratio of single tokens, not {ratio.name}"
        )
    if means.name != aggregation:
        notes.missing(means.place, f"TRL's {loss} always takes the {aggregation}, not {means.name}")
    _log_bounds(ratio, notes)
    if loss == "cispo":
        found["epsilon_high"] = clip.get("cap")
        if clip.get("floor") is not None:
            notes.differs(clip.key("floor"), "TRL's CISPO has a cap alone")
    if loss == "sapo":
        found |= {
            f"sapo_temperature_{side}": clip.get(f"temperature_{side}") for side in ("pos", "neg")
        }
    if loss == "vespo":
        names = ("k_pos", "lambda_pos", "k_neg", "lambda_neg")
        found |= {f"vespo_{name}": clip.get(name) for name in names}
    return found


def _mask(axes: Axes, notes: Notes) -> dict[str, Any]:
    name = axes.only("mask", ("completion-mask", "finished-mask"), notes, "TRL")
    local = axes.name_of("aggregation") == "token-mean-local"
    there = "leave-out" if local else "count"
    if name == "finished-mask" and axes.empty_rows != there:
        notes.differs(
            "algorithm.with.empty_rows",
            f"{axes.empty_rows} here, {there} in TRL, for completions without a trained token",
        )
    return {"mask_truncated_completions": name == "finished-mask"}


def _correction(axes: Axes, notes: Notes) -> dict[str, Any]:
    name = axes.only("correction", ("no-correction", *MODES), notes, "TRL")
    if name not in MODES:
        return {"vllm_importance_sampling_correction": False}
    part = axes.one("correction")
    _convention(part, notes, "denominator", "keep", "kept")
    notes.differs(part.place, "TRL corrects under vLLM alone: run with use_vllm=true")
    return {
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": MODES[name],
        "vllm_importance_sampling_clip_max": part.get("cap"),
        "vllm_importance_sampling_clip_min": part.get("floor"),
    }


def _penalties(axes: Axes, notes: Notes) -> dict[str, Any]:
    axes.only(
        "regulariser", ("kl", "entropy-bonus", "adaptive-entropy", "no-regulariser"), notes, "TRL"
    )
    found: dict[str, Any] = {"beta": 0.0, "use_bias_correction_kl": False, "entropy_coef": 0.0}
    kl, bonus, adaptive = (axes.kind(n) for n in ("kl", "entropy-bonus", "adaptive-entropy"))
    if kl is not None:
        found["beta"] = kl.get("beta")
        values = {name: kl.get(name) for name in ("estimator", "times_ratio", "limit")}
        if found["beta"]:
            found["use_bias_correction_kl"] = bool(values["times_ratio"])
            _convention(kl, notes, "estimator", "k3", "k3")
            _convention(kl, notes, "limit", None, "unbounded")
    if bonus is not None:
        found["entropy_coef"] = bonus.get("coefficient")
        if bonus.get("mean") == "objective" and found["entropy_coef"]:
            _token_bonus(axes, bonus, notes)
    if adaptive is not None:
        names = {
            "target": "entropy_target",
            "delta": "entropy_coef_delta",
            "low": "entropy_coef_min",
            "high": "entropy_coef_max",
            "coefficient": "entropy_coef",
        }
        found |= {there: adaptive.get(here) for here, there in names.items()} | {
            "use_adaptive_entropy": True
        }
        if adaptive.get("mean") == "objective":
            _token_bonus(axes, adaptive, notes)
    return found


def _token_bonus(axes: Axes, part: Part, notes: Notes) -> None:
    if axes.name_of("aggregation") != "token-mean":
        notes.differs(
            part.key("mean"), "TRL's entropy bonus is a mean over tokens under every loss"
        )


def run_settings(recipe: Recipe, sizes: Sizes, notes: Notes) -> dict[str, Any]:
    """Sampling, optimiser, run: everything of GRPOConfig that is not the algorithm."""
    rollout, optim, train = recipe.rollout, recipe.optim, recipe.train
    if sizes.warmup:
        notes.differs(
            "optim.warmup", "the first rate of the warm-up is 0 there, one step's share here"
        )
    if rollout.max_prompt_tokens is not None:
        notes.differs("rollout.max_prompt_tokens", "TRL does not look at the length of prompts")
    if rollout.staleness:
        notes.differs("rollout.staleness", "TRL draws with the weights that it trains")
    return {
        "seed": train.seed,
        "data_seed": train.seed,
        "max_steps": sizes.updates,
        "per_device_train_batch_size": sizes.micro,
        "gradient_accumulation_steps": sizes.per_update // sizes.micro,
        "generation_batch_size": sizes.completions,
        "num_iterations": sizes.iterations,
        "num_generations": sizes.group,
        "max_completion_length": rollout.max_tokens,
        "temperature": rollout.temperature,
        "top_p": rollout.top_p,
        "top_k": rollout.top_k,
        "min_p": rollout.min_p or None,
        "shuffle_dataset": rollout.shuffle,
        "learning_rate": sizes.lr,
        "lr_scheduler_type": optim.schedule,
        "warmup_steps": sizes.warmup,
        "max_grad_norm": optim.max_grad_norm,
        "adam_beta1": optim.betas[0],
        "adam_beta2": optim.betas[1],
        "adam_epsilon": optim.eps,
        "weight_decay": optim.weight_decay,
        "gradient_checkpointing": recipe.model.gradient_checkpointing,
        "save_steps": train.save_every * sizes.per_step,
        "save_total_limit": train.keep,
        "logging_steps": sizes.per_step,
        "report_to": "none",
        **_precision(recipe),
    }


def denominators(sizes: Sizes, notes: Notes) -> None:
    """TRL's token mean counts the tokens of the whole generation batch, scaled to an optimiser step."""
    if sizes.minibatches > 1:
        notes.differs(
            "optim.minibatches",
            "TRL divides token means by the tokens of the whole step, not of the optimiser step",
        )


def _precision(recipe: Recipe) -> dict[str, Any]:
    """Frozen weights in bfloat16, trained ones in float32, as here."""
    lora, dtype = recipe.model.lora is not None, recipe.model.dtype
    half = dtype == "bfloat16" or (dtype == "auto" and lora)
    kept = "bfloat16" if half and lora else "float32"
    return {"bf16": half, "model_init_kwargs": {"dtype": kept}}
