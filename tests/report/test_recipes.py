"""Which runs are seeds of one recipe, and in what the others differ."""

from __future__ import annotations

import json
from pathlib import Path

from compared_runs import append, compared_run, found_values
from grpokit.report.compare import comparison
from grpokit.report.recipes import labelled, notes
from grpokit.report.series import read_series


def labels(*paths: Path) -> list[str]:
    return [each.label for each in labelled([read_series(path) for path in paths])]


def test_seeds_are_grouped_in_the_order_given(tmp_path: Path) -> None:
    first = [compared_run(tmp_path, f"a{seed}", seed=seed) for seed in (1, 2)]
    other = compared_run(tmp_path, "b", seed=1, optim={"lr": 0.5})
    third = compared_run(tmp_path, "a3", seed=3, torch="2.14.0", eval={"temperature": 0.5})
    assert labels(first[0], other, first[1], third) == ["A1", "B", "A2", "A3"]
    assert labels(other) == ["A"]


def test_another_evaluation_is_no_other_recipe(tmp_path: Path) -> None:
    first, second = compared_run(tmp_path, "a", seed=1), compared_run(tmp_path, "b", seed=2)
    plan = json.loads((second / "plan.json").read_text())
    plan["components"].append({**plan["components"][0], "role": "eval dataset"})
    (second / "plan.json").write_text(json.dumps(plan))
    assert labels(first, second) == ["A1", "A2"]


def test_another_source_or_other_data_is_another_recipe(tmp_path: Path) -> None:
    first = compared_run(tmp_path, "a", seed=1)
    edited = compared_run(tmp_path, "b", seed=2, source="eeee")
    data = compared_run(tmp_path, "c", seed=3)
    plan = (data / "plan.json").read_text()
    (data / "plan.json").write_text(plan.replace('"f0"', '"f1"'))
    assert labels(first, edited, data) == ["A", "B", "C"]


def test_runs_whose_recipe_cannot_be_read_are_no_seeds_of_one(tmp_path: Path) -> None:
    paths = [compared_run(tmp_path, name) for name in "ab"]
    for path in paths:
        (path / "recipe.yaml").write_text("a: [")
    assert labels(*paths) == ["A", "B"]
    assert notes(labelled([read_series(paths[0])])[0]) == ["recipe.yaml cannot be read"]


def test_what_differs(tmp_path: Path) -> None:
    paths = [
        compared_run(tmp_path, "a1", seed=1),
        compared_run(tmp_path, "a2", seed=2, torch="2.14.0"),
        compared_run(tmp_path, "b", seed=1, optim={"lr": 0.5}, train={"save_every": 7}),
        compared_run(tmp_path, "c", seed=1, source="eeee", rollout={"group": 4}),
    ]
    data = comparison([read_series(path) for path in paths])
    assert [(each["what"], each["kind"]) for each in data["differences"]] == [
        ("source of reward exact", "component"),
        ("rollout.group", "recipe"),
        ("optim.lr", "recipe"),
        ("torch", "environment"),
    ]
    assert found_values(data, "source of reward exact") == {"A B": "aaaa", "C": "eeee"}
    assert found_values(data, "torch") == {"A1 B C": "2.13.0", "A2": "2.14.0"}
    assert found_values(data, "optim.lr")["B"] == 0.5
    (alert,) = data["alerts"]
    assert alert.startswith("the source of reward exact is not the same (A, B aaaa; C eeee): ")
    assert data["recipes"][0] == {"label": "A", "runs": ["A1", "A2"], "seeds": [1, 2]}


def test_a_component_setting_that_came_later_is_no_difference(tmp_path: Path) -> None:
    old, new = compared_run(tmp_path, "a", seed=1), compared_run(tmp_path, "b", seed=2)
    plan = (new / "plan.json").read_text()
    settings = '"settings": {"strip": true}'
    (new / "plan.json").write_text(
        plan.replace('"settings": {}, "kind": "reward"', f'{settings}, "kind": "reward"')
    )
    data = comparison([read_series(old), read_series(new)])
    assert data["differences"] == []
    written = '"settings": {"strip": false}'
    (old / "plan.json").write_text(
        plan.replace('"settings": {}, "kind": "reward"', f'{written}, "kind": "reward"')
    )
    data = comparison([read_series(old), read_series(new)])
    assert found_values(data, "rewards.0.with.strip") == {"A": False, "B": True}


def test_notes_of_a_run(tmp_path: Path) -> None:
    path = compared_run(tmp_path, "a")
    append(path, "damaged\n")
    append(path, '{"forced": ["optim.lr: 1, now 2"]}\n[]\n{"forced": 3}\n', "resumes.jsonl")
    assert notes(labelled([read_series(path)])[0]) == [
        "1 damaged line left out: sums of completions, tokens and seconds are too small",
        "resumed by force with a change: optim.lr: 1, now 2",
    ]
    (path / "metrics.jsonl").unlink()
    assert "no step yet" in notes(labelled([read_series(path)])[0])


def test_many_recipes_have_letters(tmp_path: Path) -> None:
    path = compared_run(tmp_path, "a", steps=1)
    runs = []
    for number in range(28):
        (path / "plan.json").write_text(f'{{"dataset_fingerprint": "{number}"}}')
        runs.append(read_series(path))
    assert [each.label for each in labelled(runs)][24:] == ["Y", "Z", "AA", "AB"]
