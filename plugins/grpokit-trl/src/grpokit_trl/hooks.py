"""What this plugin registers. Importing it imports neither torch nor TRL."""

from __future__ import annotations

from grpokit.api import HOOK_API, BackendSpec, hookimpl

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
