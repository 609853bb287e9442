"""Combinations that cannot work, and keys that have no effect: rules between values.

Rules about one component's settings belong into its config model; advice about good numbers is in
``compose.rules``. What is checked here is true of every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from grpokit.compose.columns import check_columns
from grpokit.compose.components import Named
from grpokit.compose.diagnostics import Report, clip, did_you_mean
from grpokit.compose.exam import refusals
from grpokit.compose.inert import check_inert
from grpokit.compose.nodes import Mark, Node, Path, mark_of
from grpokit.compose.parts import check_parts
from grpokit.compose.rules import reward_name
from grpokit.compose.sections import Sections
from grpokit.spec.components import AlgorithmSpec, RewardSpec
from grpokit.spec.recipe import Recipe, RewardSection

__all__ = ["check_semantics"]


def check_semantics(
    tree: Node, recipe: Recipe | None, named: Mapping[str, Named], report: Report
) -> None:
    """Runs every rule whose sections are right by themselves."""
    sections = Sections.of(tree, recipe)
    for rule in _RULES:
        rule(sections, named, report)
    check_parts(named, report)
    check_columns(sections, named, report)
    check_inert(sections, report)


def _mark(sections: Sections, *path: str | int) -> Mark:
    return mark_of(sections.tree, path)


def _reward_names(sections: Sections, _: Mapping[str, Named], report: Report) -> None:
    held_out = sections.eval.rewards if sections.eval else None
    places: tuple[tuple[Path, list[RewardSection] | None], ...] = (
        (("rewards",), sections.rewards),
        (("eval", "rewards"), held_out),
    )
    for path, rewards in places:
        seen: dict[str, int] = {}
        for index, reward in enumerate(rewards or ()):
            name = reward_name(reward)
            if name in seen:
                report.add(
                    "R601",
                    _mark(sections, *path, index, "name" if reward.name else "use"),
                    f"two rewards are called `{name}`; the other is number {seen[name] + 1}",
                    allowed="metrics need a name for each",
                    remedy=f"give one a name: {{use: {reward.use}, name: {name}-2}}",
                )
            seen.setdefault(name, index)


def _weights(sections: Sections, _: Mapping[str, Named], report: Report) -> None:
    rewards = sections.rewards
    if rewards and all(reward.weight == 0 for reward in rewards):
        report.add(
            "R602",
            _mark(sections, "rewards", 0, "weight"),
            "every reward has weight 0, so nothing is rewarded",
            allowed="weight 0 only measures",
            remedy="give at least one reward another weight",
        )


def _group(sections: Sections, named: Mapping[str, Named], report: Report) -> None:
    component = named.get("algorithm.parts.advantage") or named.get("algorithm")
    if sections.rollout is None or component is None:
        return
    spec = component.entry.spec
    least = spec.min_group if isinstance(spec, AlgorithmSpec) else 1
    if sections.rollout.group < least:
        report.add(
            "R603",
            _mark(sections, "rollout", "group"),
            f"rollout.group is {sections.rollout.group}, and `{component.entry.id}` compares the "
            "completions of a group with each other: every advantage would be 0",
            allowed=f"{least} or more",
            remedy="8 is usual",
        )


def _misfit(sections: Sections, named: Mapping[str, Named], report: Report) -> None:
    """Settings of a component that judge the shape of a step themselves."""
    rollout = sections.rollout
    for component in named.values() if rollout else ():
        judge = getattr(component.config, "misfit", None)
        if judge is None or rollout is None:
            continue
        problem = judge(prompts=rollout.prompts, group=rollout.group, max_tokens=rollout.max_tokens)
        if problem is not None:
            setting, fact, remedy = problem
            place = _mark(sections, *component.path, "with", setting)
            report.add("R622", place, fact, allowed="a value that fits `rollout`", remedy=remedy)


def _metrics(sections: Sections, named: Mapping[str, Named], report: Report) -> None:
    """Settings of an algorithm or its parts that name rewards say so (``reward_names``, see ``Config``)."""
    known = [reward_name(reward) for reward in sections.rewards or ()]
    for key, component in named.items() if known else ():
        asked = getattr(component.config, "reward_names", None)
        for setting, names in asked().items() if asked else ():
            for name in names:
                if name not in known:
                    report.add(
                        "R623",
                        _mark(sections, *component.path, "with", setting),
                        f"{key}.with.{setting} names `{name}`, and no reward has this name",
                        allowed=f"rewards: {', '.join(known)}",
                        remedy=did_you_mean(name, known) or "name one of them",
                    )


def _correct(sections: Sections, named: Mapping[str, Named], report: Report) -> None:
    held_out = sections.eval
    if held_out is None:
        return
    own = held_out.rewards is not None
    rewards = held_out.rewards if own else sections.rewards
    if not rewards:
        return
    names = [reward_name(reward) for reward in rewards]
    correct = held_out.correct or names[0]
    if correct not in names:
        report.add(
            "R604",
            _mark(sections, "eval", "correct"),
            f"eval.correct is `{clip(correct)}`, and no reward has this name",
            allowed=f"rewards: {', '.join(names)}",
            remedy=did_you_mean(correct, names)
            or f"name one of them in your recipe, as in `eval: {{correct: {names[0]}}}`",
        )
        return
    place = f"eval.rewards.{names.index(correct)}" if own else f"rewards.{names.index(correct)}"
    component = named.get(place)
    spec = component.entry.spec if component else None
    highest = spec.range[1] if isinstance(spec, RewardSpec) and spec.range else None
    if highest is not None and held_out.threshold > highest:
        report.add(
            "R615",
            _mark(sections, "eval", "threshold"),
            f"eval.threshold is {held_out.threshold:g}, and `{correct}` is never above {highest:g}",
            allowed=f"up to {highest:g}",
            remedy="lower it, or no completion counts as correct",
        )


def _minibatches(sections: Sections, _: Mapping[str, Named], report: Report) -> None:
    optim, rollout = sections.optim, sections.rollout
    if optim is None or rollout is None:
        return
    rows = rollout.prompts * rollout.group
    if optim.minibatches > rows:
        report.add(
            "R605",
            _mark(sections, "optim", "minibatches"),
            f"{optim.minibatches} parts of {rows} completions "
            f"({rollout.prompts} prompts x {rollout.group})",
            allowed=f"up to {rows}",
            remedy="choose a divisor of prompts x group",
        )
    elif optim.micro_batch is not None and optim.micro_batch > -(-rows // optim.minibatches):
        report.add(
            "R608",
            _mark(sections, "optim", "micro_batch"),
            f"micro_batch is {optim.micro_batch}, and an optimiser step has "
            f"{-(-rows // optim.minibatches)} completions",
            remedy="all go into one forward",
            note=True,
        )


def _warmup(sections: Sections, _: Mapping[str, Named], report: Report) -> None:
    optim, train = sections.optim, sections.train
    if optim is None or train is None or optim.warmup < 1 or optim.schedule == "constant":
        return
    if not optim.warmup.is_integer():
        fact = f"optim.warmup is {optim.warmup:g}, neither a share below 1 nor a number of steps"
    elif optim.warmup >= train.steps:
        fact = f"optim.warmup is {optim.warmup:g} steps, and the run has {train.steps}"
    else:
        return
    report.add(
        "R606",
        _mark(sections, "optim", "warmup"),
        fact,
        allowed=f"a share of the steps below 1, or fewer than {train.steps} steps",
        remedy="0.1 is usual",
    )


def _adapters(sections: Sections, _: Mapping[str, Named], report: Report) -> None:
    model = sections.model
    if model is None:
        return
    if model.lora is not None and isinstance(model.lora.targets, list) and not model.lora.targets:
        report.add(
            "R607",
            _mark(sections, "model", "lora", "targets"),
            "no module gets an adapter, so nothing would be trained",
            allowed="`all-linear`, or a list of module names",
            remedy="write all-linear, or `lora: null` to train all weights",
        )
    if model.lora is None and model.dtype == "bfloat16":
        report.add(
            "R614",
            _mark(sections, "model", "dtype"),
            "without an adapter the weights are kept in float32; bfloat16 is used in the forward",
            remedy="expect 16 bytes a weight for weights, gradients and optimiser",
            note=True,
        )


def _sampling(sections: Sections, _: Mapping[str, Named], report: Report) -> None:
    rollout = sections.rollout
    if rollout is not None and rollout.top_k == 1 and rollout.group > 1:
        report.add(
            "R613",
            _mark(sections, "rollout", "top_k"),
            "with top_k 1 all completions of a group are the same, and every advantage is 0",
            allowed="0 (off), or 2 and more",
            remedy="remove top_k",
        )


def _processes(sections: Sections, _: Mapping[str, Named], report: Report) -> None:
    """A group is drawn and scored by one process: more processes than groups would idle."""
    train, rollout = sections.train, sections.rollout
    if train is None or rollout is None or train.processes == 1:
        return
    place = mark_of(sections.tree, ("train", "processes"))
    if rollout.prompts < train.processes:
        report.add(
            "R624",
            place,
            f"{train.processes} processes share {rollout.prompts} prompts a step: some have nothing "
            "to do",
            allowed=f"at most {rollout.prompts} processes",
            remedy=f"set rollout.prompts to {train.processes} or more, or use fewer processes",
        )
    elif rollout.prompts % train.processes:
        more = -(-rollout.prompts // train.processes) * train.processes
        report.add(
            "R625",
            place,
            f"{train.processes} processes cannot share {rollout.prompts} prompts evenly: each step "
            f"draws {more - rollout.prompts} groups that are thrown away",
            remedy=f"set rollout.prompts: {more}",
            note=True,
        )


def _staleness(sections: Sections, _: Mapping[str, Named], report: Report) -> None:
    """One process waits for its own sampler only; several would have to draw ahead in step."""
    train, rollout = sections.train, sections.rollout
    if train is not None and rollout is not None and rollout.staleness and train.processes > 1:
        report.add(
            "R626",
            _mark(sections, "rollout", "staleness"),
            f"rollout.staleness is {rollout.staleness}, and the run has {train.processes} processes",
            allowed="0, or one process",
            remedy="set rollout.staleness: 0, or train.processes: 1",
        )


def _held_out(sections: Sections, _: Mapping[str, Named], report: Report) -> None:
    held_out, dataset = sections.eval, sections.dataset
    if held_out is None:
        return
    for each in refusals(held_out):
        report.add(each.code, _mark(sections, "eval", each.key), each.fact, remedy=each.remedy)
    if held_out.every is not None and held_out.dataset is None:
        report.add(
            "R618",
            _mark(sections, "eval", "every"),
            f"evaluation every {held_out.every} steps is asked for, and eval.dataset is missing",
            remedy="add eval.dataset with held-out questions, or remove eval.every",
        )
    other = held_out.dataset
    if dataset is None or other is None:
        return
    if (other.use, other.with_) == (dataset.use, dataset.with_):
        report.add(
            "R617",
            mark_of(sections.tree, ("eval", "dataset"), key=True),
            "eval.dataset has the same rows as dataset, so memorised answers count as learned",
            remedy="name another split or file",
            note=True,
        )


def _capabilities(sections: Sections, named: Mapping[str, Named], report: Report) -> None:
    backend = named.get("backend")
    if backend is None:
        return
    for capability, (who, mark) in _needs(sections, named).items():
        if capability not in backend.entry.spec.provides:
            offers = ", ".join(sorted(backend.entry.spec.provides)) or "nothing"
            report.add(
                "C510",
                mark,
                f"{who} needs `{capability}`, which the backend `{backend.entry.id}` "
                "does not provide",
                allowed=f"it provides {offers}",
                remedy=_REMEDIES.get(capability, "choose another backend, or change what needs it"),
            )


_REMEDIES = {
    "draws-ahead": "set rollout.staleness: 0, or `backend: {use: hf, with: {rollouts: vllm}}`",
    "until-answered": "leave eval.until out, or evaluate with `--set backend.use=hf`",
}
"""What to do where a capability is missing; where there is nothing better to say than the usual."""


def _needs(sections: Sections, named: Mapping[str, Named]) -> dict[str, tuple[str, Mark]]:
    """Capability -> who needs it, and where that stands."""
    needs: dict[str, tuple[str, Mark]] = {}
    for key, component in named.items():
        asked = component.entry.spec.needs | getattr(component.config, "needs", frozenset)()
        for capability in sorted(asked):
            needs.setdefault(capability, (f"{key} (`{component.entry.id}`)", component.mark))
    if sections.model is not None:
        adapter = sections.model.lora is not None
        who = "a model with adapters" if adapter else "`model.lora: null`"
        place = mark_of(sections.tree, ("model", "lora"))
        needs.setdefault("lora" if adapter else "full", (who, place))
    optim = sections.optim
    if optim is not None and optim.iterations * optim.minibatches > 1:
        key = "iterations" if optim.iterations > 1 else "minibatches"
        place = mark_of(sections.tree, ("optim", key))
        needs.setdefault("old-logprobs", (f"optim.{key} above 1", place))
    if sections.train is not None and sections.train.processes > 1:
        place = mark_of(sections.tree, ("train", "processes"))
        needs.setdefault("distributed", ("train.processes above 1", place))
    if sections.rollout is not None and sections.rollout.staleness:
        place = mark_of(sections.tree, ("rollout", "staleness"))
        needs.setdefault("draws-ahead", ("rollout.staleness above 0", place))
    if sections.eval is not None and sections.eval.until is not None:
        needs.setdefault(
            "until-answered", ("eval.until", mark_of(sections.tree, ("eval", "until")))
        )
    return needs


_RULES: tuple[Callable[[Sections, Mapping[str, Named], Report], None], ...] = (
    _reward_names,
    _weights,
    _group,
    _misfit,
    _metrics,
    _correct,
    _minibatches,
    _warmup,
    _adapters,
    _sampling,
    _processes,
    _staleness,
    _held_out,
    _capabilities,
)
