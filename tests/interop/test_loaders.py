"""One reward, one score: through the loaders of every trainer that we speak to."""

from __future__ import annotations

import pytest

from dists import grpokit
from foreign_loaders import installed, scores
from grpokit.registry.catalog import Catalog
from grpokit.scoring.scorer import Scorer, setups
from grpokit.spec.recipe import RewardSection

CASES = [
    ["It is \\boxed{7}.", "7"],
    ["#### 7", "7"],
    ["It is 8.", "7"],
    ["no number", "7"],
    ["one two three one two three", "7"],
    ["ünïcode \\boxed{1/2} ends", "0.5"],
    ["a\n\nb  c\td é \U0001d7d9 d e f a b c", "1"],
]
NAMES = ["number", "exact", "example_reward_distinct"]
IDS = ["number", "exact", "example-reward/distinct"]
TRAINERS = ("trl", "axolotl", "verl", "verifiers", "openrlhf")


@pytest.fixture(scope="module")
def own():
    """The scores in a training run of our own: abstentions among them."""
    found = {}
    for name, use in zip(NAMES, IDS, strict=True):
        sections = [RewardSection(use=use, name=name)]
        with Scorer(setups(Catalog.load(), sections)) as scorer:
            got = scorer.score_texts([{"answer": a} for _, a in CASES], [[t] for t, _ in CASES])
        assert not got.failures
        found[name] = [group[0] for group in got.rewards[name]]
    assert {None, 1.0} < set(found["example_reward_distinct"])
    assert set(found["number"]) == {0.0, 1.0}
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files that the command writes, for OpenRLHF."""
    folder = tmp_path_factory.mktemp("reward files")
    written = {}
    for name, use in zip(NAMES, IDS, strict=True):
        written[name] = str(folder / f"{name}.py")
        done = grpokit("export", "reward", use, "--to", "openrlhf", "--out", written[name])
        assert done.returncode == 0, done.stderr
        assert f"--reward.remote_url '{written[name]}'" in done.stdout
    return written


@pytest.mark.parametrize("trainer", TRAINERS)
def test_the_same_score_everywhere(trainer, own, files, tiny_model_folder, tmp_path):
    if not installed(trainer):
        pytest.skip(f"tests/requirements-{trainer}.txt is not installed")
    asked = {"cases": CASES, "names": NAMES, "files": files, "model": str(tiny_model_folder)}
    if trainer == "verifiers":
        asked["file"] = f"{tmp_path}/varied.py:distinct"
        done = grpokit(
            "export", "reward", IDS[2], "--to", "verifiers", "--with", "n=3",
            "--out", f"{tmp_path}/varied.py",
        )  # fmt: skip
        assert f'fn = "{asked["file"]}"' in done.stdout
    found = scores(trainer, asked, tmp_path)
    if trainer == "verifiers":  # a file is one function of all rewards: without a total it raises
        for value, expected in zip(found.pop("file"), own[NAMES[2]], strict=True):
            if expected is None:
                assert "TaskError" in value
                assert "no reward applies" in value
            else:
                assert value == expected
    assert found == own
