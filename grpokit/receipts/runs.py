"""What a finished run and its saved evaluation say, or every reason why they say nothing."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.compose.experiment import trains, values_of_run
from grpokit.engine.rundir import RunDir
from grpokit.errors import PreflightError
from grpokit.evaluate.run import digest
from grpokit.receipts.marks import difference, measured
from grpokit.receipts.model import Checked, RunFact
from grpokit.receipts.rescored import other_marks, other_scores
from grpokit.receipts.values import changes, values_of
from grpokit.report.listing import read_run

if TYPE_CHECKING:
    from grpokit.compose.load import Loaded
    from grpokit.evaluate.run import Exam
    from grpokit.registry.catalog import Catalog

__all__ = ["LEVEL", "Saved", "hardware_of", "packages_of", "read_saved"]

LEVEL = 0.95
HARDWARE = ("cpu", "cores", "memory", "gpu", "OMP_NUM_THREADS", "platform")
"""Of the environment that a plan records, what is the machine; the rest are packages."""
SAME = ("dataset", "items", "prompt", "sampling", "batch", "rewards")
"""Of an evaluation's fingerprint, what the recipe decides."""
SHOWN = 5

Data = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A run that a receipt can be made of.

    Attributes:
        components: of the plan that it was trained by.
        model: what the backend says of the base model.
        fact: what the receipt says of the run.
    """

    path: Path
    train_fingerprint: str
    components: Sequence[Data]
    model: Data
    fact: RunFact


def read_saved(
    path: Path, loaded: Loaded, exam: Exam, sources: Mapping[str, str], catalog: Catalog
) -> Saved:
    """A run against the recipe that it is said to be of.

    ``sources``: of each reward that is installed, the hash of its source, by its role in a plan.

    Raises:
        PreflightError: with every reason why no receipt can be made of it.
    """
    run = RunDir.existing(path)
    plan = run.plan()
    problems = [*_unfinished(run), *_other_recipe(run, loaded), *_resumed(run)]
    edited = _edited(plan, sources)
    if edited and not problems and (why := other_scores(run, catalog)):
        problems.append(f"{', '.join(edited)} changed since it trained, and {why}: train it again")
    environment = plan.get("environment") or {}
    if "cpu" not in environment:
        problems.append("the run does not say on what hardware it trained: train it again")
    check = _checked(run)
    if check is None:
        problems.append("the run does not say whether its rewards were checked: train it again")
    evaluation, reasons = _evaluation(run, exam, environment)
    problems += reasons
    if problems or evaluation is None or check is None:
        raise PreflightError(
            "no receipt can be made of this run",
            place=str(path),
            remedy=f"repair {'this' if len(problems) == 1 else 'these'} first",
            problems=tuple(f"{path}: {each}" for each in problems),
        )
    return Saved(
        path=path,
        train_fingerprint=str(plan["dataset_fingerprint"]),
        components=plan["components"],
        model=evaluation.models[0],
        fact=_fact(run, evaluation, environment, check, tuple(edited)),
    )


def _fact(
    run: RunDir,
    evaluation: _Evaluation,
    environment: Data,
    check: Checked,
    edited: tuple[str, ...],
) -> RunFact:
    base, trained = evaluation.right
    rows = _metrics(run)
    return RunFact(
        seed=run.recipe().train.seed,
        date=time.strftime("%Y-%m-%d", time.gmtime(run.metrics.path.stat().st_mtime)),
        steps=len(rows),
        seconds=round(sum(row["seconds"]["total"] for row in rows), 1),
        completions=int(rows[-1].get("total/completions_generated", 0)),
        tokens=sum(int(row.get("tokens", 0)) for row in rows),
        reward_check=check,
        edited=edited,
        hardware=hardware_of(environment),
        packages=packages_of(environment),
        weights=str(evaluation.models[1].get("adapter") or evaluation.models[1]["weights"]),
        base=measured(base, LEVEL),
        trained=measured(trained, LEVEL),
        difference=difference(base, trained, LEVEL),
    )


def hardware_of(environment: Data) -> dict[str, str]:
    """The machine of a plan's environment; of the kernel no more than ``Linux 6.18 x86_64, glibc2.36``."""
    found = {key: str(environment[key]) for key in HARDWARE if key in environment}
    if "platform" in found:
        build = r"(\w+)-(\d+\.\d+).*-(\w+)-with-([\w.]+)"
        found["platform"] = re.sub(f"^{build}$", r"\1 \2 \3, \4", found["platform"])
    return found


