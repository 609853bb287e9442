"""Real runs with an installed plugin whose rewards misbehave: the outcome is the documented one.

The table of docs/reward-faults.md has a row for each fault here, and no other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import Commands
from hostile_plugin import hostile_plugin
from naughty import children

PLUGIN = "hostile/acts (grpokit-hostile 6.6)"
PAGE = Path(__file__).parents[2] / "docs/reward-faults.md"
GROUP = 4

FAULTS: dict[str, tuple[str, str]] = {
    "raises": ("exception", "raised ValueError: I do not like it"),
    "raises a novel": ("exception", "raised ValueError: nnn"),
    "raises SystemExit": ("exception", "raised SystemExit: bye"),
    "raises StopIteration": ("exception", "raised StopIteration"),
    "raises what cannot be told": ("exception", "Mute: <exception str() failed>"),
    "a number that exits": ("exception", "raised SystemExit: 1"),
    "recurses": ("exception", "raised RecursionError"),
    "os._exit": ("crash", "its process ended with exit code 0"),
    "os._exit in a thread": ("crash", "its process ended with exit code 5"),
    "kills itself": ("crash", "its process was killed by SIGKILL"),
    "crashes in C": ("crash", "its process was killed by SIGSEGV"),
    "forks and exits": ("crash", "its process ended with exit code 9"),
    "writes into every descriptor": ("crash", "its process closed the channel to the trainer"),
    "writes what looks like answers": ("crash", "closed the channel to the trainer, or wrote into"),
    "loops": ("timeout", "gave no answer within 1 s"),
    "hangs in a C call": ("timeout", "gave no answer within 1 s"),
    "backtracks in re": ("timeout", "gave no answer within 1 s"),
    "sleeps, all signals ignored": ("timeout", "gave no answer within 1 s"),
    "eats memory": ("memory", "scoring.memory allows 0.5 GiB"),
    "asks for a terabyte": ("memory", "scoring.memory allows 0.5 GiB"),
    "leaks memory": ("memory", "scoring.memory allows 0.5 GiB"),
    "NaN": ("non-finite", "returned nan"),
    "infinity": ("non-finite", "returned a number beyond float32"),
    "an integer of a million digits": ("non-finite", "returned a number beyond float32"),
    "text": ("type", "returned the text '1.0'"),
    "bytes": ("type", "returned a bytes"),
    "a list": ("type", "returned a list of 1"),
    "a dict": ("type", "returned a dict of 1"),
    "a complex number": ("type", "returned a complex"),
    "a generator": ("type", "returned a generator"),
    "a function": ("type", "returned a type"),
    "an object that raises": (
        "type",
        "returned a Liar that cannot be read: it raised RuntimeError",
    ),
    "a number that raises": ("type", "returned a Breaks that cannot be read"),
    "a Score with a NaN part": ("non-finite", "component 'tone' is nan"),
    "a Score of 1,000 parts": ("type", "returned a Score of 1000 components"),
    "a Score with odd parts": ("type", "returned a Score that cannot be read"),
}
"""What the reward does -> the kind of the failure and words of its message."""

SCORES: dict[str, float | None] = {
    "None": None,
    "sys.exit in a thread": 0.5,
    "raises in a thread": 0.5,
    "closes its streams": 0.5,
    "prints a gigabyte": 0.5,
    "forks, and the child returns too": 0.5,
    "leaves a daemon": 0.5,
    "replaces json.dumps": 0.5,
    "a Score with a note of 4 MB": 0.5,
    "a coroutine": 0.5,
    "uses torch": 1.0,
    "True": 1.0,
    "a Fraction or Decimal": 0.5,
}
"""What is no fault, and the score that stands."""

RECIPE: dict[str, Any] = {
    "grpokit": 1,
    "model": {"id": "", "lora": {"rank": 4, "alpha": 8}, "dtype": "float32"},
    "dataset": {"use": "inline", "with": {"rows": []}},
    "rewards": [{"use": "hostile/acts"}, {"use": "length", "weight": 0.1, "with": {"max": 9}}],
    "scoring": {"timeout": 30.0, "memory": 0.5, "max_error_rate": 1.0},
    "rollout": {"prompts": 1, "group": GROUP, "max_tokens": 3, "shuffle": False},
    "backend": {"use": "hf", "with": {"threads": 1, "device": "cpu"}},
    "train": {"steps": 1, "save_every": 50, "out": "runs", "show_every": 0},
}


LATER: dict[str, Any] = {
    "rewards": [{"use": "later"}],
    "scoring": {"timeout": 20.0, "memory": 0.5, "max_error_rate": 0.0},
    "rollout": {"prompts": 1, "group": GROUP, "max_tokens": 3, "shuffle": False},
    "train": {"steps": 5, "save_every": 50, "out": "runs", "show_every": 0},
}
"""From the sixth call on: one step of four is whole, the second one is not."""


@pytest.fixture(scope="module")
def commands(
    tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path
) -> Iterator[Commands]:
    folder = tmp_path_factory.mktemp("hostile")
    hostile_plugin(folder / "site")
    RECIPE["model"]["id"] = str(tiny_model_folder)
    before = children()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder / "site"))
        with Commands(folder) as started:
            yield started
    assert children() <= before


def train(commands: Commands, acts: list[str], code: int = 0, **changes: Any) -> Path:
    """Trains on one row an act; returns the run."""
    data = json.loads(json.dumps({**RECIPE, **changes}))
    data["dataset"]["with"]["rows"] = [
        {"question": f"{n}?", "answer": "a", "act": act, "when": 5} for n, act in enumerate(acts)
    ]
    if "rollout" not in changes:
        data["rollout"]["prompts"] = len(acts)
    (commands.folder / "hostile.yaml").write_text(json.dumps(data))
    # No reward here could pass the check before training.
    command = ("train", "hostile.yaml", "--plain", "--skip-reward-check")
    assert commands.run(*command) == code, commands.output
    assert "Traceback" not in commands.output
    return max((commands.folder / "runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("hangs", [False, True])
def test_each_fault_costs_its_completion_and_the_run_goes_on(
    commands: Commands, *, hangs: bool
) -> None:
    faults = {act: told for act, told in FAULTS.items() if (told[0] == "timeout") == hangs}
    others = [act for act in SCORES if act != "prints a gigabyte"]
    acts = [*faults, *(others if not hangs else ["True"])]
    run = train(commands, acts, scoring={**RECIPE["scoring"], "timeout": 1.0 if hangs else 30.0})
    assert (run / "final" / "run.json").is_file()
    groups = rows(run / "rollouts.jsonl")
    assert len(groups) == len(acts)
    for group, act in zip(groups, acts, strict=True):
        check_group(group["completions"], act)
    (metrics,) = rows(run / "metrics.jsonl")
    assert metrics["failures"] == len(faults)
    logged = rows(run / "failures.jsonl")
    assert {row["kind"] for row in logged} == {kind for kind, _ in faults.values()}
    for row in logged:
        assert row["plugin"] == PLUGIN
        assert row["remedy"]
        assert FAULTS[acts[row["row"]]][0] == row["kind"]
    assert commands.output.count(f"the reward acts of {PLUGIN} failed on ") == len(logged)
    assert "\x1b" not in commands.output
    assert (run / "failures.jsonl").stat().st_size < 50_000
    assert commands.children() == []


def check_group(completions: list[dict[str, Any]], act: str) -> None:
    """The second completion has what the table says, and the others have their scores."""
    others = [each for each in completions if each["sample"] != 1]
    assert [each["rewards"]["acts"] for each in others] == [1.0] * (GROUP - 1), act
    assert all(each["rewards"]["length"] is not None for each in completions), act
    assert not any(each.get("errors") for each in others), act
    one = completions[1]
    if act in SCORES:
        assert (one["rewards"]["acts"], one.get("errors")) == (SCORES[act], None), act
    else:
        assert one["rewards"]["acts"] is None, act
        assert one["total"] is None, act
        assert FAULTS[act][1] in one["errors"]["acts"], act


def test_a_gigabyte_of_print_is_stored_nowhere(commands: Commands) -> None:
    scoring = {"timeout": 60.0, "max_error_rate": 0.0}
    use = [{"use": "peak"}]
    quiet = train(commands, ["True"], callbacks=use, scoring=scoring)
    loud = train(commands, ["prints a gigabyte"], callbacks=use, scoring=scoring)
    found = [c["rewards"]["acts"] for c in rows(loud / "rollouts.jsonl")[0]["completions"]]
    assert found == [1.0, SCORES["prints a gigabyte"], 1.0, 1.0]
    before, after = (int((run / "peak").read_text()) for run in (quiet, loud))
    assert after - before < 50, "the trainer kept what the reward printed"
    assert sum(path.stat().st_size for path in loud.glob("*") if path.is_file()) < 100_000
    assert len(commands.output) < 10_000


@pytest.mark.parametrize(
    ("act", "seconds", "words"),
    [
        ("raises", 20.0, "raised ValueError"),
        ("os._exit", 20.0, "its process ended with exit code 0"),
        ("hangs in a C call", 0.5, "gave no answer within 0.5 s"),
        ("eats memory", 20.0, "ran out of memory"),
        ("text", 20.0, "returned the text '1.0'"),
    ],
)
def test_beyond_the_budget_the_run_ends_and_loses_nothing(
    commands: Commands, act: str, seconds: float, words: str
) -> None:
    scoring = {**LATER["scoring"], "timeout": seconds}
    run = train(commands, [act], code=4, **{**LATER, "scoring": scoring})
    said = commands.output
    assert "reward later of hostile/later (grpokit-hostile 6.6), data set row 0" in said
    assert words in said
    assert f"resume with: grpokit train --resume {run.relative_to(commands.folder)}" in said
    assert [row["step"] for row in rows(run / "metrics.jsonl")] == [1]
    assert len(rows(run / "rollouts.jsonl")) == 1
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000001"]
    (kept,) = rows(run / "unfinished.jsonl")
    assert kept["step"] == 2
    scores = [one["rewards"]["later"] for one in kept["completions"]]
    assert scores[0] == 1.0
    assert None in scores
    assert all(one["text"] for one in kept["completions"])
    assert rows(run / "failures.jsonl")[0]["plugin"] == "hostile/later (grpokit-hostile 6.6)"
    assert commands.children() == []


def test_after_a_repair_the_run_goes_on_with_the_same_completions(commands: Commands) -> None:
    runs = sorted((commands.folder / "runs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    run = runs[-1]
    (kept,) = rows(run / "unfinished.jsonl")
    recipe = commands.folder / "repaired.yaml"
    recipe.write_text((run / "recipe.yaml").read_text().replace("when: 5", "when: 1000"))
    resume = ("train", "repaired.yaml", "--resume", str(run), "--plain", "--force")
    assert commands.run(*resume) == 0, commands.output
    groups = rows(run / "rollouts.jsonl")
    assert [group["step"] for group in groups] == [1, 2, 3, 4, 5]
    again = [one["text"] for one in groups[1]["completions"]]
    assert again == [one["text"] for one in kept["completions"]]


def test_each_round_of_a_failed_step_is_kept(commands: Commands) -> None:
    """Equal scores are dropped and drawn anew; the second round is the one that fails."""
    again = {"use": "dapo", "with": {"metric": "later", "max_rounds": 4, "on_bound": "train"}}
    run = train(commands, ["raises"], code=4, algorithm=again, **LATER)
    first, second = rows(run / "unfinished.jsonl")
    assert [one["rewards"] for one in first["completions"]] == [{"later": 1.0}] * GROUP
    assert [one["rewards"]["later"] for one in second["completions"]] == [1.0, None, None, None]
    assert "the 8 completions of step 1 and their scores" in commands.output


def test_a_reward_that_cannot_be_started_again_ends_the_run(commands: Commands) -> None:
    try:
        run = train(commands, ["loses its module"], code=3, **LATER)
    finally:
        for lost in (commands.folder / "site").rglob("*.py.lost"):
            lost.rename(lost.with_suffix(""))
    assert f"error: reward {PLUGIN.replace('acts', 'later')}: importing" in commands.output
    assert f"grpokit train --resume {run.relative_to(commands.folder)}" in commands.output
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000001"]
    (kept,) = rows(run / "unfinished.jsonl")
    assert kept["step"] == 2
    assert all(one["text"] for one in kept["completions"])
    assert [one["total"] for one in kept["completions"]] == [None] * GROUP
    assert commands.children() == []


def test_the_page_has_a_row_for_each_fault_and_says_what_happens() -> None:
    table = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGE.read_text("utf-8"), re.MULTILINE))
    del table["what the reward does or returns"]
    table = {key: value for key, value in table.items() if not key.startswith("---")}
    expected = {act: f"failure `{kind}`" for act, (kind, _) in FAULTS.items()}
    expected |= {
        act: "abstains" if score is None else "its score counts" for act, score in SCORES.items()
    }
    assert {act: told.partition(":")[0].strip() for act, told in table.items()} == expected
