"""``like``: what it fills, what it leaves alone, where it is refused, and how a recipe shows it."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
from pydantic import ValidationError

from dists import grpokit
from grpokit.algorithms.grpo_config import GrpoConfig
from grpokit.algorithms.like import FRAMEWORKS, Likeable, choices
from grpokit.algorithms.named_config import BnpoConfig, LuspoConfig, NamedCispoConfig, RlooConfig
from grpokit.registry.resolve import resolve
from like_draws import SPECS, named
from small_runs import steps

MODELS = {name: resolve(spec.config) for name, spec in SPECS.items() if spec.config}


def test_it_fills_what_is_not_written():
    plain, found = GrpoConfig(), GrpoConfig(like="verl")
    assert plain.like is None
    assert (found.kl_limit, found.dual_clip, found.std_eps) == (10.0, 3.0, 1e-6)
    assert (found.log_ratio_min, found.log_ratio_max) == (-20.0, 20.0)
    assert (found.empty_rows, found.aggregation) == ("leave-out", "token-mean")
    assert (found.epsilon, found.beta) == (plain.epsilon, plain.beta)
    assert GrpoConfig(like="trl").kl_times_ratio is True


def test_what_is_written_wins():
    found = GrpoConfig(like="verl", dual_clip=None, std_eps=0.5, aggregation="sequence-mean")
    assert (found.dual_clip, found.std_eps, found.aggregation) == (None, 0.5, "sequence-mean")
    assert found.kl_limit == 10.0
    assert NamedCispoConfig(like="verl", cap=1.4).floor == 0.8
    assert GrpoConfig.model_validate(found.model_dump()) == found


@pytest.mark.parametrize("word", FRAMEWORKS)
@pytest.mark.parametrize("name", MODELS)
def test_a_table_has_only_settings_that_are_there_or_says_why_not(name, word):
    model = MODELS[name]
    if not issubclass(model, Likeable):
        pytest.skip("not one of GRPO's relatives")
    table = choices(model)[word]
    if isinstance(table, str):
        with pytest.raises(ValidationError, match="is not possible here: "):
            model(like=word)
        return
    found = model(like=word)
    for setting, value in table.items():
        assert getattr(found, setting) == value
    assert found.origins() == dict.fromkeys(table, f"like: {word}")


def test_an_algorithm_that_the_framework_lacks_is_refused():
    with pytest.raises(ValidationError, match="what TRL calls bnpo is bnpo-trl here"):
        BnpoConfig(like="trl")
    with pytest.raises(ValidationError, match="verl has no LUSPO"):
        LuspoConfig(like="verl")
    with pytest.raises(ValidationError, match="TRL's RLOO takes the divergence off the reward"):
        RlooConfig(like="trl", beta=0.05)


def test_a_relative_does_not_inherit_the_words():
    """A subclass may be another algorithm: nobody has compared it."""

    class Mine(GrpoConfig):
        pass

    assert Mine().like is None
    with pytest.raises(ValidationError, match="nobody has compared this algorithm with TRL"):
        Mine(like="trl")


def test_settings_that_contradict_each_other():
    with pytest.raises(ValidationError, match="delta and dual_clip bound the same tokens"):
        GrpoConfig(like="verl", delta=1.5)
    assert GrpoConfig(like="verl", delta=1.5, dual_clip=None).delta == 1.5


def test_no_torch():
    code = "import sys, grpokit.algorithms.named_config as c; c.GspoConfig(like='trl'); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("name", "word"), [("grpo", "verl"), ("rloo", "trl"), ("bnpo-trl", "trl")])
def test_two_real_steps(tiny_model_folder, name, word):
    """Through a backend: generation, selection, minibatches."""
    algorithm = named(name, like=word, mask_truncated=True)
    for step in steps(tiny_model_folder, algorithm, 2):
        assert all(math.isfinite(value) for value in step.update.metrics.values())


RECIPE = "grpokit: 1\nextends: quickstart\nalgorithm: {use: %s, with: {like: %s, std_eps: 0.5}}\n"


def test_a_recipe_shows_what_the_word_chose(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE % ("gspo", "verl"))
    done = grpokit("recipes", "show", str(path), "--resolved")
    lines = {" ".join(line.split()) for line in done.stdout.splitlines()}
    assert "log_ratio_max: 10.0 # like: verl" in lines
    assert "beta: 0.0 # default" in lines
    assert any(line.startswith("std_eps: 0.5 #") and "r.yaml:3" in line for line in lines)


def test_a_recipe_that_cannot_be_like_it_is_refused_at_its_place(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(RECIPE % ("lite-ppo", "verl"))
    done = grpokit("recipes", "check", str(path))
    assert done.returncode == 2
    assert "r.yaml:3:" in done.stdout + done.stderr
    assert "like: verl is not possible here" in " ".join((done.stdout + done.stderr).split())


def test_the_command_line_shows_both_sets():
    told = {
        " ".join(line.split())
        for line in grpokit("algorithms", "show", "bnpo-trl").stdout.splitlines()
    }
    assert 'like: trl kl_times_ratio: true, entropy_mean: "tokens"' in told
    assert any(line.startswith("like: verl not possible: verl has no loss") for line in told)
    done = grpokit("algorithms", "show", "cispo", "--json")
    (found,) = json.loads(done.stdout)["algorithms"]
    assert found["like"]["verl"]["floor"] == 0.8
