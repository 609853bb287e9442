"""What `grpokit bench step` measures of this plugin.

    step      the contestants `grpokit` and `plain`: the backend `hf` with its fast paths, and without
    weights   an adapter that is the same for everybody, and numbers by which gradients are compared
    floor     what the matrix products of an update take alone
    prepare   brings the model, or makes one with random weights

Importing this loads no torch: threads are calmed before, as in a run.
"""

from __future__ import annotations

from grpokit.api import StepWatch, StepWork
from grpokit_hf.machine import calm_threads

__all__ = ["run"]


def run(work: StepWork, watch: StepWatch) -> None:
    """The contestants `grpokit` and `plain`."""
    calm_threads()
    from grpokit_hf.bench import step

    step.run(work, watch)
