"""The recipes of the paper: each value against the authors' settings, and two real steps of each."""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import get_cosine_schedule_with_warmup

from commands import Commands
from grpokit.compose.asked import as_asked
from grpokit.compose.load import load_recipe
from grpokit.compose.prompts import build_messages
from grpokit.registry.catalog import Catalog
from grpokit.spec.recipe import Recipe
from tiny_model import write_tiny_model

hf_optim = pytest.importorskip("grpokit_hf.optim")

DATA = Path(__file__).parents[4] / "shared" / "data"
GSM, PAPER, MATH = "gsm8k-qwen-cppo", "gsm8k-qwen-cppo-paper", "math-qwen7b-cppo"

# What the authors' scripts set, or leave at the defaults of their trainer; GSM8K, then MATH.
AUTHORS: dict[str, tuple[Any, Any]] = {
    "model.id": ("Qwen/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-7B-Instruct"),
    "model.dtype": ("bfloat16", "bfloat16"),
    "model.lora": (None, None),
    "model.gradient_checkpointing": (True, True),
    "dataset.use": ("hub", "hub"),
    "dataset.with.id": ("openai/gsm8k", "DigitalLearningGmbH/MATH-lighteval"),
    "dataset.with.name": ("main", "default"),
    "dataset.with.split": ("train", "train"),
    "dataset.limit": (None, None),
    "prompt.template": ("{question}", "{problem}"),
    "prompt.examples": ([], []),
    "rewards.0.use": ("cppo/gsm8k-accuracy", "cppo/math-accuracy"),
    "rewards.0.weight": (1.0, 1.0),
    "rewards.1.use": ("cppo/think-answer-format", "cppo/think-answer-format"),
    "rewards.1.weight": (1.0, 1.0),
    "algorithm.use": ("cppo/cppo", "cppo/cppo"),
    "algorithm.with.rate": (0.875, 0.75),
    "algorithm.with.allocation": ("fixed", "fixed"),
    "algorithm.with.metric": ("smallest", "smallest"),
    "algorithm.with.scope": ("device", "device"),
    "algorithm.with.devices": (None, 3),
    "algorithm.with.aggregation": ("token-mean", "token-mean"),
    "algorithm.with.epsilon": (0.2, 0.2),
    "algorithm.with.beta": (0.04, 0.04),
    "algorithm.with.std_ddof": (1, 1),
    "algorithm.with.std_eps": (1e-4, 1e-4),
    "algorithm.parts": ({}, {}),
    "rollout.prompts": (1, 3),
    "rollout.group": (16, 16),
    "rollout.temperature": (1.0, 1.0),
    "rollout.top_p": (1.0, 1.0),
    "rollout.top_k": (0, 0),
    "rollout.min_p": (0.0, 0.0),
    "rollout.max_tokens": (1024, 1024),
    "rollout.max_prompt_tokens": (512, None),
    "rollout.shuffle": (True, True),
    "optim.lr": (1e-6, 1e-6),
    "optim.schedule": ("cosine", "cosine"),
    "optim.warmup": (0.1, 0.1),
    "optim.iterations": (2, 2),
    "optim.minibatches": (1, 1),
    "optim.max_grad_norm": (1.0, 1.0),
    "optim.betas": ([0.9, 0.999], [0.9, 0.999]),
    "optim.eps": (1e-8, 1e-8),
    "optim.weight_decay": (0.0, 0.0),
    "train.seed": (42, 42),
    "train.steps": (7473 // 8, 7500 // 12),
    "eval.dataset.with.id": ("openai/gsm8k", "HuggingFaceH4/MATH-500"),
    "eval.dataset.with.name": ("main", "default"),
    "eval.dataset.with.split": ("test", "test"),
    "eval.correct": ("gsm8k-accuracy", "math-accuracy"),
    "eval.limit": (None, None),
    "eval.every": (50, 50),
    "eval.temperature": (0.0, 0.0),
    "eval.max_tokens": (1024, 1024),
}
OPENING = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves "
    "it. The assistant first thinks about the reasoning process in the mind and then provides the "
    "user with the answer. "
)
BOX = (
    "And the answer should be of the following format: 'Therefore, the final answer is: "
    "$\\boxed{{ANSWER}}$. I hope it is correct' (without quotes) where ANSWER is just the final "
    "number or expression that solves the problem. "
)
TAGS = (
    "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> "
    "tags, respectively, i.e., <think> reasoning process here </think>\n"
    "<answer> answer here </answer>."
)
SYSTEM = {GSM: OPENING + TAGS, PAPER: OPENING + TAGS, MATH: OPENING + BOX + TAGS + " "}


