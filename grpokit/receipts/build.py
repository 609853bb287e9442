"""A receipt out of finished runs of one recipe."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from grpokit.compose.diff import leaves
from grpokit.compose.records import component_records
from grpokit.errors import PreflightError
from grpokit.evaluate.run import prepare_single
from grpokit.receipts.marks import over_seeds
from grpokit.receipts.model import (
    DataFact,
    Metric,
    ModelFact,
    Receipt,
    RecipeFact,
    RewardFact,
    TextFact,
)
from grpokit.receipts.runs import LEVEL, Saved, read_saved
from grpokit.receipts.values import digest, values_of
from grpokit.registry.resolve import source_hash

if TYPE_CHECKING:
    from grpokit.compose.library import Found
    from grpokit.compose.load import Loaded
    from grpokit.evaluate.run import Exam
    from grpokit.registry.catalog import Catalog
    from grpokit.spec.flow import Sampling
    from grpokit.spec.recipe import RewardSection

__all__ = ["build", "sampling_words", "text_facts"]

MODEL = ("revision", "weights", "chat_template", "tokenizer", "backend", "device", "dtype")


def build(paths: Sequence[Path], loaded: Loaded, catalog: Catalog, *, note: str = "") -> Receipt:
    """The receipt of a recipe by these runs.

    Raises:
        PreflightError: a run is not finished, is of another recipe, was not evaluated as the
            recipe says, or does not go together with the others; with every reason.
    """
    exam = prepare_single(loaded.recipe, catalog, place="a receipt")
    records, _ = component_records(loaded, catalog)
    sources = {each.role: each.source_hash for each in records if each.kind == "reward"}
    saved: list[Saved] = []
    problems: list[str] = []
    for path in paths:
        try:
            saved.append(read_saved(path, loaded, exam, sources, catalog))
        except PreflightError as error:
            problems += error.problems or (str(error),)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            problems.append(f"{path}: its records are damaged ({type(error).__name__}: {error})")
    problems += _apart(saved)
    if problems:
        raise PreflightError(
            f"no receipt of {loaded.name}: {len(problems)} "
            f"problem{'s' if len(problems) > 1 else ''}",
            problems=tuple(problems),
        )
    try:
        return _receipt(saved, loaded, exam, catalog, note)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise PreflightError(
            f"what the runs say does not fit a receipt: {'.'.join(map(str, first['loc']))}: "
            f"{first['msg']}",
            place=loaded.name,
            remedy="shorten the note or the text that is named",
        ) from error


def _apart(saved: Sequence[Saved]) -> list[str]:
    """What keeps runs out of one receipt."""
    problems = []
    counts = Counter(each.fact.seed for each in saved)
    for seed, count in counts.items():
        if count > 1:
            problems.append(f"{count} runs have the seed {seed}: take one of each seed")
    for each in saved[1:]:
        first = saved[0]
        if each.model != first.model:
            problems.append(f"{each.path} and {first.path} began with different models")
        if each.train_fingerprint != first.train_fingerprint:
            problems.append(f"{each.path} and {first.path} trained on different rows")
        if _identity(each) != _identity(first):
            problems.append(f"{each.path} and {first.path} have components of other versions")
    return problems


def _identity(saved: Saved) -> list[tuple[str, str, str]]:
    return [(c["role"], c["version"], c["source_hash"]) for c in saved.components]


def _receipt(
    saved: Sequence[Saved], loaded: Loaded, exam: Exam, catalog: Catalog, note: str
) -> Receipt:
    first = saved[0]
    recipe = loaded.recipe
    values = values_of(loaded)
    runs = tuple(each.fact for each in sorted(saved, key=lambda each: each.fact.seed))
    assert recipe.eval.dataset is not None  # prepare says so
    return Receipt(
        receipt=1,
        recipe=RecipeFact(
            name=loaded.name, hash=digest(values), values=values, texts=text_facts(loaded.sources)
        ),
        plugins=dict(sorted({c["distribution"]: c["version"] for c in first.components}.items())),
        model=ModelFact(
            id=str(first.model.get("model") or recipe.model.id),
            **{key: str(first.model.get(key, "")) for key in MODEL},
        ),
        train=DataFact(
            use=catalog.find("dataset", recipe.dataset.use).id, fingerprint=first.train_fingerprint
        ),
        eval=DataFact(
            use=catalog.find("dataset", recipe.eval.dataset.use).id,
            fingerprint=str(exam.fingerprint["dataset"]),
        ),
        rewards=_rewards(first, "reward ", recipe.rewards, catalog),
        eval_rewards=_rewards(first, "eval reward ", recipe.eval.rewards or (), catalog),
        metric=Metric(
            reward=exam.decides,
            threshold=exam.threshold,
            n=len(exam.prompts),
            items=str(exam.fingerprint["items"]),
            sampling=sampling_words(exam.sampling),
            level=LEVEL,
        ),
        runs=runs,
        over_seeds=over_seeds(runs),
        note=note,
    )


def _rewards(
    saved: Saved, prefix: str, sections: Sequence[RewardSection], catalog: Catalog
) -> tuple[RewardFact, ...]:
    records: list[Mapping[str, Any]] = [
        c for c in saved.components if c["role"].startswith(prefix) and c["kind"] == "reward"
    ]
    return tuple(
        RewardFact(
            name=record["role"].removeprefix(prefix),
            id=record["id"],
            distribution=record["distribution"],
            version=record["version"],
            source=source_hash(catalog.find("reward", section.use)),
            weight=section.weight,
            settings=dict(leaves(record["settings"])),
        )
        for record, section in zip(records, sections, strict=True)
    )


def sampling_words(sampling: Sampling) -> dict[str, str]:
    """How the answers are drawn."""
    return {
        "temperature": f"{sampling.temperature:g}",
        "top_p": f"{sampling.top_p:g}",
        "max_tokens": str(sampling.max_tokens),
        "seed": str(sampling.seed),
    }


def text_facts(sources: Sequence[Found]) -> tuple[TextFact, ...]:
    """Name and hash of each file; of a file that is in no library, its name without its folder."""
    return tuple(
        TextFact(
            name=found.name if found.plugin else found.source.name,
            hash=hashlib.sha256(found.source.read_bytes()).hexdigest()[:16],
        )
        for found in sources
    )
