"""One rollout of the untrained model, before a run is started: is there anything to learn from?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from grpokit.compose.data import open_dataset
from grpokit.compose.prompts import make_prompts
from grpokit.engine.session import make_backend
from grpokit.scoring.facts import facts_of
from grpokit.scoring.scorer import Scorer, scoring_options, setups
from grpokit.scoring.totals import classes
from grpokit.spec.sampling import sampling_of

if TYPE_CHECKING:
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.recipe import Recipe

__all__ = ["Probe", "probe"]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What the model did with the first questions, drawn as training draws.

    Attributes:
        load_seconds: to load the model.
        seconds: to draw all completions.
        tokens: drawn.
        truncated: share of completions at the length limit.
        dead: share of groups whose totals are all equal: they teach nothing.
        rewards: mean of each reward, None where it never applied.
        reward: mean total.
        sample: the first completion.
    """

    questions: int
    completions: int
    load_seconds: float
    seconds: float
    tokens: int
    truncated: float
    dead: float
    rewards: Mapping[str, float | None]
    reward: float | None
    sample: str


def probe(recipe: Recipe, catalog: Catalog) -> Probe:
    """Loads the model and draws the completions of one step over the first rows."""
    dataset = open_dataset(catalog, recipe.dataset)
    count = min(recipe.rollout.prompts, dataset.size or recipe.rollout.prompts)
    prompts = make_prompts(recipe.prompt, dataset, range(count))
    backend = make_backend(catalog, recipe)
    start = time.perf_counter()
    with ExitStack() as stack:
        stack.callback(backend.close)
        backend.open_checkpoint(recipe, None)
        loaded = time.perf_counter()
        rollout = backend.generate(prompts, sampling_of(recipe))
        drawn = time.perf_counter()
        rewards = setups(catalog, recipe.rewards)
        scorer = stack.enter_context(Scorer(rewards, **scoring_options(recipe.scoring)))
        scores = scorer.score(rollout, facts=facts_of(scorer, backend, rollout))
    done = [completion for group in rollout.completions for completion in group]
    return Probe(
        questions=count,
        completions=len(done),
        load_seconds=loaded - start,
        seconds=drawn - loaded,
        tokens=sum(len(each.token_ids) for each in done),
        truncated=fmean(each.finish == "length" for each in done),
        dead=fmean(len(classes(row)[0]) <= 1 for row in scores.total),
        rewards={name: _mean(table) for name, table in scores.rewards.items()},
        reward=_mean(scores.total),
        sample=done[0].text,
    )


def _mean(table: Sequence[Sequence[float | None]]) -> float | None:
    values = [value for row in table for value in row if value is not None]
    return fmean(values) if values else None
