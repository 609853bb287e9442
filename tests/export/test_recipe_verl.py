"""Exports to verl: its own configuration takes them, and its real code gives our numbers with them."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import numpy as np
import pytest
import torch

from exported import CATALOG, ROOT, algorithm, python, recipe, told, verl_overrides
from grpokit.errors import PreflightError
from grpokit.export import data
from grpokit.export.folder import export_recipe
from grpokit.export.verl import ACTOR, override
from like_draws import ROWS, G, P, check, differs, draw, named, ours

needs_verl = pytest.mark.skipif(
    not (ROOT / ".venv/verl/verl").exists(), reason="tests/requirements-verl.txt is not installed"
)
needs_hydra = pytest.mark.skipif(
    not (ROOT / ".venv/hydra/hydra").exists(),
    reason="tests/requirements-hydra.txt is not installed",
)
COMMON = {"beta": 0.05, "entropy_coef": 0.01, "like": "verl"}
WIDE = {"epsilon": 0.2, "epsilon_high": 0.28}
CASES = {
    "grpo": {},
    "grpo, sequence-mean": {"aggregation": "sequence-mean", "dual_clip": None, "epsilon": 0.1},
    "grpo, delta": {"delta": 1.5, "dual_clip": None},
    "grpo, k2": {"kl_estimator": "k2", "kl_limit": None},
    "dr-grpo": {},
    "gspo": {**WIDE, "empty_rows": "count"},
    "gspo-token": {**WIDE, "aggregation": "token-mean"},
    "luspo": {"like": None, "log_ratio_max": 10.0, "std_eps": 1e-6, "kl_limit": 10.0},
    "cispo": {"cap": 1.5, "floor": 0.6},
    "sapo": {"temperature_pos": 1.3},
    "gmpo": {"low": 0.3, "high": 0.5},
    "rloo": {},
    "reinforce-pp-baseline": {},
    "gpg": {},
    "opo": {},
}


@pytest.fixture(scope="module")
def core():
    found = pytest.importorskip(
        "verl.trainer.ppo.core_algos", reason="verl is not installed", exc_type=ImportError
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield found
    torch.set_num_threads(threads)


def their_loss(core, step, overrides: dict[str, Any]):
    """verl's estimator, policy loss, divergence and bonus with the overrides, as its trainer calls them."""
    from verl.workers.config import ActorConfig, PolicyLossConfig

    own = {
        key.removeprefix(ACTOR): value for key, value in overrides.items() if key.startswith(ACTOR)
    }
    mode = own.pop("policy_loss.loss_mode")
    policy = {key: own.pop(key) for key in list(own) if key.startswith("policy_loss.")}
    policy = {key.removeprefix("policy_loss."): value for key, value in policy.items()}
    config = ActorConfig(
        strategy="fsdp",
        rollout_n=2,
        ppo_micro_batch_size_per_gpu=1,
        policy_loss=PolicyLossConfig(loss_mode=mode, **policy),
        **own,
    )
    config.global_batch_info["global_batch_size"] = ROWS
    config.global_batch_info["loss_scale_factor"] = config.loss_scale_factor
    rewards_NT = torch.zeros_like(step.mask_NT)
    rewards_NT[torch.arange(ROWS), step.mask_NT.sum(-1).long() - 1] = torch.tensor(
        step.rewards, dtype=torch.float64
    ).reshape(-1)
    name = overrides["algorithm.adv_estimator"]
    scaled = {"norm_adv_by_std_in_grpo": overrides["algorithm.norm_adv_by_std_in_grpo"]}
    advantages_NT, _ = core.get_adv_estimator_fn(name)(
        token_level_rewards=rewards_NT,
        response_mask=step.mask_NT,
        index=np.arange(P).repeat(G),
        **(scaled if name == "grpo" else {}),
    )
    logprobs_NT = step.logprobs_NT.clone().requires_grad_()
    means = {"loss_agg_mode": config.loss_agg_mode}
    loss, _ = core.get_policy_loss_fn(mode)(
        old_log_prob=step.old_NT,
        log_prob=logprobs_NT,
        advantages=advantages_NT,
        response_mask=step.mask_NT,
        config=config,
        **means,
    )
    kl_NT = core.kl_penalty(
        logprob=logprobs_NT, ref_logprob=step.ref_NT, kl_penalty=config.kl_loss_type
    )
    beta = config.kl_loss_coef if config.use_kl_loss else 0.0
    loss = loss + core.agg_loss(
        loss_mat=beta * kl_NT - config.entropy_coeff * step.entropy_NT,
        loss_mask=step.mask_NT,
        **means,
        **config.global_batch_info,
    )
    (gradient_NT,) = torch.autograd.grad(loss, logprobs_NT)
    return loss.detach(), gradient_NT