def packages_of(environment: Data) -> dict[str, str]:
    """The rest of a plan's environment: Python and packages with their versions."""
    return {key: str(value) for key, value in environment.items() if key not in HARDWARE}


def _metrics(run: RunDir) -> list[dict[str, Any]]:
    lines = run.metrics.path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _unfinished(run: RunDir) -> list[str]:
    listed = read_run(run.path)
    if listed.state != "complete":
        steps = f"step {listed.step} of {listed.planned}"
        if listed.state == "running":
            return [f"the run is running, at {steps}: wait for its end"]
        return [
            f"the run is {listed.state}, at {steps}: grpokit train --resume {shlex.quote(str(run.path))}"
        ]
    try:
        count = len(_metrics(run))
    except (OSError, ValueError) as error:
        return [f"metrics.jsonl cannot be read: {error}"]
    if count != listed.planned:
        return [f"metrics.jsonl has {count} lines for {listed.planned} steps: restore the file"]
    return []


def _other_recipe(run: RunDir, loaded: Loaded) -> list[str]:
    try:
        trained = values_of_run(run.recipe(), run.plan())
    except (KeyError, TypeError, IndexError, AttributeError):
        return ["plan.json is not of the run's recipe: restore the file, or train again"]
    found = changes(trained, values_of(loaded), loaded.provenance).words
    if not found:
        return []
    more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
    told = "; ".join(found[:SHOWN])
    return [f"it trained another recipe than {loaded.name} now is: {told}{more}: train it again"]


def _edited(plan: Data, sources: Mapping[str, str]) -> list[str]:
    """Rewards whose source is another one than when the run was started."""
    rewards = [each for each in plan.get("components", ()) if each.get("kind") == "reward"]
    return [
        each["id"]
        for each in rewards
        if sources.get(each["role"], each["source_hash"]) != each["source_hash"]
    ]


def _resumed(run: RunDir) -> list[str]:
    """A run that went on with something changed, or elsewhere, belongs to no one recipe or machine."""
    try:
        text = run.resumes.path.read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.splitlines()]
        forced = [line for row in rows for line in row["forced"]]
        keys = dict.fromkeys(key for row in rows for key in row["changed"] if trains(key))
        moved = [row["environment"] for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"resumes.jsonl cannot be read: {error}"]
    problems = [f"resumed by --force with a change: {line}: train it again" for line in forced]
    later = [key for key in keys if not any(line.startswith(f"{key}:") for line in forced)]
    if later:
        problems.append(f"its first steps had another {', '.join(later)}: train it again")
    began = run.plan().get("environment") or {}
    for environment in moved:
        other = [key for key in began if key in environment and environment[key] != began[key]]
        if other:
            told = ", ".join(f"{key} {began[key]}, then {environment[key]}" for key in other[:3])
            problems.append(f"it was resumed in another environment ({told}): train it again")
    return problems


def _checked(run: RunDir) -> Checked | None:
    try:
        data = json.loads((run.path / "reward-check.json").read_text(encoding="utf-8"))
        if data["skipped"]:
            return Checked(state="skipped", reason="--skip-reward-check")
        if not data["checked"]:
            return Checked(state="not checked", reason=str(data.get("problem", ""))[:300])
        findings = (f"{f['severity']} {f['id']} ({f['subject']})" for f in data["findings"])
        return Checked(state="checked", probes=int(data["probes"]), findings=tuple(findings))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True, kw_only=True)
class _Evaluation:
    models: tuple[Data, Data]
    right: tuple[tuple[bool, ...], tuple[bool, ...]]


def _evaluation(
    run: RunDir, exam: Exam, environment: Data
) -> tuple[_Evaluation | None, Sequence[str]]:
    """The newest evaluation of base and trained model by the recipe, or why there is none."""
    remedy = f"grpokit eval {shlex.quote(str(run.path))} --base"
    reasons: list[str] = []
    for folder in sorted((run.path / "eval").glob("*/"), key=lambda each: each.name, reverse=True):
        try:
            found = _read_evaluation(folder, run, exam, environment)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            reasons.append(f"eval/{folder.name}: {type(error).__name__}: {error}")
            continue
        if isinstance(found, str):
            reasons.append(f"eval/{folder.name}: {found}")
        else:
            return found, ()
    if not reasons:
        return None, [f"it was not evaluated against its base model: {remedy}"]
    told = "; ".join(reasons[:SHOWN])
    return None, [f"no evaluation fits the recipe ({told}): {remedy}"]


