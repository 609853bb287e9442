"""Exports to TRL: the mapped settings give our numbers in TRL's real trainer, and the script runs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import warnings

import pytest
import torch

from exported import CATALOG, ROOT, algorithm, python, recipe, told, trl_settings
from grpokit.errors import PreflightError
from grpokit.export.folder import export_recipe
from like_draws import ROWS, TOKENS, G, P, check, differs, draw, named, ours

trl = pytest.importorskip("trl", reason="trl is in the dev dependency group", exc_type=ImportError)

BETA, ENTROPY = 0.05, 0.01
COMMON = {"beta": BETA, "entropy_coef": ENTROPY, "mask_truncated": True, "like": "trl"}
WIDE = {"epsilon": 0.2, "epsilon_high": 0.28}
CASES = {
    "grpo": {},
    "grpo, token-mean": {"aggregation": "token-mean", "epsilon": 0.1},
    "grpo, constant length": {"aggregation": "constant-length"},
    "grpo, delta": {"delta": 1.5},
    "grpo, dual clip": {"dual_clip": 1.5, "kl_times_ratio": False},
    "dr-grpo": {},
    "bnpo-trl": {},
    "gspo": WIDE,
    "gspo, token-mean": {**WIDE, "aggregation": "token-mean"},
    "luspo": WIDE,
    "cispo": {"cap": 1.2},
    "sapo": {"temperature_pos": 1.3, "temperature_neg": 2.0},
    "vespo": {"k_pos": 1.5, "lambda_neg": 1.5},
    "lite-ppo": {},
}


@pytest.fixture
def quiet():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        import huggingface_hub.constants

        warnings.filterwarnings("ignore", module=r"(trl|transformers|accelerate|datasets|torch)\b")
        patch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
        patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
        yield
    torch.set_num_threads(threads)


class Fed:
    """A real trainer with exported settings. Only drawn tokens, rewards and log-probs are given."""

    def __init__(self, folder, out, settings):
        from datasets import Dataset
        from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

        self.trainer = trl.GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder),
            reward_funcs=lambda **_: [value for group in self.step.rewards for value in group],
            args=trl.GRPOConfig(
                output_dir=str(out),
                per_device_train_batch_size=ROWS,
                num_generations=G,
                max_completion_length=TOKENS,
                report_to="none",
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                disable_tqdm=True,
                **settings,
            ),
            train_dataset=Dataset.from_dict({"prompt": ["x"] * P}),
            processing_class=PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left"),
            rollout_func=self.draw,
        )
        self.trainer.current_gradient_accumulation_steps = 1
        self.trainer.model.train()

    def draw(self, batch, made):
        ids = [made.processing_class(text)["input_ids"] for text in batch]
        logprobs = [[0.0] * len(row) for row in self.step.ids]
        return {"prompt_ids": ids, "completion_ids": self.step.ids, "logprobs": logprobs}

    def says(self, values_NT):
        given = (values_NT, self.step.entropy_NT, None)
        self.trainer._get_per_token_logps_and_entropies = lambda *_, **__: given

    def loss(self, step):
        self.step, trainer = step, self.trainer
        beta, trainer.beta = trainer.beta, 0.0  # the reference is given below
        self.says(step.old_NT)
        rows = [{"prompt": f"{p}"} for p in range(P) for _ in range(G)]
        with contextlib.redirect_stdout(io.StringIO()):
            batch = trainer._generate_and_score_completions(rows)
        batch |= {"old_per_token_logps": step.old_NT, "ref_per_token_logps": step.ref_NT}
        batch["advantages"] = batch["advantages"].double()
        trainer.beta = beta
        logprobs_NT = step.logprobs_NT.clone().requires_grad_()
        self.says(logprobs_NT)
        loss = trainer._compute_loss(None, batch)
        (gradient_NT,) = torch.autograd.grad(loss, logprobs_NT)
        return loss.detach(), gradient_NT


@pytest.mark.filterwarnings("ignore:All reward functions returned None")
@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("case", CASES)
def test_exported_settings_give_our_loss_and_gradient(case, tiny_model_folder, tmp_path):
    name, settings = case.split(",")[0], {**COMMON, **CASES[case]}
    exported, notes = trl_settings(algorithm(tmp_path, name, **settings))
    assert not notes.found, notes.found
    fed = Fed(tiny_model_folder, tmp_path, exported)
    mine = named(name, **settings)
    parts = 1 if name == "bnpo-trl" else 2
    for seed in range(6):
        step = draw(seed, abstain=True)
        check(ours(mine, step, parts), fed.loss(step), f"{case}, step {seed}")
    plain = named(name, **{**settings, "beta": 2 * BETA})
    assert differs(ours(plain, step, parts), fed.loss(step))


def test_conventions_that_trl_has_not_are_named(tmp_path):
    exported, notes = trl_settings(
        algorithm(
            tmp_path, "grpo", like="verl", beta=0.04, entropy_coef=0.01, aggregation="sequence-mean"
        )
    )
    assert (exported["loss_type"], exported["delta"], exported["beta"]) == ("grpo", 3.0, 0.04)
    assert set(told(notes, "differs")) == {
        "algorithm.with.std_eps",
        "algorithm.with.log_ratio_max",
        "algorithm.with.kl_limit",
        "algorithm.with.entropy_mean",
    }
    assert not notes.lacking


def test_a_floor_within_the_clip_range_is_no_cap(tmp_path):
    """TRL's delta there would bound positive advantages too, and negative ones later."""
    exported, notes = trl_settings(algorithm(tmp_path, "grpo", dual_clip=1.1))
    assert told(notes, "missing").keys() == {"algorithm.with.dual_clip"}
    assert exported["delta"] == 1.2
    exported, notes = trl_settings(algorithm(tmp_path, "grpo", dual_clip=1.25))
    assert exported["delta"] == 1.25
    assert not notes.lacking
    parts = {"clip": {"use": "dual-clip", "with": {"floor": 1.25, "epsilon_high": 0.3}}}
    exported, notes = trl_settings(algorithm(tmp_path, "grpo", parts))
    assert told(notes, "missing").keys() == {"algorithm.parts.clip.with.floor"}
    assert exported["delta"] == 1.3


