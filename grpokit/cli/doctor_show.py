"""What ``grpokit doctor`` found, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpokit.cli import render
from grpokit.cli.page import facts, finding, head, wrapped
from grpokit.compose.memory import format_bytes

if TYPE_CHECKING:
    from grpokit.doctor.backends import BackendState
    from grpokit.doctor.checkup import Checkup
    from grpokit.doctor.machine import Machine
    from grpokit.doctor.packages import Package
    from grpokit.doctor.recipe import ModelState, RecipeState
    from grpokit.spec.plan import Plan

__all__ = ["show_checkup", "show_model", "show_recipe"]

LABEL = 29
"""Width of the labels of a model's facts."""


def show_checkup(found: Checkup) -> None:
    """The machine, the packages, the backends, and what is wrong."""
    _machine(found.machine)
    _packages(found.packages)
    _backends(found.backends)
    _conflicts(found)
    _plugins(found)
    render.say()
    if found.healthy:
        others = [state.name for state in found.backends if state.runs]
        render.say(f"can run here: {', '.join(others)}", "bold green")
    else:
        render.say("the default backend hf cannot run here", "bold red")


def _size(count: int | None) -> str:
    return "unknown" if count is None else format_bytes(count)


def _machine(machine: Machine) -> None:
    render.say("machine", "bold")
    gpus = [
        f"{gpu.name}, {_size(gpu.free)} of {_size(gpu.memory)} free, driver {gpu.driver}"
        + (f", compute capability {gpu.capability}" if gpu.capability else "")
        for gpu in machine.gpus
    ]
    cuda = f", which runs CUDA up to {machine.cuda}" if machine.cuda else ""
    torch = f"built for {machine.torch}" if machine.torch else "not installed"
    reachable = {True: "reachable", False: "not reachable", None: "not asked"}
    hub = machine.hub
    detail = hub.detail.removeprefix("not asked: ")
    facts(
        [
            ("python", f"{machine.python} on {machine.platform}"),
            (
                "cpu",
                (
                    f"{machine.cores} core{'s' if machine.cores != 1 else ''}, "
                    f"{_size(machine.memory_free)} of {_size(machine.memory)} memory free"
                ),
            ),
            *(("gpu", line + cuda) for line in gpus),
            *(() if gpus else (("gpu", f"none ({machine.gpu_tool})"),)),
            ("torch", torch),
            ("hub", f"{hub.endpoint}: {reachable[hub.reachable]} ({detail})"),
        ]
    )
    if machine.gpus and machine.torch == "cpu":
        wrapped(
            "there is a GPU, but this torch is a build for the CPU; builds for CUDA: "
            "https://pytorch.org/get-started",
            indent="  ",
            style="yellow",
        )
    head("disk")
    render.table(
        ["  for", ">free", "folder"],
        [(f"  {disk.use}", _size(disk.free), disk.path) for disk in machine.disks],
    )


def _packages(packages: tuple[Package, ...]) -> None:
    head("packages")
    rows = []
    for each in packages:
        note = f"outside of what {', '.join(each.misfits)} takes" if each.misfits else ""
        rows.append((f"  {each.name}", each.version or "-", ", ".join(each.tested), note))
    render.table(["  package", "installed", "tested", ""], rows)


def _backends(states: tuple[BackendState, ...]) -> None:
    head("backends")
    render.table(
        ["  backend", "runs here", "device", "in a recipe"],
        [
            (f"  {state.name}", "yes" if state.runs else "no", state.device or "-", state.use)
            for state in states
        ],
    )
    for state in states:
        told = [problem for problem in state.problems if problem.level != "info"]
        if not told:
            continue
        head(f"{state.name}: {state.summary}")
        for problem in told:
            finding(problem)


def _conflicts(found: Checkup) -> None:
    """Those that keep something from running, then those that only change how it runs."""
    told = {True: "what to know of these versions", False: "versions that do not run together"}
    for harmless, title in sorted(told.items()):
        listed = [each for each in found.conflicts if (each["level"] == "info") is harmless]
        if listed:
            head(title)
        for each in listed:
            style = {"error": "red", "warning": "yellow"}.get(each["level"], "")
            fact = f"{each['packages']}: {each['fact']} ({each['source']})"
            wrapped(fact, indent="  ", style=style)
            wrapped(f"-> {each['remedy']}", indent="     ")


