"""Keys that are written but change nothing: notes, for they often hide a misunderstanding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grpokit.compose.diagnostics import Report
from grpokit.compose.nodes import mark_of
from grpokit.compose.prompts import TEMPLATES
from grpokit.compose.sections import Sections

__all__ = ["check_inert"]


@dataclass(frozen=True)
class _Inert:
    key: str
    because: str
    holds: Callable[[Sections], bool]


_INERT = (
    _Inert(
        "optim.warmup",
        "schedule `constant` has no warm-up; `constant_with_warmup` has one",
        lambda s: s.optim is not None and s.optim.schedule == "constant" and s.optim.warmup > 0,
    ),
    _Inert(
        "optim.micro_tokens",
        "optim.micro_batch is set and decides",
        lambda s: s.optim is not None and s.optim.micro_batch is not None,
    ),
    _Inert(
        "rollout.on_long_prompt",
        "rollout.max_prompt_tokens is not set, so no prompt is too long",
        lambda s: s.rollout is not None and s.rollout.max_prompt_tokens is None,
    ),
    _Inert(
        "eval.top_p",
        "eval.temperature 0 is greedy",
        lambda s: s.eval is not None and s.eval.temperature == 0 and s.eval.top_p < 1,
    ),
    _Inert(
        "eval.every",
        "the run has fewer steps",
        lambda s: (
            s.eval is not None
            and s.train is not None
            and s.eval.every is not None
            and s.eval.every > s.train.steps
        ),
    ),
    _Inert(
        "model.revision",
        "model.id is a local folder",
        lambda s: (
            s.model is not None
            and s.model.revision is not None
            and s.model.id.startswith((".", "/", "~"))
        ),
    ),
    _Inert(
        "prompt.use",
        "prompt.system and prompt.template replace both of its messages",
        lambda s: (
            s.prompt is not None
            and s.prompt.use in TEMPLATES  # the texts of others stand in a run's recipe
            and s.prompt.system is not None
            and s.prompt.template is not None
        ),
    ),
)


def check_inert(sections: Sections, report: Report) -> None:
    """Notes each key that the recipe writes without effect."""
    for rule in _INERT:
        if sections.written(rule.key) and rule.holds(sections):
            report.add(
                "R616",
                mark_of(sections.tree, tuple(rule.key.split("."))),
                f"{rule.key} has no effect: {rule.because}",
                note=True,
            )
    rollout, dataset = sections.rollout, sections.dataset
    if rollout and dataset and dataset.limit is not None and dataset.limit < rollout.prompts:
        report.add(
            "R620",
            mark_of(sections.tree, ("dataset", "limit")),
            f"{dataset.limit} rows for {rollout.prompts} prompts a step: "
            "the same question stands in a step more than once",
            note=True,
        )
