"""The model card of an export: measured results, the curve of training, the recipe, the proof.

It says only what files of the run hold. An evaluation counts if it measured these very weights. Text
of users and models cannot add markup: in tables and sentences it is escaped, elsewhere it is fenced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from grpokit import __version__
from grpokit.engine.rundir import RunDir
from grpokit.spec.export import ExportResult, Form
from grpokit.spec.recipe import Recipe

__all__ = ["RunFacts", "escaped", "fenced", "model_card"]

EDGE = 5
"""Steps at each end of training whose mean reward is told."""
LIBRARIES = {"merged": "transformers", "adapter": "peft", "gguf": ""}
LONGEST = 300
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#!|~$&@])")


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What the files of a run say.

    Attributes:
        metrics: rows of ``metrics.jsonl`` up to the exported step.
        evaluations: (name of the folder, summary) of every evaluation of the run.
    """

    name: str
    recipe: Recipe
    step: int | None
    plan: Mapping[str, Any]
    metrics: tuple[Mapping[str, Any], ...]
    evaluations: tuple[tuple[str, Mapping[str, Any]], ...]

    @classmethod
    def read(cls, run: RunDir, recipe: Recipe, *, step: int | None) -> RunFacts:
        rows = [row for row in run.metrics.read() if step is None or row.get("step", 0) <= step]
        return cls(
            name=run.path.name,
            recipe=recipe,
            step=step,
            plan=run.plan(),
            metrics=tuple(rows),
            evaluations=tuple(_evaluations(run.path / "eval")),
        )


