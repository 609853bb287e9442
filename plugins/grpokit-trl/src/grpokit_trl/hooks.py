"""What this plugin registers. Importing it imports neither torch nor TRL."""

from __future__ import annotations

from typing import Any

from grpokit.api import HOOK_API, BackendSpec, StepBenchSpec, hookimpl

GRPOKIT_HOOK_API = HOOK_API


@hookimpl
def grpokit_backends() -> list[BackendSpec]:
    """The backend `trl`.

    It does not provide `seeded-rows`: completions of a forward share one stream of random numbers.
    """
    return [
        BackendSpec(
            name="trl",
            summary="TRL's GRPOTrainer: its generation, vLLM and parallelism under the recipe's algorithm.",
            target="grpokit_trl.backend:TrlBackend",
            config="grpokit_trl.config:TrlConfig",
            preflight="grpokit_trl.preflight:preflight",
            export="grpokit_hf.export.weights:export_weights",
            smoke=(("device", "cpu"), ("threads", 1), ("vllm", None), ("attention", "sdpa")),
            provides=frozenset(
                {
                    "logprobs",
                    "old-logprobs",
                    "reference",
                    "entropy",
                    "custom-loss",
                    "exact-resume",
                    "lora",
                    "full",
                    "reset",
                    "distributed",
                }
            ),
        )
    ]


@hookimpl
def grpokit_step_benches() -> list[StepBenchSpec]:
    """The contestant `trl`, and `trl-recomputing`, which must be asked for."""
    facts: dict[str, Any] = {
        "target": "grpokit_trl.bench:run",
        "requires": ("torch", "trl", "peft", "datasets"),
        "versions": ("torch", "transformers", "peft", "trl", "accelerate"),
        "against": "trl",
        "sources": ("grpokit_trl.bench", "grpokit_trl.bench_trainer", "grpokit_hf.bench"),
    }
    return [
        StepBenchSpec(
            name="trl",
            summary="TRL's own GRPOTrainer, with all rows in one forward.",
            title="TRL",
            **facts,
        ),
        StepBenchSpec(
            name="trl-recomputing",
            summary="The same with gradient checkpointing, as TRL has it by default.",
            title="TRL recomputing",
            settings=(("gradient_checkpointing", True), ("asked", True)),
            **facts,
        ),
    ]
