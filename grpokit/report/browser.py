"""The controls of the browser of rollouts. The script fills it; without one it says so."""

from __future__ import annotations

from collections.abc import Sequence

from grpokit.report.markup import Html, block, tag, visible
from grpokit.report.reading import RunData
from grpokit.report.rollouts import Rollouts
from grpokit.report.sections import section

__all__ = ["browser"]


def browser(runs: Sequence[RunData], found: Sequence[Rollouts]) -> Html | str:
    """None of it where no run has a completion in the page."""
    if not any(each.packed for each in found):
        return ""
    listed = [
        {"name": visible(run.label), "count": each.packed, "rewards": each.names}
        for run, each in zip(runs, found, strict=True)
    ]
    options = [
        tag("option", visible(run.label), value=place)
        for place, (run, each) in enumerate(zip(runs, found, strict=True))
        if each.packed
    ]
    fields = [
        _field("run", tag("select", *options, name="run"), hidden=len(options) < 2),
        _range("step", "step"),
        _range("reward", "total"),
        _field("one reward", tag("select", name="name")),
        _range("its score", "score"),
        _field("ended by", _select("finish", (("", "any"), ("0", "stop"), ("1", "length")))),
        _field("fate", _select("fate", FATES)),
        _field("prompt id", tag("input", name="prompt", type="text", autocomplete="off")),
        _field(
            "text contains",
            tag("input", name="text", type="search", autocomplete="off", maxlength=200),
            wide=True,
        ),
    ]
    parts = [
        tag("p", "The completions are in this page, but reading them takes a script.", id="plain"),
        tag("form", *fields, tag("button", "Clear", type="reset"), id="filters", hidden=True),
        tag("p", id="count", role="status"),
        tag(
            "div",
            tag("div", id="heads", role="presentation"),
            tag(
                "div",
                tag("div", id="sizer"),
                id="rows",
                role="listbox",
                tabindex="0",
                aria_label="Completions; arrow keys choose, a keeps one as A",
            ),
            id="list",
            hidden=True,
        ),
        tag("div", id="detail", hidden=True, aria_live="polite"),
        block(listed, "runs"),
    ]
    return section("rollouts", "Rollouts", *parts)


FATES = (
    ("", "any"),
    ("kept", "trained"),
    ("pruned", "did not train"),
    ("dropped", "group dropped"),
    ("failed", "a reward failed"),
)


def _field(name: str, control: Html, *, wide: bool = False, hidden: bool = False) -> Html:
    return tag("label", tag("span", name), control, class_="wide" if wide else None, hidden=hidden)


def _range(title: str, name: str) -> Html:
    ends = [
        tag("input", name=f"{name}-{end}", type="number", step="any", aria_label=f"{title} {word}")
        for end, word in (("low", "from"), ("high", "to"))
    ]
    return tag("fieldset", tag("legend", title), ends[0], " to ", ends[1])


def _select(name: str, options: Sequence[tuple[str, str]]) -> Html:
    return tag("select", *(tag("option", word, value=value) for value, word in options), name=name)