def _evaluations(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in sorted(folder.glob("*/summary.json")):
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(summary["models"], list):
                yield path.parent.name, summary
        except (OSError, ValueError, KeyError, TypeError):
            continue  # half an evaluation is no result


def model_card(
    facts: RunFacts,
    result: ExportResult,
    form: Form,
    *,
    license_: str,
    recipe_text: str,
    title: str,
    place: str,
) -> str:
    """README.md with front matter for the hub.

    Args:
        facts: of the run.
        result: of the export.
        form: merged, adapter or gguf.
        license_: of the base model; empty if it is not known.
        recipe_text: the resolved recipe.
        title: heading.
        place: repository or folder from which the result will be loaded.
    """
    parts = [
        _front_matter(facts, result, form, license_),
        f"# {escaped(title)}\n",
        _summary(facts, result, license_),
        "## Results\n",
        *_results(facts, result.about),
        "## Training\n",
        *_training(facts),
        "## Proof of the export\n",
        *_proof(result),
        "## Use\n",
        _use(result, place),
        "## Components\n",
        _components(facts, result.about),
        "## Recipe\n",
        "Resolved: every value, defaults included. Paths are shortened to their last part.\n",
        fenced(recipe_text, "yaml"),
    ]
    return "\n".join(parts) + "\n"


def escaped(value: object) -> str:
    """One line of text that Markdown and HTML take for nothing but text."""
    text = "".join(char if char.isprintable() else " " for char in str(value))
    cut = text[:LONGEST] + (" ..." if len(text) > LONGEST else "")
    return _MARKUP.sub(r"\\\1", cut).replace("\\<", "&lt;").replace("\\>", "&gt;")


def fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any in the text."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def _front_matter(facts: RunFacts, result: ExportResult, form: Form, license_: str) -> str:
    recipe, about = facts.recipe, result.about
    data: dict[str, Any] = {}
    if license_:
        data["license"] = license_.lower()
    if about.get("base_kind") == "hub":
        data["base_model"] = str(about["base_model"])
    if recipe.dataset.use.rpartition("/")[2] == "hub":
        data["datasets"] = [str(recipe.dataset.with_.get("id"))]
    if LIBRARIES[form]:
        data["library_name"] = LIBRARIES[form]
    data["pipeline_tag"] = "text-generation"
    data["tags"] = ["grpokit", "reinforcement-learning", recipe.algorithm.use.replace("/", "-")]
    if form == "gguf":
        data["tags"].append("gguf")
    return f"---\n{yaml.safe_dump(data, sort_keys=False)}---\n"


def _summary(facts: RunFacts, result: ExportResult, license_: str) -> str:
    recipe, about = facts.recipe, result.about
    steps = recipe.train.steps
    done = f"{steps}" if facts.step == steps else f"{facts.step} of {steps}"
    done = f"at most {steps}" if facts.step is None else done
    adapters = recipe.model.lora
    how = f"LoRA of rank {adapters.rank}" if adapters else "all weights"
    told = f"{recipe.summary}".strip()
    head = (
        f"{escaped(about.get('base_model', recipe.model.id))} after {done} steps of "
        f"{escaped(recipe.algorithm.use)} ({how}) on the data set {escaped(recipe.dataset.use)}, "
        f"trained with grpokit {__version__}."
    )
    lines = [
        head,
        f"\nWhat the recipe says of itself: {escaped(told)}" if told else "",
        ""
        if license_
        else "\nThe licence of the base model is not known here; it holds for this model too.",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _results(facts: RunFacts, about: Mapping[str, Any]) -> Iterator[str]:
    matching = [
        (name, summary)
        for name, summary in facts.evaluations
        if any(_same_weights(model, about) for model in summary["models"])
    ]
    if not matching:
        others = len(facts.evaluations)
        more = f" The run has {others} of other weights." if others else ""
        yield (
            f"Not evaluated.{more} Measure it where the run lies: "
            f"`grpokit eval runs/{re.sub('[^A-Za-z0-9._-]', '-', facts.name)} --base`\n"
        )
        return
    for name, summary in matching:
        yield from _one_result(name, summary, about)


def _same_weights(model: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """Whether an evaluation measured the exported weights."""
    measured = model.get("fingerprint", {}).get("model", {})
    if about.get("adapter"):
        return bool(
            measured.get("adapter") == about["adapter"]
            and measured.get("weights") == about.get("base_weights")
        )
    return bool(about.get("policy_weights")) and measured.get("weights") == about["policy_weights"]


def _one_result(name: str, summary: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    ours = next(model for model in summary["models"] if _same_weights(model, about))
    mark = ours["fingerprint"]
    sampling = mark.get("sampling", {})
    heat = sampling.get("temperature")
    seed = escaped(sampling.get("seed", "?"))
    drawn = f"sampled at temperature {heat:g} with seed {seed}" if heat else "greedy"
    yield (
        f"Evaluation {escaped(name)}: {ours['items']} questions (data set with the fingerprint "
        f"{escaped(mark.get('dataset', '?'))}), {drawn}, at most "
        f"{escaped(sampling.get('max_tokens', '?'))} tokens; right means "
        f"{escaped(ours['decides'])} of at least {ours['threshold']:g}. Measured with the trained "
        "model as the run holds it, before this export.\n"
    )
    yield _table(
        ["model", "right", "accuracy", "95% interval", "cut off"],
        [
            (
                f"**{escaped(model['label'])}**" if model is ours else escaped(model["label"]),
                f"{model['correct']}/{model['items'] * model.get('samples', 1)}",
                _percent(model["accuracy"]),
                f"{_percent(model['interval'][0])} to {_percent(model['interval'][1])}",
                _percent(model["truncated"]),
            )
            for model in summary["models"]
        ],
    )
    pair = summary.get("comparison")
    if pair:
        low, high = pair["interval"]
        test = "sign-flip" if pair.get("test") == "sign-flip" else "McNemar"
        yield (
            f"Paired difference {100 * pair['difference']:+.1f} points, 95% interval "
            f"{100 * low:+.1f} to {100 * high:+.1f}, {test} p = "
            f"{pair['p'] if 'p' in pair else pair['mcnemar_p']:.2g}: "
            f"{escaped(pair['verdict'])}.\n"
        )
    versions = mark.get("model", {}).get("versions", {})
    told = ", ".join(f"{escaped(key)} {escaped(value)}" for key, value in versions.items())
    yield f"Versions: grpokit {escaped(mark.get('grpokit', '?'))}{', ' if told else ''}{told}.\n"


def _training(facts: RunFacts) -> Iterator[str]:
    rows, recipe = facts.metrics, facts.recipe
    rewards = [float(row["reward"]) for row in rows if row.get("reward") is not None]
    seconds = [row["seconds"]["total"] for row in rows if "total" in row.get("seconds", {})]
    yield (
        f"{len(rows)} recorded steps of {recipe.rollout.prompts} prompts with "
        f"{recipe.rollout.group} completions each, seed {recipe.train.seed}.\n"
    )
    table: list[tuple[str, str]] = []
    if rewards:
        edge = max(1, min(EDGE, len(rewards) // 2))
        table.append((f"mean reward, first {edge} steps", f"{fmean(rewards[:edge]):.3f}"))
        table.append((f"mean reward, last {edge} steps", f"{fmean(rewards[-edge:]):.3f}"))
    for name, told in (
        ("length/mean", "mean length, last step"),
        ("truncated", "cut off, last step"),
    ):
        if rows and isinstance(rows[-1].get(name), int | float):
            table.append((told, f"{rows[-1][name]:.3g}"))
    tokens = sum(int(row.get("tokens", 0)) for row in rows)
    if tokens:
        table.append(("tokens drawn", f"{tokens:,}"))
    if seconds:
        table.append(("wall time of the steps", f"{sum(seconds):.0f} s"))
    if facts.plan.get("device"):
        table.append(("device", escaped(facts.plan["device"])))
    yield _table(["", ""], table)
    yield "These rewards are of training questions, sampled while the policy changed: no evaluation.\n"


def _proof(result: ExportResult) -> Iterator[str]:
    yield "Measured on what was written, after reading it back (`proof.json` has all numbers):\n"
    yield "\n".join(f"- {escaped(line)}" for line in result.proof.get("lines", ())) + "\n"
    for note in result.proof.get("notes", ()):
        yield f"Note: {escaped(note)}.\n"


def _use(result: ExportResult, place: str) -> str:
    about = result.about
    code = result.usage.replace('"FOLDER")', f"{json.dumps(place)})")
    language = "python" if "import " in code else "bash"
    end = escaped(about.get("end_of_turn", "?"))
    first = (
        f"The chat template is the one of training; turns end with {end}. Penalties and temperatures "
        "of the base model's own files are left out, because training did not sample with them."
    )
    notes = [
        first,
        *(f"Repaired: {escaped(note)}." for note in about.get("notes", ())),
    ]
    return fenced(code, language) + "\n" + "\n\n".join(notes) + "\n"


def _components(facts: RunFacts, about: Mapping[str, Any]) -> str:
    rows = [
        (
            escaped(part.get("role", "")),
            escaped(part.get("id", "")),
            escaped(f"{part.get('distribution', '')} {part.get('version', '')}"),
            escaped(part.get("source_hash", "")),
        )
        for part in facts.plan.get("components", ())
    ]
    weights = [
        (
            "base model",
            about.get("base_model"),
            about.get("revision") or "",
            about.get("base_weights"),
        ),
        ("adapter", "", "", about.get("adapter")),
        ("data set content", "", "", facts.plan.get("dataset_fingerprint")),
        ("chat template", "", "", about.get("chat_template")),
    ]
    rows += [tuple(map(escaped, row)) for row in weights if row[3]]  # type: ignore[misc]
    packages = about.get("versions", {})
    told = ", ".join(f"{escaped(name)} {escaped(value)}" for name, value in packages.items())
    table = _table(["role", "component", "version", "hash"], rows)
    return f"{table}\nExported with grpokit {__version__}{', ' if told else ''}{told}.\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"
