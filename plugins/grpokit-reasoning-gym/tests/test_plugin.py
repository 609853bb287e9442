"""The plugin is in order, and costs nothing until it is used."""

import subprocess
import sys

from grpokit.testing import check_dataset, check_plugin, check_reward
from grpokit_reasoning_gym import gym


def test_the_plugin_is_in_order():
    check_plugin("reasoning-gym")


def test_what_every_data_set_promises():
    mixture = [{"task": "sudoku"}, {"task": "letter_counting", "weight": 2.0}]
    check_dataset("reasoning-gym/tasks", {"task": "chain_sum"}, {"tasks": mixture, "size": 20})


def test_what_every_reward_promises():
    entries = [
        {"task": task, "settings": {}, "seed": 5, "size": 20, "index": 1}
        for task in ("chain_sum", "countdown", "graph_color", "spiral_matrix", "simple_integration")
    ]
    made = [gym.entry_at(entry)[1] for entry in entries]
    rows = [
        {"question": one["question"], "answer": one["answer"], "entry": entry}
        for one, entry in zip(made, entries, strict=True)
    ]
    for settings in ({}, {"extract": "whole", "partial": True}):
        check_reward("reasoning-gym/score", *rows, settings=settings)


def test_the_library_is_imported_with_the_first_task_only():
    code = """
import sys
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import config_model, resolve
catalog = Catalog.load()
for kind, name in (("dataset", "tasks"), ("reward", "score")):
    entry = catalog.find(kind, f"reasoning-gym/{name}")
    config_model(entry), resolve(entry.spec.target)
assert not {"reasoning_gym", "sympy", "numpy", "torch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
