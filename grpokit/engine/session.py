"""A run from start to end, new or resumed. The command line enters the engine here."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import cast

from grpokit.algorithms import build_algorithm
from grpokit.compose.data import open_dataset
from grpokit.compose.prompts import make_prompt
from grpokit.engine.ahead import make_ahead
from grpokit.engine.checkpoint import CheckpointStore
from grpokit.engine.loop import Loop
from grpokit.engine.observer import Observer, RunEnd, Watchers
from grpokit.engine.order import RowOrder
from grpokit.engine.progress import Evaluator, Progress
from grpokit.engine.ranks import Ranks
from grpokit.engine.rundir import RunDir
from grpokit.engine.signals import StopFlag
from grpokit.errors import CheckpointError, GrpokitError, Interrupted, PreflightError
from grpokit.registry.catalog import Catalog
from grpokit.registry.foreign.reference import flag_for
from grpokit.registry.resolve import create
from grpokit.scoring.budget import ErrorBudget
from grpokit.scoring.scorer import Scorer, scoring_options, setups
from grpokit.spec.contracts import Algorithm, Callback, Dataset, LoopBackend, Model, StepBackend
from grpokit.spec.recipe import Recipe
from grpokit.spec.sampling import sampling_of

__all__ = ["Evaluator", "make_algorithm", "make_backend", "make_loop", "train"]

SETTLE = 0.5
"""Seconds in which a second signal is no second wish: who stops a service tells all its processes, and
the one that started us passes it on as well."""


def make_algorithm(catalog: Catalog, recipe: Recipe) -> Algorithm:
    """The named algorithm of the recipe with its replaced parts."""
    section = recipe.algorithm
    base = create(catalog.find("algorithm", section.use), section.with_)
    parts = {
        axis: create(catalog.find("algorithm", part.use), part.with_)
        for axis, part in section.parts.items()
    }
    return build_algorithm(base, parts)


def make_backend(catalog: Catalog, recipe: Recipe) -> StepBackend | LoopBackend:
    """The backend of the recipe, not yet open. Importing its module is what loads torch."""
    entry = catalog.find("backend", recipe.backend.use)
    return cast("StepBackend | LoopBackend", create(entry, recipe.backend.with_))


def train(
    recipe: Recipe,
    run: RunDir,
    catalog: Catalog,
    observer: Observer,
    evaluator: Evaluator | None = None,
    *,
    build: Callable[..., Loop] = Loop,
) -> RunEnd:
    """Trains until the recipe's last step, from the newest whole checkpoint of the run if any.

    ``build`` puts the parts of a step together, for who wants to stand between them.

    Raises:
        Interrupted: a signal came; a checkpoint of the last finished step is on the disk.
        RewardError, NonFiniteError, OutOfMemoryError, FindingError: likewise, with the cause.
        CheckpointError: nothing to resume from is whole, or the disk is full.
        PreflightError: there are not as many processes as the recipe asks for.
    """
    with ExitStack() as stack:
        ranks = Ranks.join()
        stack.callback(ranks.leave)
        _check_count(ranks, recipe)
        if ranks.first:
            stack.enter_context(run)
        flag = stack.enter_context(StopFlag(settle=SETTLE if ranks.count > 1 else 0.0))
        resume = f"resume with: grpokit train --resume {shlex.quote(str(run.path))}"
        resume += flag_for(each.use for each in recipe.rewards)
        try:
            loop = partial(make_loop, recipe, catalog, observer, flag, stack, ranks, build=build)
            progress = _open(recipe, run, catalog, observer, ranks, loop)
        except Interrupted as error:
            _add_remedy(error, resume)
            raise
        progress.evaluator = evaluator
        try:
            return progress.run_steps()
        except Exception as error:  # also a fault in code: what was trained before it is kept
            alone = getattr(error, "alone", False)
            if not isinstance(error, CheckpointError) and not alone and ranks.fail_together():
                progress.save_after_failure()
            if not isinstance(error, Interrupted):
                progress.keep_unfinished()
            progress.watchers.call("on_stop", run.path)
            if isinstance(error, GrpokitError):
                _add_remedy(error, resume)
            raise


def _check_count(ranks: Ranks, recipe: Recipe) -> None:
    if ranks.count != recipe.train.processes:
        raise PreflightError(
            f"the recipe asks for {recipe.train.processes} processes, and there are {ranks.count}",
            place="train.processes",
            remedy="`grpokit train` starts as many as are asked for; nothing else starts several",
        )


def _open(
    recipe: Recipe,
    run: RunDir,
    catalog: Catalog,
    observer: Observer,
    ranks: Ranks,
    opened: Callable[[], Loop],
) -> Progress:
    observer.stage(0, "load")
    loop = opened()
    progress = Progress(
        recipe=recipe,
        run=run,
        loop=loop,
        store=CheckpointStore(run.checkpoints, keep=recipe.train.keep),
        observer=observer,
        watchers=Watchers(_callbacks(catalog, recipe) if ranks.first else {}, observer),
    )
    progress.restore()
    return progress


def make_loop(
    recipe: Recipe,
    catalog: Catalog,
    observer: Observer,
    flag: StopFlag,
    stack: ExitStack,
    ranks: Ranks,
    *,
    build: Callable[..., Loop] = Loop,
) -> Loop:
    """Everything that a step needs, opened; ``stack`` closes it."""
    dataset = open_dataset(catalog, recipe.dataset)
    scoring = recipe.scoring
    rewards = setups(catalog, recipe.rewards)
    scorer = Scorer(rewards, **scoring_options(scoring))
    stack.callback(scorer.close)
    ranks.every(lambda: scorer.start(flag.poll))
    algorithm = make_algorithm(catalog, recipe)
    backend = make_backend(catalog, recipe)
    stack.callback(backend.close)
    ahead = make_ahead(recipe, backend, ranks)
    stack.callback(ahead.close)
    needs = {
        "needs_reference": algorithm.needs_reference,
        "needs_entropy": algorithm.needs_entropy,
    }
    ranks.every(lambda: backend.open(recipe, **needs))
    ranks.every(flag.poll)
    return build(
        backend=backend,
        algorithm=algorithm,
        dataset=dataset,
        order=_order(recipe, dataset, backend),
        scorer=scorer,
        budget=ErrorBudget(scoring.max_error_rate),
        prompt=recipe.prompt,
        sampling=sampling_of(recipe),
        observer=observer,
        poll=flag.poll,
        prompts=recipe.rollout.prompts,
        forwards=_forwards(recipe, algorithm),
        ranks=ranks,
        overlap=scoring.overlap,
        ahead=ahead,
    )


def _callbacks(catalog: Catalog, recipe: Recipe) -> dict[str, Callback]:
    """By name; a second one of the same name, with other settings, by its place as well."""
    found: dict[str, Callback] = {}
    for place, use in enumerate(recipe.callbacks):
        name = f"{use.use} (callbacks.{place})" if use.use in found else use.use
        found[name] = create(catalog.find("callback", use.use), use.with_)
    return found


def _order(recipe: Recipe, dataset: Dataset, backend: Model) -> RowOrder:
    rollout = recipe.rollout
    limit = rollout.max_prompt_tokens

    def keep(index: int) -> bool:
        length = len(backend.encode(make_prompt(recipe.prompt, dataset[index], index).messages))
        if limit is None or length <= limit:
            return True
        if rollout.on_long_prompt == "drop":
            return False
        raise PreflightError(
            f"the prompt of row {index} has {length} tokens, rollout.max_prompt_tokens is {limit}",
            place="data set",
            remedy="raise the limit, or set rollout.on_long_prompt: drop",
        )

    return RowOrder(
        dataset,
        seed=recipe.train.seed,
        shuffle=rollout.shuffle,
        keep=keep if limit is not None else None,
    )


def _forwards(recipe: Recipe, algorithm: Algorithm) -> int:
    """Forward passes of one completion in an update: policy, old policy, reference policy."""
    optim = recipe.optim
    old = optim.iterations * optim.minibatches > 1
    return optim.iterations + old + algorithm.needs_reference


def _add_remedy(error: GrpokitError, remedy: str) -> None:
    error.remedy = f"{error.remedy}; {remedy}" if error.remedy else remedy
