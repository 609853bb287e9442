"""Columns: what templates, rewards and the mapping ask for against what the data set is known to have.

A data set whose columns are only known once it is opened is checked by the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from grpokit.compose.components import Named
from grpokit.compose.diagnostics import Report, did_you_mean
from grpokit.compose.difficulty import COLUMNS
from grpokit.compose.nodes import Mark, Path, at, mark_of
from grpokit.compose.prompts import TEMPLATES, TemplateError, placeholders, resolve_template
from grpokit.compose.sections import Sections
from grpokit.spec.components import AlgorithmSpec, DatasetSpec, RewardSpec
from grpokit.spec.recipe import DatasetSection, PromptSection

__all__ = ["check_columns"]


def check_columns(sections: Sections, named: Mapping[str, Named], report: Report) -> None:
    """Runs the checks for the training data set and for the held-out one."""
    prompt = sections.prompt
    wanted = None if prompt is None else _template_columns(sections, prompt, report)
    if prompt is not None and wanted is not None:
        _check_examples(sections, prompt, report)
    held_out = sections.eval.dataset if sections.eval else None
    for path, section in ((("dataset",), sections.dataset), (("eval", "dataset"), held_out)):
        if section is None:
            continue
        known = _known(path, section, named, sections, report)
        if known is None:
            continue
        for column, mark in (wanted or {}).items():
            if column not in known:
                report.add(
                    "R610",
                    mark,
                    f"the prompt uses the column `{column}`, which the data set "
                    f"`{section.use}` does not have",
                    allowed=f"columns: {', '.join(known)}",
                    remedy=did_you_mean(column, known)
                    or f"map it with columns: {{{column}: EXISTING}}, or change prompt.template",
                )
        _check_rewards(known, section, named, report)
        if path == ("dataset",):
            _check_samplers(known, section, named, report)


def _template_columns(
    sections: Sections, prompt: PromptSection, report: Report
) -> dict[str, Mark] | None:
    """Column -> where the recipe asks for it; None when the template is wrong or unknown."""
    if prompt.use not in TEMPLATES and prompt.template is None:
        return None  # unknown, and reported
    template = resolve_template(prompt)
    columns: dict[str, Mark] = {}
    right = True
    for key, text in (("system", template.system), ("template", template.user)):
        written = at(sections.tree, ("prompt", key)) is not None
        mark = mark_of(sections.tree, ("prompt", key if written else "use"))
        try:
            names = placeholders(text)
        except TemplateError as error:
            right = False
            report.add(
                "R619",
                mark,
                f"prompt.{key} has {error}",
                allowed="a column is written {name}; a brace is written {{ or }}",
                remedy="double the brace, as in \\boxed{{}}"
                if written
                else f"write prompt.{key} yourself, and tell the author of `{prompt.use}`",
            )
            continue
        if key == "template" and not names:
            report.add(
                "R610",
                mark,
                "prompt.template uses no column, so every prompt would be the same",
                remedy="put the question in with {question}",
            )
        columns |= {name: columns.get(name, mark) for name in names}
    return columns if right else None


def _check_examples(sections: Sections, prompt: PromptSection, report: Report) -> None:
    template = resolve_template(prompt)
    used = placeholders(template.user)
    needed = dict.fromkeys((*used, "answer"))
    for index, example in enumerate(prompt.examples):
        missing = [name for name in needed if name not in example]
        # Columns that describe the task rather than the question may come from the row itself; but
        # not all, or the row's question would stand in place of the example's.
        if any(name in example for name in used):
            missing = [name for name in missing if name in {"question", "answer"}]
        if missing:
            report.add(
                "R609",
                mark_of(sections.tree, ("prompt", "examples", index)),
                f"the example has no {' and no '.join(f'`{name}`' for name in missing)}",
                allowed="each example is {question: ..., answer: ...}, named as in prompt.template",
                remedy="add what is missing"
                if {"question", "answer"} >= {*missing}
                else "name the example's column as prompt.template does, or write {question} there and "
                f"map it with dataset.columns: {{question: {missing[0]}}}",
            )


def _known(
    path: Path,
    section: DatasetSection,
    named: Mapping[str, Named],
    sections: Sections,
    report: Report,
) -> tuple[str, ...] | None:
    component = named.get(".".join(map(str, path)))
    spec = component.entry.spec if component else None
    if not isinstance(spec, DatasetSpec) or not spec.columns:
        return None
    for new, old in section.columns.items():
        if old not in spec.columns:
            report.add(
                "R612",
                mark_of(sections.tree, (*path, "columns", new)),
                f"`{new}` is mapped from the column `{old}`, which `{section.use}` does not have",
                allowed=f"columns: {', '.join(spec.columns)}",
                remedy=did_you_mean(old, spec.columns) or "correct the mapping: `new: existing`",
            )
    measured = COLUMNS if section.difficulty is not None else ()
    return tuple(dict.fromkeys((*spec.columns, *section.columns, *measured)))


def _check_rewards(
    known: tuple[str, ...], section: DatasetSection, named: Mapping[str, Named], report: Report
) -> None:
    for key, component in named.items():
        spec = component.entry.spec
        if isinstance(spec, RewardSpec):
            _check(spec.columns, known, section, key, component, report)


def _check_samplers(
    known: tuple[str, ...], section: DatasetSection, named: Mapping[str, Named], report: Report
) -> None:
    """Settings of an algorithm or its parts that name columns say so (``columns``, see ``Config``)."""
    for key, component in named.items():
        asked = getattr(component.config, "columns", None)
        if isinstance(component.entry.spec, AlgorithmSpec) and callable(asked):
            _check(asked(), known, section, key, component, report)


def _check(
    asked: Iterable[str],
    known: tuple[str, ...],
    section: DatasetSection,
    key: str,
    component: Named,
    report: Report,
) -> None:
    for column in asked:
        if column not in known:
            report.add(
                "R611",
                component.mark,
                f"{key} (`{component.entry.id}`) asks for the column `{column}`, which the "
                f"data set `{section.use}` does not have",
                allowed=f"columns: {', '.join(known)}",
                remedy=f"map it with columns: {{{column}: EXISTING}}",
            )