@cache
def recipe_of(name: str) -> Recipe:
    return load_recipe(name, catalog=Catalog.load()).recipe


def value_of(recipe: Recipe, path: str) -> Any:
    value: Any = recipe.model_dump(by_alias=True, mode="json")
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, list) else value.get(key)
    return value


@pytest.mark.parametrize("path", AUTHORS)
def test_every_value_is_that_of_the_authors(path):
    gsm, math_ = AUTHORS[path]
    assert value_of(recipe_of(GSM), path) == gsm
    assert value_of(recipe_of(MATH), path) == math_


def test_the_paper_differs_in_scope_and_loss_only():
    plain, paper = (recipe_of(name).model_dump(by_alias=True) for name in (GSM, PAPER))
    found = paper["algorithm"]["with"]
    assert (found["scope"], found["aggregation"]) == ("question", "sequence-mean")
    assert found.get("normalise", "kept") == "kept"
    paper["algorithm"]["with"] = {**found, "scope": "device", "aggregation": "token-mean"}
    paper["summary"] = plain["summary"]
    assert paper == plain


@pytest.mark.parametrize(("name", "length"), [(GSM, 399), (PAPER, 399), (MATH, 619)])
def test_the_prompt_word_for_word(name, length):
    question = "How much is {1} \\frac{2}{3}?"
    row = {"question": question, "problem": question}
    system, user = build_messages(recipe_of(name).prompt, row)
    assert system == {"role": "system", "content": SYSTEM[name]}
    assert len(SYSTEM[name]) == length
    assert user == {"role": "user", "content": question}


@pytest.mark.parametrize(("name", "planned", "warm"), [(GSM, 1869, 187), (MATH, 1250, 125)])
def test_the_learning_rate_is_theirs_by_optimiser_step(name, planned, warm):
    """Theirs starts at 0 and is one step behind in the warm-up; that is the whole difference."""
    recipe = recipe_of(name)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-6)
    schedule = get_cosine_schedule_with_warmup(optimizer, warm, planned)
    for index in range(recipe.train.steps * 2):
        ours = hf_optim.learning_rate(recipe, index)
        assert ours == pytest.approx(schedule.get_last_lr()[0], abs=1.001e-6 / warm)
        optimizer.step()
        schedule.step()
    assert hf_optim.learning_rate(recipe, warm) == 1e-6
    assert index + 1 in (planned - 1, planned)


PAGE = Path(__file__).parents[3] / "docs" / "cppo.md"
RATES = re.findall(
    r"^\| ([\d.]+) \| (\d+) \| (\d+), (\d+) \| (\d+) \| (\d+), (\d+) \| (\d+) \|$",
    PAGE.read_text("utf-8"),
    re.MULTILINE,
)


@pytest.mark.parametrize("row", RATES, ids=lambda row: row[0])
def test_the_other_rates_of_the_page(row):
    """What the page says to set fits the group, trains on as many rows, and is one epoch."""
    rate, kept, *rest = map(float, row)
    for name, rows, devices, (prompts, steps, updates) in (
        (GSM, 7473, 1, rest[:3]),
        (MATH, 7500, 3, rest[3:]),
    ):
        values = {"algorithm.with.rate": f"{rate:g}", "train.steps": f"{steps:g}"}
        changes = [f"{key}={value}" for key, value in values.items()]
        recipe = load_recipe(name, overrides=changes, catalog=Catalog.load()).recipe
        assert as_asked(recipe, Catalog.load()).rollout.prompts == prompts
        assert kept == 16 * (1 - rate)
        assert prompts * kept == 16 * devices
        assert recipe.train.steps == rows // prompts
        assert updates == 2 * steps


def test_the_page_has_all_rates():
    assert [float(row[0]) for row in RATES] == [0, 0.5, 0.75, 0.875, 0.9375]


@pytest.mark.parametrize("name", [GSM, PAPER, MATH])
def test_where_there_is_no_hub_the_plan_says_so(name, tmp_path):
    def grpokit(*argv: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-m", "grpokit", *argv],
            capture_output=True, text=True, cwd=tmp_path, env=environment,
        )  # fmt: skip

    check = grpokit("recipes", "check", name)
    assert check.returncode == 0, check.stderr
    plan = grpokit("plan", name)
    words = " ".join(plan.stdout.split())
    assert plan.returncode == 3
    for asked in (recipe_of(name).model.id, recipe_of(name).dataset.with_["id"]):
        assert f"{asked}:" in words or f"{asked} is not on this machine" in words
    assert "HF_HUB_OFFLINE is set" in words
    assert "1,868 steps" in words or "1,250 steps" in words
    assert "Traceback" not in plan.stdout + plan.stderr