@pytest.mark.parametrize(
    ("use", "parts", "key", "word"),
    [
        ("dapo", {}, "algorithm.use", "dynamic-sampling"),
        ("rloo", {}, "algorithm.use", "rloo-baseline"),
        ("gmpo", {}, "algorithm.use", "gmpo-clip"),
        ("gfpo", {}, "algorithm.use", "group-filter"),
        ("qrpo", {}, "algorithm.use", "regression"),
        ("openpipe", {}, "algorithm.use", "spare-end"),
        ("cppo/cppo", {}, "algorithm.use", "cppo/prune"),
        (
            "grpo",
            {"advantage": {"use": "pass-at-k"}},
            "algorithm.parts.advantage.with",
            "pass-at-k",
        ),
        (
            "grpo",
            {"select": {"use": "top-k", "with": {"keep": 2}}},
            "algorithm.parts.select.with",
            "top-k",
        ),
        ("grpo", {"aggregate": {"use": "overlong"}}, "algorithm.parts.aggregate.with", "overlong"),
    ],
)
def test_parts_without_a_counterpart_are_refused(tmp_path, use, parts, key, word):
    _, notes = trl_settings(algorithm(tmp_path, use, parts))
    assert any(note.key == key and word in note.text for note in notes.lacking), notes.lacking
    with pytest.raises(PreflightError, match="cannot express") as caught:
        notes.refuse("TRL", "x")
    assert len(caught.value.problems) == len(notes.lacking)


def test_replaced_parts_are_mapped(tmp_path):
    parts = {
        "correction": {"use": "mask-token", "with": {"cap": 5.0, "floor": 0.5}},
        "regulariser": {"use": "kl", "with": {"beta": 0.02, "times_ratio": True}},
        "mask": {"use": "finished-mask"},
        "advantage": {"use": "batch-std"},
        "aggregate": {"use": "normalise-then-sum"},
    }
    exported, notes = trl_settings(algorithm(tmp_path, "grpo", parts))
    assert exported["vllm_importance_sampling_mode"] == "token_mask"
    assert exported["vllm_importance_sampling_clip_max"] == 5.0
    assert exported["vllm_importance_sampling_clip_min"] == 0.5
    assert (exported["beta"], exported["use_bias_correction_kl"]) == (0.02, True)
    assert exported["mask_truncated_completions"] is True
    assert exported["scale_rewards"] == "batch"
    assert exported["multi_objective_aggregation"] == "normalize_then_sum"
    assert not notes.lacking


def train(out, *arguments, path=""):
    """What the exported script prints; ``path`` holds another TRL."""
    process = subprocess.run(
        [sys.executable, "train.py", *arguments],
        cwd=out,
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **os.environ,
            **({"PYTHONPATH": str(ROOT / path)} if path else {}),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        },
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