@pytest.mark.parametrize("case", CASES)
def test_exported_overrides_give_our_loss_and_gradient(core, case, tmp_path):
    name, settings = case.split(",")[0], {**COMMON, **CASES[case]}
    overrides, notes = verl_overrides(algorithm(tmp_path, name, **settings))
    assert not notes.found, notes.found
    mine = named(name, **settings)
    for seed in range(6):
        step = draw(seed, jump=25.0)
        check(ours(mine, step), their_loss(core, step, overrides), f"{case}, step {seed}")
    plain = named(name, **{**settings, "beta": 0.1})
    assert differs(ours(plain, step), their_loss(core, step, overrides))


def test_conventions_that_verl_has_not_are_named(tmp_path):
    overrides, notes = verl_overrides(
        algorithm(tmp_path, "grpo", like="trl", beta=0.04, entropy_coef=0.01)
    )
    assert overrides[f"{ACTOR}clip_ratio_c"] >= 1e9
    assert overrides[f"{ACTOR}loss_agg_mode"] == "seq-mean-token-mean"
    assert set(told(notes, "differs")) == {
        "algorithm.with.std_eps",
        "algorithm.with.log_ratio_max",
        "algorithm.with.kl_limit",
        "algorithm.with.kl_times_ratio",
        "algorithm.with.entropy_mean",
    }
    assert not notes.lacking


@pytest.mark.parametrize(
    ("use", "settings", "parts", "word"),
    [
        ("cppo/cppo", {}, {}, "cppo/prune"),
        ("vespo", {}, {}, "vespo-weight"),
        ("bnpo-trl", {}, {}, "token-mean-local"),
        ("lite-ppo", {}, {}, "batch-std"),
        ("grpo", {"mask_truncated": True}, {}, "finished-mask"),
        ("grpo", {"drop_dead": True}, {}, "drop-zero"),
        ("grpo", {}, {"clip": {"use": "clip-off-policy"}}, "clip-off-policy"),
        ("srpo", {}, {}, "history"),
        ("gspo", {"delta": 2.0}, {}, "no bound for negative"),
        ("gspo", {"dual_clip": 3.0}, {}, "no bound for negative"),
    ],
)
def test_parts_without_a_counterpart_are_refused(tmp_path, use, settings, parts, word):
    _, notes = verl_overrides(algorithm(tmp_path, use, parts, **settings))
    assert any(word in note.text for note in notes.lacking), notes.lacking


@pytest.mark.parametrize(
    ("use", "settings"),
    [
        ("truncate", {"cap": 1.3}),
        ("truncate-sequence", {"cap": 1.3}),
        ("mask-token", {"cap": 1.5, "floor": 0.7}),
        ("mask-token", {"cap": 1.5}),
        ("mask-sequence", {"cap": 2.0, "floor": 0.5}),
    ],
)
def test_corrections_are_verls_weights(core, tmp_path, use, settings):
    from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_weights

    from grpokit.registry.resolve import create

    parts = {"correction": {"use": use, "with": settings}}
    overrides, notes = verl_overrides(algorithm(tmp_path, "grpo", parts, like="verl"))
    assert not notes.found
    key = "algorithm.rollout_correction."
    step = draw(1)
    theirs_NT, _ = compute_rollout_correction_weights(
        step.old_NT - step.ref_NT,
        step.mask_NT,
        overrides[f"{key}rollout_is"],
        overrides[f"{key}rollout_is_threshold"],
    )
    correction = create(CATALOG.find("algorithm", use), settings)
    mine_NT = correction(step.old_NT, step.ref_NT, step.mask_NT) * step.mask_NT
    torch.testing.assert_close(mine_NT, theirs_NT)
    assert len(theirs_NT.unique()) > 3


