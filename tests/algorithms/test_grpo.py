"""Settings of grpo, its registration, and parts that replace its own."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pydantic
import pytest

from grpokit.algorithms import AXES, Composition, build_algorithm, token_mean
from grpokit.algorithms.grpo import build
from grpokit.algorithms.grpo_config import GrpoConfig
from grpokit.algorithms.part_config import ClipConfig
from grpokit.builtins.hooks import grpokit_algorithms
from grpokit.errors import ComponentError
from grpokit.registry.resolve import resolve
from grpokit.spec.contracts import Algorithm
from loss_reference import random_inputs

SPECS = tuple(grpokit_algorithms())


def test_defaults_are_the_papers_and_written_down():
    config = GrpoConfig()
    assert (config.epsilon, config.epsilon_high, config.delta) == (0.2, None, None)
    assert (config.beta, config.kl_estimator, config.kl_times_ratio) == (0.0, "k3", False)
    assert (config.std_ddof, config.std_eps) == (1, 1e-4)
    assert config.aggregation == "sequence-mean"
    assert isinstance(build(config), Algorithm)


@pytest.mark.parametrize("model", [GrpoConfig, ClipConfig])
@pytest.mark.parametrize(
    ("settings", "bound"),
    [
        ({"delta": 1.2}, "1 + epsilon = 1.2"),
        ({"delta": 1.25, "epsilon_high": 0.28}, "1 + epsilon_high = 1.28"),
        ({"delta": -1.0, "epsilon": 0.3}, "1 + epsilon = 1.3"),
    ],
)
def test_delta_inside_the_clip_region_is_refused(model, settings, bound):
    with pytest.raises(pydantic.ValidationError) as caught:
        model(**settings)
    (error,) = caught.value.errors()
    assert f"must exceed {bound}" in error["msg"]


@pytest.mark.parametrize(
    "settings",
    [
        {"epsilon": 0.0},
        {"epsilon": 1.5},
        {"epsilon_high": -0.1},
        {"beta": -0.1},
        {"std_ddof": 2},
        {"std_eps": -1.0},
        {"kl_estimator": "k4"},
        {"aggregation": "mean"},
        {"drop_dead": True, "beta": 0.1},
        {"epsilon": "0.2"},
        {"clip": 0.2},
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(pydantic.ValidationError):
        GrpoConfig(**settings)


def test_what_settings_need():
    assert GrpoConfig().needs() == frozenset()
    assert GrpoConfig(beta=0.1, entropy_coef=0.1).needs() == {"reference", "entropy"}


def without_settings(spec) -> bool:
    """The others are built in test_combinations.py."""
    fields = resolve(spec.config).model_fields.values() if spec.config else ()
    return not any(field.is_required() for field in fields) and spec.name != "variance"


@pytest.mark.parametrize("spec", list(filter(without_settings, SPECS)), ids=lambda spec: spec.name)
def test_registered_components_build(spec):
    target = resolve(spec.target)
    made = target(resolve(spec.config)()) if spec.config else target()
    if not spec.axis:
        assert isinstance(made, Algorithm)
        return
    changed = build_algorithm(build(GrpoConfig()), {spec.axis: made})
    assert isinstance(changed, Composition)
    assert changed.part(spec.axis) is made
    changed.loss(random_inputs(0))


def test_every_axis_has_a_registered_part_and_names_are_unique():
    assert {spec.axis for spec in SPECS} - {""} == set(AXES)
    names = [spec.name for spec in SPECS]
    assert len(names) == len(set(names))


def test_replacing_a_part_changes_the_loss_and_nothing_else():
    base = build(GrpoConfig())
    changed = build_algorithm(base, {"aggregation": token_mean})
    inputs = random_inputs(5)
    expected = build(GrpoConfig(aggregation="token-mean")).loss(inputs).loss
    assert changed.loss(inputs).loss == expected
    assert base.loss(inputs).loss != expected
    assert build_algorithm(base, {}) is base


def test_unknown_axes_are_named_together_with_those_that_exist():
    with pytest.raises(ComponentError) as caught:
        build_algorithm(build(GrpoConfig()), {"agregation": token_mean, "flavour": print})
    text = str(caught.value)
    assert "agregation, flavour" in text
    assert "aggregation instead of agregation" in text
    assert all(axis in text for axis in AXES)
    with pytest.raises(ComponentError, match="flavour"):
        build(GrpoConfig()).replace("flavour", print)


def test_an_algorithm_that_is_not_composed_has_no_parts():
    class Whole:
        pass

    with pytest.raises(ComponentError, match="Whole is not composed of parts"):
        build_algorithm(Whole(), {"clip": partial(print)})


def test_settings_and_the_package_load_without_torch():
    code = (
        "import sys, grpokit.algorithms, grpokit.builtins.hooks, grpokit.algorithms.grpo_config, "
        "grpokit.algorithms.part_config\n"
        "from grpokit.algorithms import build_algorithm\n"
        "assert 'torch' not in sys.modules\n"
        "from grpokit.api import algorithms\n"
        "algorithms.token_logprobs\n"
        "assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_exports_what_it_names():
    from grpokit import algorithms

    for name in algorithms.__all__:
        assert getattr(algorithms, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = algorithms.nothing