# ------------------------------------------------------------------ two real steps of a tiny model

needs_data = pytest.mark.skipif(
    not (DATA / "gsm8k" / "train.jsonl").is_file(), reason="../shared/data is not there"
)
FILES = {GSM: "gsm8k/train", PAPER: "gsm8k/train", MATH: "math500/test"}
HELD_OUT = {GSM: "gsm8k/test", PAPER: "gsm8k/test", MATH: "math500/test"}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    folder = tmp_path_factory.mktemp("cppo-recipes")
    write_tiny_model(folder / "tiny")
    with Commands(folder) as found:
        yield found


def overrides(name: str) -> list[str]:
    """The recipe on local files, with a tiny model, and a third reward that such a model can earn."""
    rewards = [reward.use for reward in recipe_of(name).rewards]
    listed = ", ".join(f"{{use: {use}, weight: 1.0}}" for use in rewards)
    length = "{use: length, weight: 1.0, with: {unit: characters, max: 3, ramp: 12}}"
    values = {
        "model.id": "tiny",
        "dataset": f"{{use: jsonl, limit: 60, with: {{path: {DATA / FILES[name]}.jsonl}}}}",
        "eval.dataset": f"{{use: jsonl, with: {{path: {DATA / HELD_OUT[name]}.jsonl}}}}",
        "eval.limit": "2",
        "eval.every": "2",
        "eval.max_tokens": "4",
        "rewards": f"[{listed}, {length}]",
        "rollout.max_tokens": "12",
        "rollout.max_prompt_tokens": "1900",  # a token a character
        "rollout.on_long_prompt": "drop",
        "backend.with": "{threads: 1, device: cpu}",
        "train.show_every": "0",
    }
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


@needs_data
@pytest.mark.parametrize(
    ("name", "pools", "kept_each"), [(GSM, 1, 16), (PAPER, 8, 2), (MATH, 3, 16)]
)
def test_two_real_steps(commands, name, pools, kept_each):
    if name == MATH:
        pytest.importorskip("grpokit_math", reason="needs grpokit-cppo[math]")
    out = commands.folder / name
    status = commands.run(
        "train", name, *overrides(name), "--steps", "2", "--set", f"train.out={out}"
    )
    assert status == 0, commands.output
    (run,) = out.iterdir()
    recipe = recipe_of(name)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "reward" in line] == [1, 2]
    group, prompts = recipe.rollout.group, as_asked(recipe, Catalog.load()).rollout.prompts
    assert prompts == {GSM: 8, PAPER: 8, MATH: 12}[name]
    for index, line in enumerate(line for line in lines if "reward" in line):
        assert line["trained_rows"] == pools * kept_each
        assert line["optimizer_steps"] == 2
        assert line["failures"] == 0
        assert 0 < line["grad_norm"] < math.inf
        assert line["kl"] >= 0
        done = (2 * index + 1) / 4  # the second optimiser step of the step, of 4 in all
        assert line["lr"] == pytest.approx(1e-6 * 0.5 * (1 + math.cos(math.pi * done)))
        for reward in recipe.rewards:
            assert line[f"rewards/{reward.use.rpartition('/')[2]}/mean"] == 0.0
    rows = [json.loads(line) for line in (run / "rollouts.jsonl").read_text().splitlines()]
    for step in (1, 2):
        groups = [row for row in rows if row["step"] == step]
        assert [len(row["completions"]) for row in groups] == [group] * prompts
        assert all(row["prompt"]["messages"][0]["content"] == SYSTEM[name] for row in groups)
        check_advantages(groups)
        each = prompts // pools
        for first in range(0, prompts, each):
            check_pool(groups[first : first + each], kept_each)
    assert list((run / "final").glob("*.safetensors"))


def check_advantages(groups: list[dict[str, Any]]) -> None:
    for row in groups:
        totals = [one["total"] for one in row["completions"]]
        mean, std = statistics.fmean(totals), statistics.stdev(totals)
        for one in row["completions"]:
            expected = (one["total"] - mean) / (std + 1e-4)
            assert one["advantage"] == pytest.approx(expected, abs=1e-4)


def check_pool(groups: list[dict[str, Any]], count: int) -> None:
    """Of these questions' completions the ``count`` of largest absolute advantage trained."""
    rows = [one for row in groups for one in row["completions"]]
    kept = [abs(one["advantage"]) for one in rows if one["kept"]]
    others = [abs(one["advantage"]) for one in rows if not one["kept"]]
    assert len(kept) == count
    assert min(kept) >= max(others) - 1e-6
    assert max(kept) > min(others)