def test_dynamic_sampling_is_verls_filter(tmp_path):
    overrides, notes = verl_overrides(algorithm(tmp_path, "dapo", metric="number", max_rounds=4))
    assert overrides["algorithm.filter_groups.enable"] is True
    assert overrides["algorithm.filter_groups.metric"] == "reward/number"
    assert overrides["algorithm.filter_groups.max_num_gen_batches"] == 4
    assert overrides[f"{ACTOR}clip_ratio_high"] == 0.28
    assert not notes.lacking
    assert "never reads the bound of rounds" in told(notes, "differs")["algorithm.use"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "True"),
        (1e-6, "1e-06"),
        ([0.9, 0.99], "[0.9,0.99]"),
        ("token-mean", "token-mean"),
        ("it's a=b", "'it\\'s a=b'"),
        ("null", "'null'"),
        ({"eps": 1e-7}, "{eps:1e-07}"),
    ],
)
def test_override(value, text):
    assert override("a.b", value) == f"a.b={text}"


TEXTS = [
    "it's",
    "a\\b",
    "a\\'b",
    "end\\",
    "${oc.env:HOME}",
    "\\${x}",
    "x ${y}'s \\' ${y}",
    "ü,[]{}:=#",
]
PARSE = """
import json, sys
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
parser = OverridesParser.create()
def read(text):
    return OmegaConf.create({"a": parser.parse_override(text).value()}).a
print(json.dumps([read(text) for text in sys.argv[1:]]))
"""


@needs_hydra
def test_hydra_reads_texts_as_they_are(tmp_path):
    given = tuple(override("a", text) for text in TEXTS)
    assert python(".venv/hydra", script=PARSE, arguments=given, cwd=tmp_path) == TEXTS


@needs_hydra
def test_the_script_lies_where_it_likes(tmp_path):
    folder = tmp_path / "it's ${oc.env:HOME} & more"
    loaded = recipe(tmp_path, model={"id": "o'neil/model"})
    export_recipe(loaded, CATALOG, target="verl", folder=folder, rows=3)
    said = json.loads(arguments_of(folder, tmp_path, "said").read_text())
    given = [text for text in said if "_files=" in text or "path=" in text or "_dir=" in text]
    assert python(".venv/hydra", script=PARSE, arguments=tuple(given), cwd=tmp_path) == [
        str(folder / "train.parquet"),
        str(folder / "val.parquet"),
        "o'neil/model",
        str(folder / "grpokit_rewards.py"),
        str(folder / "checkpoints"),
    ]


def test_what_verl_decides_itself_is_told(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"question": "1 + 1? " * 200, "answer": "2"}) + "\n")
    data = {"use": "jsonl", "with": {"path": str(rows)}}
    loaded = recipe(
        tmp_path,
        dataset=data,
        model={"id": "tiny-sums", "lora": {"rank": 4, "alpha": 0.3}},
        rollout={"prompts": 1, "group": 4, "max_tokens": 12},
        eval={"dataset": data, "rewards": [{"use": "number"}]},
    )
    done = export_recipe(loaded, CATALOG, target="verl", folder=tmp_path / "out")
    said = {note.key: note.text for note in done.notes}
    assert "it is 1024" in said["rollout.max_prompt_tokens"]
    assert "rewards of training" in said["eval.rewards"]
    assert "it is 1" in said["model.lora.alpha"]
    assert "lora_alpha=1\n" in (tmp_path / "out/train.sh").read_text()
    assert "scoring.max_error_rate" in (tmp_path / "out/README.md").read_text()