def _read_evaluation(folder: Path, run: RunDir, exam: Exam, environment: Data) -> _Evaluation | str:
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    models = summary["models"]
    if [each["label"] for each in models] != ["base", "trained"]:
        return "it does not compare the final policy with its base model"
    written = (folder / "summary.json").stat().st_mtime
    if written < (run.final / "MANIFEST.json").stat().st_mtime:
        return "it is older than the trained weights"
    for each in models:
        why = _misfit(each, exam, environment)
        if why:
            return f"{each['label']}: {why}"
    base, trained = (each["fingerprint"]["model"] for each in models)
    own = ("adapter", "weights")
    if {k: v for k, v in base.items() if k not in own} != {
        k: v for k, v in trained.items() if k not in own
    }:
        return "base and trained model were not evaluated in the same way"
    right = _right(folder / "samples.jsonl", exam)
    why = _edited_since(folder, exam, models)
    if any(sum(right[each["label"]]) != each["correct"] for each in models):
        why = "samples.jsonl and summary.json disagree"
    if why:
        return why
    return _Evaluation(models=(base, trained), right=(right["base"], right["trained"]))


def _edited_since(folder: Path, exam: Exam, models: Sequence[Data]) -> str:
    """What rewards that were edited since the evaluation mark otherwise; empty if nothing."""
    now = dict(exam.fingerprint["rewards"])
    if all(each["fingerprint"]["rewards"] == now for each in models):
        return ""
    text = (folder / "samples.jsonl").read_text(encoding="utf-8")
    why = other_marks(exam, [json.loads(line) for line in text.splitlines()])
    return f"its rewards changed since, and {why}" if why else ""


def _misfit(model: Data, exam: Exam, environment: Data) -> str:
    """What this evaluation did otherwise than the recipe would now, in words; empty if nothing."""
    wanted = json.loads(json.dumps({key: exam.fingerprint[key] for key in SAME}, default=str))
    found = model["fingerprint"]
    other = [key for key in SAME if found[key] != wanted[key]]
    if "rewards" in other:
        names = {*wanted["rewards"], *found["rewards"]}
        changed = [
            name
            for name in sorted(names)
            if _but_source(found["rewards"].get(name)) != _but_source(wanted["rewards"].get(name))
        ]
        if changed:
            return f"its rewards are not those that are installed: {', '.join(changed)}"
        other.remove("rewards")
    if other:
        return f"another {', '.join(other)} than the recipe's"
    if (model["decides"], model["threshold"]) != (exam.decides, exam.threshold):
        return f"correct means {model['decides']} >= {model['threshold']}"
    versions = found["model"].get("versions", {}) | {"grpokit": found["grpokit"]}
    moved = [k for k, v in versions.items() if k in environment and environment[k] != v]
    if moved:
        return f"trained and evaluated with other versions of {', '.join(moved)}"
    if model["failed"]:
        return f"{model['failed']} answers could not be scored"
    return ""


def _but_source(print_: str | None) -> list[str]:
    """Of a reward's fingerprint in an evaluation, all but the hash of its source: id, version, settings."""
    words = (print_ or "").split()
    return [*words[:2], *words[3:]]


def _right(path: Path, exam: Exam) -> dict[str, tuple[bool, ...]]:
    """Label -> right answers in the order of the questions; what was marked is marked again."""
    found: dict[str, list[tuple[str, bool]]] = {"base": [], "trained": []}
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            score = row["scores"][exam.decides]
            right = score is not None and score >= exam.threshold
            if right is not row["correct"]:
                raise ValueError(f"item {row['id']} is not marked as its score says")
            found[row["model"]].append((row["id"], right))
    for label, rows in found.items():
        if digest([item for item, _ in rows]) != exam.fingerprint["items"]:
            raise ValueError(f"samples.jsonl has other questions for {label}")
    return {label: tuple(right for _, right in rows) for label, rows in found.items()}
