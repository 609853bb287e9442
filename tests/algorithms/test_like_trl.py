"""``like: trl`` gives the numbers of TRL 1.14.2's real trainers, from rewards to loss and gradient.

``_generate_and_score_completions`` and ``_compute_loss`` of the trainers run as they are, with their
default arguments. Only what feeds them is replaced: the drawn tokens, the rewards, and the log-probs
that a model would give (``_get_per_token_logps_and_entropies``). What stands in the recipe beside
``like`` is on both sides: clip ranges, beta, and that truncated completions do not train.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from like_draws import ROWS, SPECS, TOKENS, G, P, Step, check, differs, draw, named, ours

trl = pytest.importorskip("trl", reason="trl is in the dev dependency group", exc_type=ImportError)

DRAWS = range(50)
BETA = 0.05
ENTROPY = 0.01
COMMON = {"beta": BETA, "entropy_coef": ENTROPY, "mask_truncated": True}
WIDE = {"epsilon": 0.2, "epsilon_high": 0.28}
SEQUENCE = {"importance_sampling_level": "sequence"}
GSPO = {"loss_type": "grpo", "epsilon_high": 0.28, **SEQUENCE}

CASES = {
    # ours: recipe settings; TRL: settings that make it the algorithm
    "grpo": ({}, {"loss_type": "grpo"}),
    "grpo, its default": ({"aggregation": "token-mean"}, {}),
    "dapo": ({}, {"epsilon_high": 0.28}),
    "dr-grpo": ({}, {"loss_type": "dr_grpo", "scale_rewards": "none"}),
    "bnpo-trl": ({}, {"loss_type": "bnpo"}),
    "gspo": (WIDE, GSPO),
    "gspo, its default": ({**WIDE, "aggregation": "token-mean"}, {**GSPO, "loss_type": "dapo"}),
    "luspo": (WIDE, {**GSPO, "loss_type": "luspo"}),
    "cispo": ({}, {"loss_type": "cispo", "epsilon_high": 5.0}),
    "sapo": ({}, {"loss_type": "sapo"}),
    "vespo": ({}, {"loss_type": "vespo"}),
    "lite-ppo": ({}, {"scale_rewards": "batch"}),
    "gmpo": ({"entropy_coef": 0.0}, {"epsilon": 0.4}),
    "rloo": ({"beta": 0.0, "entropy_coef": 0.0}, {}),
}


@dataclass
class Fed:
    """What stands in for generation, rewards and the model."""

    step: Step | None = None
    rewards: list[float | None] = field(default_factory=list)


@pytest.fixture(scope="module")
def fed():
    return Fed()


@pytest.fixture(scope="module")
def trainers(tiny_model_folder, tmp_path_factory, fed):
    """GRPO's and RLOO's real trainer, made once."""
    import huggingface_hub.constants

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(trl|transformers|accelerate|datasets|torch)\b")
        patch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
        patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
        made = {
            name: make_trainer(trainer, config, tiny_model_folder, tmp_path_factory, fed)
            for name, (trainer, config) in {
                "grpo": (trl.GRPOTrainer, trl.GRPOConfig),
                "rloo": (trl.RLOOTrainer, trl.RLOOConfig),
            }.items()
        }
        patch.setattr(made["rloo"], "_generate_single_turn", lambda *_: fed.step.ids)
        yield made
    torch.set_num_threads(threads)


def make_trainer(trainer, config, folder, tmp_path_factory, fed):
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    def rollout_func(batch, made):
        ids = [made.processing_class(text)["input_ids"] for text in batch]
        logprobs = [[0.0] * len(row) for row in fed.step.ids]
        return {"prompt_ids": ids, "completion_ids": fed.step.ids, "logprobs": logprobs}

    extra = {"rollout_func": rollout_func} if trainer is trl.GRPOTrainer else {}
    made = trainer(
        model=AutoModelForCausalLM.from_pretrained(folder),
        reward_funcs=lambda **_: fed.rewards,
        args=config(
            output_dir=str(tmp_path_factory.mktemp("trl")),
            per_device_train_batch_size=ROWS,
            num_generations=G,
            max_completion_length=TOKENS,
            mask_truncated_completions=True,
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict({"prompt": ["x"] * P}),
        processing_class=PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left"),
        **extra,
    )
    made.current_gradient_accumulation_steps = 1
    made.model.train()
    return made


RENAMED = {"epsilon": "epsilon_low"}
IN_ARGS = ("delta", "sapo_temperature_pos", "sapo_temperature_neg", "use_bias_correction_kl")


def their_loss(monkeypatch, trainers, fed, step: Step, name: str, settings: dict[str, Any]):
    """Loss and gradient of TRL's own code, from rewards on."""
    kind = "rloo" if name == "rloo" else "grpo"
    trainer, function = trainers[kind], type(trainers[kind])._compute_loss
    if name == "gmpo":
        from trl.experimental.gmpo.gmpo_trainer import GMPOTrainer

        function = GMPOTrainer._compute_loss
        settings = {**settings, "epsilon_high": settings["epsilon"]}
    fed.step = step
    fed.rewards = [value for group in step.rewards for value in group]
    for key, value in settings.items():
        monkeypatch.setattr(
            trainer.args if key in IN_ARGS else trainer, RENAMED.get(key, key), value
        )
    logprobs_NT = step.logprobs_NT.clone().requires_grad_()

    def model_says(values_NT):
        given = (values_NT, step.entropy_NT, None)
        monkeypatch.setattr(trainer, "_get_per_token_logps_and_entropies", lambda *_, **__: given)

    monkeypatch.setattr(trainer, "beta", 0.0)
    model_says(step.old_NT)
    rows = [{"prompt": f"{p}"} for p in range(P) for _ in range(G)]
    with contextlib.redirect_stdout(io.StringIO()):
        batch = trainer._generate_and_score_completions(rows)
    assert torch.equal(batch["completion_mask"].double(), step.trained_NT)
    batch = {**batch, "old_per_token_logps": step.old_NT, "ref_per_token_logps": step.ref_NT}
    batch["advantages"] = batch["advantages"].double()
    monkeypatch.setattr(trainer, "beta", 0.0 if kind == "rloo" else BETA)
    if kind == "grpo":
        monkeypatch.setattr(trainer, "entropy_coef", ENTROPY)
        monkeypatch.setattr(trainer, "_entropy_bonus_enabled", True)
    model_says(logprobs_NT)
    loss = function(trainer, None, batch)
    (gradient_NT,) = torch.autograd.grad(loss, logprobs_NT)
    constant = 0.0
    if name in ("gmpo", "rloo"):  # a row without tokens has ratio 1 there: a constant
        empty_N = step.trained_NT.sum(-1) == 0
        constant = -float(batch["advantages"][empty_N].sum()) / ROWS
    return loss.detach() - constant, gradient_NT


@pytest.mark.filterwarnings("ignore:All reward functions returned None")
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient(monkeypatch, trainers, fed, case):
    """In two micro-batches, but for the loss that depends on them."""
    mine, theirs = CASES[case]
    name = case.split(",")[0]
    algorithm = named(name, like="trl", **{**COMMON, **mine})
    plain = named(name, **{**COMMON, **mine})
    parts = 1 if name == "bnpo-trl" else 2
    apart = 0
    for seed in DRAWS:
        step = draw(seed, abstain=True)
        expected = their_loss(monkeypatch, trainers, fed, step, name, theirs)
        check(ours(algorithm, step, parts), expected, f"{case}, step {seed}")
        apart += differs(ours(plain, step, parts), expected)
    if name != "gmpo":  # whose conventions in TRL are the defaults here
        assert apart > 10, "the defaults give the same numbers, so like: trl was not tested"


def test_every_algorithm_is_compared_or_refused():
    from grpokit.algorithms.like import choices
    from grpokit.registry.resolve import resolve

    likely = {
        name
        for name, spec in SPECS.items()
        if spec.config and not isinstance(choices(resolve(spec.config)).get("trl", ""), str)
    }
    assert likely == {case.split(",")[0] for case in CASES}
