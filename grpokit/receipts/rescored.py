"""Whether rewards that were edited after a run score as they did: then the run would be the same.

The same scores give the same advantages, and those the same weights. So every completion that the run
has saved is scored again, and every answer of its evaluation. No model is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grpokit.errors import GrpokitError
from grpokit.rescore.columns import DatasetRows
from grpokit.rescore.saved import read_steps, rollout_of
from grpokit.scoring.scorer import Scorer, scoring_options, setups
from grpokit.spec.flow import Completion, Rollout

if TYPE_CHECKING:
    from grpokit.engine.rundir import RunDir
    from grpokit.evaluate.run import Exam
    from grpokit.registry.catalog import Catalog

__all__ = ["other_marks", "other_scores"]

BATCH = 256


def other_scores(run: RunDir, catalog: Catalog) -> str:
    """What is scored otherwise now, or cannot be scored; empty if every saved score is the same."""
    recipe = run.recipe()
    try:
        rows = DatasetRows(catalog, recipe)
        chosen = setups(catalog, recipe.rewards)
        with Scorer(chosen, **scoring_options(recipe.scoring)) as scorer:
            for saved in read_steps(run.rollouts.path):
                scores = scorer.score(rollout_of(saved, rows(saved)))
                for place, group in enumerate(saved.groups):
                    for sample, one in enumerate(group["completions"]):
                        for name, table in scores.rewards.items():
                            if table[place][sample] != one["rewards"][name]:
                                return f"{name} scores a completion of step {saved.step} otherwise"
    except GrpokitError as error:
        return str(error)
    return ""


def other_marks(exam: Exam, samples: Sequence[Mapping[str, Any]]) -> str:
    """The same for the answers of an evaluation, which stand in the order of the questions."""
    prompts = {prompt.id: prompt for prompt in exam.prompts}
    with exam.scorer() as scorer:
        for start in range(0, len(samples), BATCH):
            part = samples[start : start + BATCH]
            rollout = Rollout(
                prompts=tuple(prompts[row["id"]] for row in part),
                prompt_ids=((),) * len(part),
                completions=tuple(
                    (
                        Completion(
                            token_ids=(0,) * row["tokens"], text=row["text"], finish=row["finish"]
                        ),
                    )
                    for row in part
                ),
                sampling=exam.sampling,
            )
            for name, table in scorer.score(rollout).rewards.items():
                for (score,), row in zip(table, part, strict=True):
                    if score != row["scores"][name]:
                        return f"{name} marks the answer to item {row['id']} otherwise"
    return ""
