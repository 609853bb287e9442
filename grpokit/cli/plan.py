"""``grpokit plan``: what a recipe will do here, and what keeps it from running. No torch."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from grpokit.cli import render
from grpokit.cli.consent import ForeignRewards
from grpokit.cli.page import WIDTH, facts, finding, head, wrapped
from grpokit.errors import ExitCode

if TYPE_CHECKING:
    from grpokit.engine.probe import Probe
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.plan import Plan

app = typer.Typer()

PROMPT_LINES = 14


@app.command()
def plan(
    recipe: Annotated[str, typer.Argument(help="Recipe file or name (`grpokit recipes list`).")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Replace one value.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    with_probe: Annotated[
        bool, typer.Option("--probe", help="Load the model and draw the completions of one step.")
    ] = False,
    foreign: ForeignRewards = False,
) -> None:
    """Say what a recipe will do, without loading a model.

    Shows components, batch arithmetic, columns, each reward on real rows, the first prompt,
    memory, disk and advice. Ends with exit code 3 if the recipe cannot run on this machine.
    With --probe it also loads the model and reports speed, rewards and dead groups of one step.
    """
    from grpokit.compose.load import load_recipe
    from grpokit.compose.plan import make_plan, plan_json
    from grpokit.registry.catalog import Catalog

    catalog = Catalog.load(foreign_rewards=foreign)
    loaded = load_recipe(recipe, overrides=overrides or (), catalog=catalog)
    made = make_plan(loaded, catalog)
    found = _probe(made, catalog) if with_probe and not made.errors else None
    if as_json:
        render.print_json(plan_json(made) | ({"probe": found} if found else {}))
    else:
        show(made, recipe, overrides or [], found)
    if made.errors:
        raise typer.Exit(ExitCode.PREFLIGHT)


def _probe(plan: Plan, catalog: Catalog) -> Probe:
    from grpokit.engine.probe import probe

    return probe(plan.recipe, catalog)


def show(plan: Plan, name: str, overrides: list[str], probe: Probe | None = None) -> None:
    """The plan, section by section."""
    from grpokit.registry.foreign.reference import flag_for

    wrapped(f"plan of {plan.name}" + (f": {plan.recipe.summary}" if plan.recipe.summary else ""))
    _components(plan)
    _run(plan)
    _data(plan)
    _trials(plan)
    _prompt(plan)
    _memory(plan)
    _disk(plan)
    if probe is not None:
        _probed(probe)
    _findings(plan)
    render.say()
    if plan.errors:
        count = len(plan.errors)
        render.say(f"cannot run here: {count} problem{'s' if count > 1 else ''}", "bold red")
        return
    changes = "".join(f" --set {_quoted(change)}" for change in overrides)
    changes += flag_for(each.use for each in plan.recipe.rewards)
    render.say(f"ready: grpokit train {_quoted(name)}{changes}", "bold green")


def _quoted(text: str) -> str:
    from shlex import quote

    return quote(text)


def _components(plan: Plan) -> None:
    head("components")
    render.table(
        ["role", "component", "distribution", "source"],
        [
            (each.role, each.id, f"{each.distribution} {each.version}", each.source_hash[:8])
            for each in plan.components
        ],
    )


def _run(plan: Plan) -> None:
    numbers, rollout = plan.arithmetic, plan.recipe.rollout
    head("run")
    rows = "an endless data set" if plan.columns else "a data set that is not here"
    if numbers.rows is not None:
        rows = f"{numbers.rows:,} rows, {numbers.epochs:.3g} epochs"
    facts(
        [
            (
                "steps",
                (
                    f"{numbers.steps:,}, each of {numbers.prompts_per_step} questions x "
                    f"{rollout.group} = {numbers.completions_per_step} completions"
                ),
            ),
            ("questions", f"{numbers.questions:,} from {rows}"),
            (
                "completions",
                f"{numbers.completions:,}, at most {numbers.max_new_tokens:,} new tokens",
            ),
            ("optimiser", f"{numbers.optimizer_steps:,} steps"),
        ]
    )


def _data(plan: Plan) -> None:
    if not plan.columns:
        return
    head("columns")
    facts([("data set", ", ".join(plan.columns))])
    for use in plan.uses:
        asks = ", ".join(use.asks) or "nothing by name"
        missing = f" (missing: {', '.join(use.missing)})" if use.missing else ""
        facts([(use.reward, f"asks for {asks}{missing}")])


def _trials(plan: Plan) -> None:
    if not plan.trials:
        return
    head(f"rewards on real rows (the answer written as: {plan.way})")
    render.table(
        ["reward", ">row", ">gold", ">wrong", "problem"],
        [
            (each.reward, each.row, _score(each.gold), _score(each.wrong), each.problem[:60])
            for each in plan.trials
        ],
    )
    facts([("gold was", plan.trials[0].completion)])


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _prompt(plan: Plan) -> None:
    if not plan.rendered:
        return
    tokens = "" if plan.rendered_tokens is None else f" ({plan.rendered_tokens} tokens)"
    without = "" if plan.rendered_tokens is not None else ", without the model's chat template"
    head(f"prompt of row 0{tokens}{without}")
    lines = [
        part
        for line in render.safe(plan.rendered).splitlines()
        for part in (textwrap.wrap(line, WIDTH - 4, drop_whitespace=False) or [""])
    ]
    for line in lines[:PROMPT_LINES]:
        render.say(f"  | {line}".rstrip())
    if len(lines) > PROMPT_LINES:
        render.say(f"  | ... {len(lines) - PROMPT_LINES} more lines")
    for note in plan.notes:
        wrapped(f"note: {note}", indent="  ")


def _memory(plan: Plan) -> None:
    from grpokit.compose.memory import format_bytes

    head(f"memory on {plan.device or 'an unknown device'}")
    if plan.memory is None:
        render.say("  not known before the model's config.json is here")
        return
    render.table(
        ["part", ">size"],
        [
            (f"  {part.replace('_', ' ')}", format_bytes(size))
            for part, size in plan.memory.parts.items()
            if size
        ],
    )
    free = plan.memory_available
    known = f" of {format_bytes(free)} free" if free is not None else ""
    facts([("peak", format_bytes(plan.memory.peak) + known)])
    for note in plan.memory.notes:
        wrapped(note, indent="  ", style="dim")


def _disk(plan: Plan) -> None:
    from grpokit.compose.memory import format_bytes

    head(f"disk in {plan.recipe.train.out}/")
    parts = ", ".join(f"{part} {format_bytes(size)}" for part, size in plan.disk.items() if size)
    free = "" if plan.disk_free is None else f", {format_bytes(plan.disk_free)} free"
    facts([("at most", f"{format_bytes(sum(plan.disk.values()))} ({parts}){free}")])


def _probed(probe: Probe) -> None:
    head(f"probe: {probe.completions} completions to the first {probe.questions} questions")
    speed = probe.tokens / probe.seconds if probe.seconds else 0.0
    means = ", ".join(f"{name} {_mean(mean)}" for name, mean in probe.rewards.items())
    facts(
        [
            ("load", f"{probe.load_seconds:.1f} s"),
            ("generation", f"{probe.seconds:.1f} s, {speed:.0f} tokens/s"),
            ("reward", f"{_mean(probe.reward)} ({means})"),
            ("dead groups", f"{probe.dead:.0%} (all completions earn the same)"),
            ("truncated", f"{probe.truncated:.0%}"),
            ("sample", render.safe(probe.sample, limit=300, one_line=True)),
        ]
    )


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _findings(plan: Plan) -> None:
    for level, title in (("error", "problems"), ("warning", "warnings"), ("info", "hints")):
        found = [each for each in plan.findings if each.level == level]
        if found:
            head(title)
            for each in found:
                finding(each)