def _plugins(found: Checkup) -> None:
    if not found.plugins:
        return
    head("plugins that are not loaded")
    for each in found.plugins:
        name = f"{each['distribution']} {each['version']}".strip()
        wrapped(f"{name}: {each['state']}, {each['reason']}", indent="  ", style="yellow")


def show_model(state: ModelState) -> None:
    """A model's chat template, its ends, and whether it can be used here."""
    _model(state)
    for level, title in (("error", "problems"), ("warning", "warnings"), ("info", "hints")):
        listed = [problem for problem in state.problems if problem.level == level]
        if listed:
            head(title)
            for problem in listed:
                finding(problem)
    render.say()
    if not state.works:
        render.say(f"{state.id} cannot be used here", "bold red")
    elif not state.here:
        render.say(f"{state.id} is not here yet", "yellow")
    else:
        render.say(f"{state.id} can be used here", "bold green")


def _model(state: ModelState) -> None:
    render.say(f"model {render.safe(state.id, limit=200, one_line=True)}", "bold")
    if state.device:
        facts([("device", state.device)], width=LABEL)
    if not state.here:
        wrapped("its tokenizer is not here or cannot be read", indent="  ")
        return
    facts(state.tokens.items(), width=LABEL)
    turns = state.turns
    if turns is None:
        return
    if turns.problem:
        facts([("turns", turns.problem)], width=LABEL)
        return
    opened = "generation prompt" if turns.works else "nothing opens the model's turn"
    facts(
        [
            ("before an answer", f"{turns.opening!r} ({opened})"),
            ("after an answer", repr(turns.closing)),
        ],
        width=LABEL,
    )
    if not turns.same:
        wrapped(
            "earlier answers stand behind another text than the one to come: the template treats "
            "them differently",
            indent="  ",
        )
    for note in state.notes:
        wrapped(f"note: {note}", indent="  ")


def show_recipe(state: RecipeState) -> None:
    """The model, every rule, versions, memory, disk, and the plan's problems."""
    plan = state.plan
    wrapped(f"recipe {plan.name}" + (f": {plan.recipe.summary}" if plan.recipe.summary else ""))
    render.say()
    _model(state.model)
    _rules(state)
    _room(plan)
    for level, title in (("error", "problems"), ("warning", "warnings"), ("info", "hints")):
        found = [
            problem
            for problem in plan.findings
            if problem.level == level and not problem.code.startswith("H")
        ]
        if found or (level == "error" and plan.errors):
            head(title)
            for problem in found:
                finding(problem)
    render.say()
    if state.works:
        render.say("this recipe can run here", "bold green")
    else:
        count = max(len(plan.errors), 1)
        render.say(
            f"this recipe cannot run here: {count} problem{'s' if count > 1 else ''}", "bold red"
        )


def _rules(state: RecipeState) -> None:
    head("rules of thumb")
    content = [each for each in state.advice if each.level == "ok"]
    for each in state.advice:
        if each.level == "ok":
            continue
        style = "yellow" if each.level == "warning" else ""
        wrapped(f"{each.code} {each.key}: {each.fact}", indent="  ", style=style)
        if each.remedy:
            wrapped(f"-> {each.remedy}", indent="     ")
    keys: dict[str, list[str]] = {}
    for each in content:
        keys.setdefault(each.key, []).append(each.code)
    fine = ", ".join(f"{key} ({', '.join(codes)})" for key, codes in keys.items())
    wrapped(f"nothing to say: {fine}", indent="  ", style="dim")


def _room(plan: Plan) -> None:
    head(f"room on {plan.device or 'an unknown device'}")
    free = _size(plan.memory_available)
    needed = "not known before the model's config.json is here"
    if plan.memory is not None:
        needed = f"{format_bytes(plan.memory.peak)} at the peak, {free} free"
    disk = f"at most {format_bytes(sum(plan.disk.values()))}, {_size(plan.disk_free)} free"
    facts([("memory", needed), ("disk", f"{disk} in {plan.recipe.train.out}/")])