CHECK = """
import asyncio, json, os, sys, warnings
warnings.simplefilter("ignore")
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
import verl
from verl.experimental.reward_loop.reward_loop import migrate_legacy_reward_impl
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

folder = os.path.join(os.path.dirname(verl.__file__), "trainer", "config")
def composed(overrides):
    with initialize_config_dir(folder, version_base=None):
        return compose("ppo_trainer", overrides=overrides)

found = []
for path in sys.argv[1:]:
    overrides = json.load(open(path))
    assert overrides[:2] == ["-m", "verl.trainer.main_ppo"], overrides[:2]
    config = migrate_legacy_reward_impl(composed(overrides[2:]))
    plain = OmegaConf.merge(config, {"actor_rollout_ref": {"model": {"lora_rank": 0}}})
    validate_config(plain, need_reference_policy(config), need_critic(config))  # with LoRA it asks vLLM
    found.append(OmegaConf.to_container(config, resolve=False))
try:
    composed([*overrides[2:], "actor_rollout_ref.actor.clip_ratio_hihg=1"])
    unknown = "taken"
except ConfigCompositionException as error:
    unknown = str(error).splitlines()[0]

# A completion through verl's own reward manager, as its reward workers call it.
import numpy as np, torch
from transformers import PreTrainedTokenizerFast
from verl import DataProto
from verl.trainer.ppo.reward import load_reward_manager
config = migrate_legacy_reward_impl(composed(json.load(open(sys.argv[1]))[2:]))
tokenizer = PreTrainedTokenizerFast.from_pretrained(config.actor_rollout_ref.model.path)
manager = load_reward_manager(config, tokenizer)
from verl.utils.dataset.rl_dataset import RLHFDataset
settings = OmegaConf.create({**OmegaConf.to_container(config.data, resolve=True), "cache_dir": os.getcwd()})
rows = RLHFDataset(config.data.train_files, tokenizer, settings)
assert len(rows) == 8
def scored(row, text):
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    tensors = {"prompts": torch.ones(1, 2, dtype=torch.long), "responses": ids,
               "attention_mask": torch.ones(1, 2 + ids.shape[1], dtype=torch.long)}
    keys = ("data_source", "reward_model", "extra_info")
    plain = {key: np.array([row[key]], dtype=object) for key in keys}
    data = DataProto.from_dict(tensors=tensors, non_tensors=plain)
    return manager.loop.run_until_complete(manager.run_single(data))
right = scored(rows[0], rows[0]["reward_model"]["ground_truth"])
wrong = scored(rows[0], "no")
asked = rows[0]["raw_prompt"]
from verl.utils.import_utils import load_extern_object
plain = load_extern_object("pkg://grpokit.interop.verl", "example_reward_distinct")
plain = plain(data_source="x", solution_str="a b c a b c", ground_truth="", extra_info={})["score"]
print(json.dumps({"configs": found, "unknown": unknown, "right": right, "wrong": wrong,
                  "asked": asked, "plain": plain}))
sys.stdout.flush()
os._exit(0)  # verl leaves threads behind
"""


def arguments_of(folder, tmp_path, name):
    """What ``train.sh`` would give to verl."""
    stub = tmp_path / "python"
    stub.write_text(
        '#!/bin/sh\nif [ "$1" = -c ]; then echo "$3"; exit; fi\n'
        "exec python3 -c \"import json,sys; json.dump(sys.argv[2:], open(sys.argv[1],'w'))\" "
        f'"{tmp_path}/{name}.json" "$@"\n'
    )
    stub.chmod(0o755)
    subprocess.run(
        [str(folder / "train.sh"), "trainer.nnodes=2"],
        check=True,
        env={**os.environ, "PYTHON": str(stub), "GPUS": "3"},
        cwd=tmp_path,
    )
    return tmp_path / f"{name}.json"


@pytest.fixture(scope="module")
def checked(tmp_path_factory, tiny_model_folder):
    """Three exports in verl's own configuration, and completions through its reward manager."""
    tmp = tmp_path_factory.mktemp("verl export")
    model = {"id": str(tiny_model_folder)}
    two = [
        {"use": "number", "weight": 0.75, "with": {"from": ["whole"]}},
        {"use": "example-reward/distinct", "name": "varied", "weight": 2.0, "with": {"n": 1}},
    ]
    first = recipe(tmp, "first", model={**model, "lora": {"rank": 4, "alpha": 8}}, rewards=two)
    second = recipe(
        tmp,
        "second",
        model={**model, "lora": None, "dtype": "bfloat16"},
        algorithm={"use": "dapo", "with": {"like": "verl", "beta": 0.01}},
        rollout={"prompts": 4, "group": 6, "max_tokens": 99, "top_k": 5, "temperature": 0.7},
        optim={"minibatches": 2, "iterations": 3, "schedule": "cosine", "warmup": 1, "eps": 1e-6},
        eval={"every": 5, "dataset": {"use": "arithmetic", "with": {"split": "test"}}, "limit": 7},
    )
    third = recipe(
        tmp, "third", model=model, algorithm={"use": "gspo"},
        rollout={"prompts": 3, "group": 4, "max_tokens": 12, "max_prompt_tokens": 77},
    )  # fmt: skip
    paths = []
    for loaded in (first, second, third):
        folder = tmp / f"{loaded.name} out"
        export_recipe(loaded, CATALOG, target="verl", folder=folder, rows=8)
        paths.append(str(arguments_of(folder, tmp, loaded.name)))
    found = python(
        ".venv/hydra", ".venv/verl", script=CHECK, arguments=tuple(paths), cwd=tmp
    )  # fmt: skip
    return tmp, found


