"""What this plugin registers. Importing it imports neither torch nor Unsloth."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable

from grpokit.api import HOOK_API, BackendSpec, StepBenchSpec, hookimpl

GRPOKIT_HOOK_API = HOOK_API


@hookimpl
def grpokit_backends() -> list[BackendSpec]:
    """The backend `unsloth`."""
    return [
        BackendSpec(
            name="unsloth",
            summary="Unsloth's models under grpokit's own loop, with vLLM on the same weights.",
            target="grpokit_unsloth.start:make_backend",
            config="grpokit_unsloth.config:UnslothConfig",
            preflight="grpokit_unsloth.preflight:preflight",
            export="grpokit_hf.export.weights:export_weights",
            provides=frozenset(
                {
                    "logprobs",
                    "old-logprobs",
                    "reference",
                    "entropy",
                    "token-statistics",
                    "continuations",
                    "custom-loss",
                    "exact-resume",
                    "lora",
                    "full",
                    "reset",
                    "until-answered",
                    "seeded-rows",
                }
            ),
        )
    ]


@hookimpl
def grpokit_recipes() -> Iterable[Traversable]:
    """Recipes on this backend."""
    return [files("grpokit_unsloth") / "recipes"]


@hookimpl
def grpokit_step_benches() -> list[StepBenchSpec]:
    """The contestants `unsloth` and, where the plugin for TRL is installed too, `unsloth-trl`."""
    versions = ("torch", "transformers", "peft", "unsloth", "trl")
    return [
        StepBenchSpec(
            name="unsloth",
            summary="The backend `unsloth`: Unsloth's model under grpokit's loop.",
            target="grpokit_unsloth.bench:run",
            requires=("torch", "unsloth"),
            versions=versions,
            sources=("grpokit_unsloth", "grpokit_hf"),
        ),
        StepBenchSpec(
            name="unsloth-trl",
            summary="Unsloth's model under TRL's own GRPOTrainer, as Unsloth changes it.",
            title="Unsloth",
            target="grpokit_unsloth.bench:run_trl",
            requires=("torch", "unsloth", "trl", "grpokit_trl"),
            versions=versions,
            against="unsloth",
            sources=("grpokit_unsloth.bench", "grpokit_trl.bench", "grpokit_trl.bench_trainer"),
        ),
    ]