@pytest.fixture(scope="module")
def ran(tmp_path_factory, tiny_model_folder):
    """An exported folder after two optimiser steps of a tiny random model."""
    folder = tmp_path_factory.mktemp("trl")
    loaded = recipe(
        folder,
        model={"id": str(tiny_model_folder), "lora": {"rank": 2, "alpha": 4}, "dtype": "float32"},
        rewards=[
            {"use": "number", "weight": 0.75, "with": {"from": ["whole"]}},
            {"use": "example-reward/distinct", "name": "varied", "with": {"n": 1}},
        ],
        optim={
            "lr": 1.0e-3,
            "minibatches": 2,
            "schedule": "linear",
            "warmup": 0.5,
            "micro_batch": 3,
        },
    )
    out = folder / "out folder"
    done = export_recipe(loaded, CATALOG, target="trl", folder=out, rows=6)
    said = train(out, "use_cpu=true", "logging_steps=1", "max_steps=2", "disable_tqdm=true")
    return out, done, said


def test_the_script_trains_with_our_rewards(ran):
    out, _, said = ran
    assert "rewards/number/mean" in said
    assert "rewards/varied/mean" in said
    assert "failed/varied" in said
    assert (out / "out" / "adapter_model.safetensors").exists()
    state = json.loads((out / "out" / "checkpoint-2" / "trainer_state.json").read_text())
    logged = [entry for entry in state["log_history"] if "reward" in entry]
    assert len(logged) == 1  # both optimiser steps are of one batch
    first = logged[0]
    expected = 0.75 * first["rewards/number/mean"] + first["rewards/varied/mean"]
    assert first["reward"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.skipif(
    not (ROOT / ".venv/trl-1.16/trl").exists(), reason="TRL 1.16 is not installed beside"
)
def test_the_script_runs_on_the_newest_trl(ran):
    out, _, _ = ran
    said = train(out, "use_cpu=true", "max_steps=1", "output_dir=newest", path=".venv/trl-1.16")
    assert "rewards/varied/mean" in said


def test_a_stopped_run_goes_on(ran):
    """The trainer does not look at the setting itself; without the script's help it begins anew."""
    out, _, _ = ran
    shutil.copytree(out / "out", out / "again")
    more = ("logging_steps=1", "save_steps=3", "output_dir=again", "resume_from_checkpoint=true")
    train(out, "use_cpu=true", "max_steps=3", *more)
    before, after = (
        json.loads((out / "again" / f"checkpoint-{step}" / "trainer_state.json").read_text())
        for step in (2, 3)
    )
    assert after["global_step"] == 3
    assert after["log_history"][: len(before["log_history"])] == before["log_history"]


SHARED = """
import json, os, train
def shared(world, **changed):
    os.environ["WORLD_SIZE"] = str(world)
    try:
        return list(train.shared({**train.SETTINGS, **changed}).values())
    except SystemExit as error:
        return str(error)
whole = {"per_device_train_batch_size": 6, "gradient_accumulation_steps": 1}
print(json.dumps([shared(1), shared(2), shared(3), shared(2, **whole), shared(4)]))
"""


def test_several_processes_share_a_step(ran):
    """Six completions an optimiser step, three a forward; not six for each process."""
    out, _, _ = ran
    done = python(".", script=SHARED, cwd=out)
    assert done[:4] == [[3, 2], [3, 1], [2, 1], [3, 1]]
    assert "6 completions" in done[4]


def test_the_settings_arrive(ran):
    out, _, _ = ran
    from transformers.trainer_utils import get_last_checkpoint

    arguments = torch.load(
        f"{get_last_checkpoint(out / 'out')}/training_args.bin", weights_only=False
    )
    assert (arguments.seed, arguments.num_generations, arguments.max_completion_length) == (
        7,
        4,
        12,
    )
    assert (arguments.generation_batch_size, arguments.gradient_accumulation_steps) == (12, 2)
    assert arguments.steps_per_generation == 4
    assert (arguments.warmup_steps, arguments.lr_scheduler_type.value) == (2, "linear")
    assert arguments.reward_weights == [0.75, 1.0]


def test_the_folder_says_what_is_different(ran):
    out, done, _ = ran
    told = (out / "README.md").read_text()
    assert "grpokit-example-reward==" in told
    assert "python train.py" in told
    for note in done.notes:
        assert f"- `{note.key}`: {note.text}" in told
    rows = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    assert len(rows) == 6
    assert rows[0]["prompt"][-1]["role"] == "user"
    assert rows[0]["answer"]
