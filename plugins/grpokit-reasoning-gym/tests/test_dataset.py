"""Rows: the same in every process, splits without a common question, mixtures, and mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from grpokit.api import PreflightError
from grpokit_reasoning_gym import gym
from grpokit_reasoning_gym.config import GymConfig, TaskConfig
from grpokit_reasoning_gym.dataset import GymDataset, held_out

TASKS = ("chain_sum", "graph_color", "sudoku", "gsm_symbolic", "number_sorting", "word_sorting")


def rows(count=30, **settings):
    found = GymDataset(GymConfig(**settings))
    return [found[index] for index in range(min(count, found.size))]


def test_rows_are_plain_data_and_answers_are_text():
    for task in TASKS:
        (row,) = rows(1, task=task)
        assert json.loads(json.dumps(row)) == row
        assert list(row) == list(GymDataset.columns)
        assert isinstance(row["answer"], str)
        assert row["answer"]
        assert row["task"] == task


def test_every_process_makes_the_same_rows_but_of_the_listed_tasks():
    code = f"""
import hashlib, json
from grpokit_reasoning_gym import gym
from grpokit_reasoning_gym.config import GymConfig
from grpokit_reasoning_gym.dataset import GymDataset
found = []
for task in {TASKS!r}:
    data = GymDataset(GymConfig(task=task, seed=3))
    found.append([data[index] for index in (5, 2, 0)] + [data.fingerprint])
listed = dict()
for task in sorted(gym.HASH_SEED_TASKS - {{"knight_swap"}}):  # which is slow
    made = gym.task_at(task, "{{}}", 123, 50)
    listed[task] = [[made[i]["question"], made[i]["answer"]] for i in (0, 1, 7, 30)]
print(json.dumps([found, listed]))
"""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    told = [json.loads(run.communicate(timeout=120)[0]) for run in runs]
    assert told[0][0] == told[1][0]
    for task, found in zip(TASKS, told[0][0], strict=True):
        data = GymDataset(GymConfig(task=task, seed=3))
        assert [data[0], data[2], data[5], data.fingerprint] == [found[n] for n in (2, 1, 0, 3)]
    for task, first in told[0][1].items():
        assert first != told[1][1][task]


def test_no_question_of_the_test_split_is_in_training():
    """In a small space, where seeds alone would share most of their questions."""
    small = {"task": "chain_sum", "settings": {"max_terms": 2, "max_digits": 1}}
    train = {row["question"] for row in rows(400, **small)}
    for seed in (0, 1, 7):
        test = {row["question"] for row in rows(100, **small, split="test", seed=seed)}
        assert not train & test
        assert all(held_out(question, 0.2) for question in test)
    assert len(train) > 100


def test_the_library_s_own_seeds_share_rows():
    """The reason for splits by question: entry i of seed s is entry i - 1 of seed s + 1."""
    first, second = (gym.task_at("chain_sum", "{}", seed, 10) for seed in (5, 6))
    assert first[4]["question"] == second[3]["question"]
    ours = [{row["question"] for row in rows(50, task="chain_sum", seed=seed)} for seed in (5, 6)]
    assert len(ours[0] & ours[1]) < 3


def test_a_mixture_has_its_weights():
    mixture = [
        TaskConfig(task="chain_sum", weight=3.0, settings={"max_terms": 2}),
        TaskConfig(task="leg_counting"),
    ]
    found = rows(400, tasks=mixture)
    count = Counter(row["task"] for row in found)
    assert 0.68 < count["chain_sum"] / 400 < 0.82
    assert all(
        row["entry"]["settings"] == {"max_terms": 2} for row in found if "sum" in row["task"]
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"task": "chain_sums"}, "did you mean chain_sum"),
        ({"task": "composite"}, "write a mixture as tasks"),
        ({"task": "chain_sum", "settings": {"max_term": 2}}, "did you mean max_terms"),
        ({"task": "chain_sum", "settings": {"seed": 2}}, "it has no setting 'seed'"),
        ({"task": "chain_sum", "settings": {"max_terms": 1}}, "max_terms must be >= min_terms"),
        ({"task": "chain_sum", "settings": {"max_terms": "many"}}, "it refuses these settings"),
    ],
)
def test_mistakes_are_told_before_the_run(settings, said):
    with pytest.raises(PreflightError) as caught:
        GymDataset(GymConfig(**settings))
    assert said in str(caught.value)


def test_a_split_without_questions_is_an_error():
    with pytest.raises(PreflightError, match="too few different questions"):
        rows(60, task="chain_sum", held_out=1e-9, split="test")


@pytest.mark.parametrize("settings", [{}, {"task": "a", "tasks": [TaskConfig(task="b")]}])
def test_one_task_or_several(settings):
    with pytest.raises(ValueError, match="give either task or tasks"):
        GymConfig(**settings)
    with pytest.raises(ValueError, match="settings stand beside"):
        GymConfig(tasks=[TaskConfig(task="b")], settings={"x": 1})


def test_tasks_that_hang_on_the_hash_seed_are_refused(monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    for task in sorted(gym.HASH_SEED_TASKS):
        with pytest.raises(PreflightError, match="PYTHONHASHSEED=0"):
            GymDataset(GymConfig(task=task))
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    gym.check_settings("ransom_note", {})