@needs_verl
@needs_hydra
def test_verl_takes_the_overrides_and_refuses_unknown_ones(checked):
    _, found = checked
    assert found["unknown"].startswith(
        "Could not override 'actor_rollout_ref.actor.clip_ratio_hihg'"
    )
    assert len(found["configs"]) == 3


@needs_verl
@needs_hydra
def test_values_arrive_in_verl(checked, tiny_model_folder):
    tmp, found = checked
    first, second, third = found["configs"]
    assert first["data"]["train_files"] == str(tmp / "first out" / "train.parquet")
    assert first["reward"]["custom_reward_function"]["path"].endswith(
        "first out/grpokit_rewards.py"
    )
    assert first["reward"]["custom_reward_function"]["name"] == "first"
    assert first["trainer"]["n_gpus_per_node"] == 3
    assert first["trainer"]["nnodes"] == 2
    model = first["actor_rollout_ref"]["model"]
    assert (model["path"], model["lora_rank"], model["lora_alpha"]) == (
        str(tiny_model_folder),
        4,
        8,
    )
    assert first["algorithm"]["adv_estimator"] == "grpo"
    assert first["actor_rollout_ref"]["rollout"]["n"] == 4
    assert first["trainer"]["total_training_steps"] == 2
    assert first["data"]["seed"] == 7

    actor, rollout = (second["actor_rollout_ref"][key] for key in ("actor", "rollout"))
    assert (actor["ppo_mini_batch_size"], actor["ppo_epochs"]) == (2, 3)
    assert (actor["clip_ratio_high"], actor["use_kl_loss"], actor["kl_loss_coef"]) == (
        0.28,
        True,
        0.01,
    )
    assert actor["optim"]["lr_scheduler_type"] == "cosine"
    assert actor["optim"]["lr_warmup_steps"] == 1
    assert actor["optim"]["override_optimizer_config"] == {"eps": 1e-6}
    assert (rollout["top_k"], rollout["temperature"]) == (5, 0.7)
    assert second["algorithm"]["filter_groups"]["enable"] is True
    assert second["trainer"]["test_freq"] == 5
    assert second["data"]["max_response_length"] == 99

    assert third["actor_rollout_ref"]["actor"]["policy_loss"]["loss_mode"] == "gspo"
    assert third["data"]["max_prompt_length"] == 77


@needs_verl
@needs_hydra
def test_verls_reward_manager_calls_our_rewards(checked):
    _, found = checked
    right, wrong = found["right"], found["wrong"]
    assert [message["role"] for message in found["asked"]] == ["user"]  # from verl's own data set
    assert right["reward_score"] == pytest.approx(0.75 + 2.0)
    assert right["reward_extra_info"]["acc"] == 1.0
    assert wrong["reward_score"] == pytest.approx(2.0)
    assert wrong["reward_extra_info"] == {
        "score": 2.0, "acc": 0.0, "reward/number": 0.0, "reward/varied": 1.0, "unscored": 0.0,
    }  # fmt: skip
    assert list(right["reward_extra_info"]) == list(wrong["reward_extra_info"])
    assert found["plain"] == 0.75  # by its dotted path, through pkg://


def test_parquet_has_verls_schema(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    loaded = recipe(
        tmp_path,
        eval={"dataset": {"use": "arithmetic", "with": {"split": "test"}}, "limit": 3},
    )
    export_recipe(loaded, CATALOG, target="verl", folder=tmp_path / "out", rows=5)
    rows = parquet.read_table(tmp_path / "out/train.parquet").to_pylist()
    assert len(rows) == 5
    row = rows[2]
    assert set(row) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
    assert row["data_source"] == "small"
    assert row["prompt"][-1]["role"] == "user"
    assert row["reward_model"] == {"style": "rule", "ground_truth": row["extra_info"]["answer"]}
    assert (row["extra_info"]["index"], row["extra_info"]["split"]) == (2, "train")
    held = parquet.read_table(tmp_path / "out/val.parquet").to_pylist()
    assert len(held) == 3
    assert held[0]["extra_info"]["split"] == "val"


def test_without_pyarrow_there_is_a_remedy(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(data, "import_module", missing)
    with pytest.raises(PreflightError, match="pip install pyarrow"):
        export_recipe(recipe(tmp_path), CATALOG, target="verl", folder=tmp_path / "out", rows=3)
    assert not (tmp_path / "out").exists()
    assert json.dumps([path.name for path in tmp_path.iterdir()]) == '["small.yaml"]'
