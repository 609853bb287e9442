"""Writes docs/reference from the code: ``python docs/generate.py [--check]``.

Every page is made from docstrings, field descriptions and tables that the program itself uses. The
constraints files of the plugins are made from the version table in the same way.
``--check`` writes nothing and fails if a page is not what the code says; a test runs it.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from grpokit import hooks
from grpokit.engine.metrics import METRICS
from grpokit.errors import ExitCode
from grpokit.registry.settings import describe
from grpokit.spec import components
from grpokit.spec.capabilities import CAPABILITIES
from grpokit.spec.config import Config
from grpokit.spec.contracts import Preflight
from grpokit.spec.memory import MemoryFacts, SamplerMemory
from grpokit.spec.recipe import Recipe

FOLDER = Path(__file__).parent / "reference"
EXIT_CODES = {
    ExitCode.OK: "everything asked for was done",
    ExitCode.BUG: "an error in grpokit or a plugin; the message names a file with the details",
    ExitCode.USAGE: "the command line or the recipe is wrong; every problem is listed",
    ExitCode.PREFLIGHT: "the recipe is right, but this machine, model, data set or plugin cannot run it",
    ExitCode.REWARD: "rewards failed beyond the error budget, and a checkpoint was saved; or `runs rescore --gate` found more",
    ExitCode.NON_FINITE: "loss, gradient or weights are not finite; the last good checkpoint stands",
    ExitCode.STORAGE: "a checkpoint cannot be written, or none is whole",
    ExitCode.OUT_OF_MEMORY: "a step does not fit, also with a smaller micro-batch",
    ExitCode.FINDING: "a run has [a reason to stop](../diagnoses.md): `train` has saved a checkpoint and ended by it, or `doctor RUN` has found one",
    ExitCode.SIGINT: "stopped by Ctrl-C; a checkpoint was saved and the resume command printed",
    ExitCode.SIGPIPE: "whoever read the output has closed it, as in `grpokit ... | head`",
    ExitCode.SIGTERM: "stopped by SIGTERM; likewise",
}

HF_CODES = {
    "HF001": "A package of the backend is not installed.",
    "HF002": "The device that is asked for is not there, or torch is built for another.",
    "HF003": "There is no such model, or its folder cannot be used.",
    "HF004": "The model is not on this machine yet; an error where it cannot be brought.",
    "HF005": "The tokenizer or the chat template cannot be used.",
    "HF006": "The installed transformers does not have the model's architecture.",
    "HF007": "The completion's length limit leaves no room for the prompt.",
    "HF008": "The model is large for the device.",
    "HF009": "`model.lora.targets` names a module that the model does not have.",
    "HF010": "Completions shall come from vLLM, which is not installed or built for another device.",
    "HF011": "The installed vLLM is of a version that was not tested.",
    "HF012": "vLLM has no attention kernel for the model's head size on a CPU.",
    "HF013": "There is no adapter to hand to vLLM, or none that it takes.",
    "HF014": "vLLM refuses this way to sample, or gives no log-probabilities for it.",
    "HF015": "No vLLM server answers at the address, or it would not see the folder of the weights.",
    "HF016": "The processes do not fit the GPUs, or `parallel` has nothing to share.",
    "HF017": "A setting of vLLM that nothing reads.",
    "HF018": "What draws cannot do so while the model trains (`rollout.staleness`).",
    "HF019": "There is no C compiler for the code that makes a CPU faster.",
}

TRL_CODES = {
    "TRL001": "TRL is not installed.",
    "TRL002": "The installed TRL is older or newer than the backend knows.",
    "TRL003": "A setting needs a package that is not installed.",
    "TRL004": "A resumed run does not repeat bit by bit with vLLM, and may not with continuous batching (note).",
    "TRL005": "There is no such `accelerate` configuration, or it asks for what the backend does not do.",
    "TRL006": "FSDP or DeepSpeed without a GPU.",
    "TRL007": "Continuous batching without a GPU.",
    "TRL008": "Liger's kernels without a GPU.",
    "TRL009": "A setting that does nothing without another one of the recipe.",
    "TRL010": "Continuous batching where all weights train in bfloat16: TRL would cast them for good.",
}

UNSLOTH_CODES = {
    "US001": "A package of the backend is not installed.",
    "US002": "There is no GPU, so Unsloth's CPU path is used (note).",
    "US003": "4-bit weights are asked for on a CPU.",
    "US004": "`fast_inference` on a CPU, or without vLLM.",
    "US005": "On a GPU the backend trains adapters only.",
    "US006": "A setting of Unsloth that has no effect here: `standby` without vLLM or after Unsloth was imported, `attention` on a GPU.",
    "US007": "The model's files are quantised: such a run is never merged.",
}


def pages() -> dict[str, str]:
    """File name -> content of every generated page."""
    return {
        "exit-codes.md": exit_codes(),
        "hooks.md": hook_page(),
        "metrics.md": metric_page(),
        "recipe.md": recipe_page(),
        "diagnostics.md": diagnostic_page(),
        "components.md": component_page(),
        "commands.md": command_page(),
        "versions.md": version_page(),
    }


def exit_codes() -> str:
    rows = "\n".join(f"| {code.value} | {code.name} | {EXIT_CODES[code]} |" for code in ExitCode)
    own = "`grpokit rewards check` has [codes of its own](../howto-check-rewards.md#exit-codes)."
    return f"# Exit codes\n\n| code | name | meaning |\n|---|---|---|\n{rows}\n\n{own}\n"


def hook_page() -> str:
    parts = ["# Hooks\n", _plain(inspect.getdoc(hooks)) + "\n"]
    for name in hooks.HOOK_NAMES:
        function = getattr(hooks, name)
        signature = str(inspect.signature(function)).replace("'", "")
        parts.append(f"## `{name}{signature}`\n\n{_plain(inspect.getdoc(function))}\n")
    parts.append("## Specs\n\nFrozen and keyword-only. All of them have the fields of the first.\n")
    specs = (components.ComponentSpec, *components.ComponentSpec.__subclasses__())
    parts += [f"### `{s.__name__}`\n\n{_attributes(_plain(inspect.getdoc(s)))}\n" for s in specs]
    parts.append("## What a backend's preflight returns\n\nBefore torch is imported.\n")
    told = (Preflight, MemoryFacts, SamplerMemory)
    parts += [f"### `{s.__name__}`\n\n{_attributes(_plain(inspect.getdoc(s)))}\n" for s in told]
    parts.append("## Capabilities\n\nWhat a component may need and a backend may provide.\n")
    parts.append("\n".join(f"- `{name}`: {text}" for name, text in CAPABILITIES.items()) + "\n")
    return "\n".join(parts)


def _plain(text: str | None) -> str:
    """A docstring as Markdown."""
    return re.sub(r":\w+:`([^`]*)`", r"`\1`", (text or "").replace("``", "`"))


def _attributes(text: str) -> str:
    """``Attributes:`` as a list."""
    head, found, listed = text.partition("Attributes:\n")
    if not found:
        return text
    joined = re.sub(r"\n {8,}", " ", listed)
    return head + re.sub(r"(?m)^ {4}(\w+): ", r"- `\1`: ", joined)


def metric_page() -> str:
    rows = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in METRICS.items())
    return (
        "# Metrics\n\nOne line a step in `metrics.jsonl`; `seconds` holds the wall time of each "
        f"stage.\n\n| name | meaning |\n|---|---|\n{rows}\n"
    )


def recipe_page() -> str:
    head = (
        "# Recipe fields\n\n"
        "Types and defaults as the program checks them. `extends: NAME` (or a list) stands beside "
        "these: the named recipes are merged left to right, then this one over them. Mappings are "
        "merged key by key, lists are replaced as a whole, `null` goes back to the default, and "
        "another `use` forgets the inherited `with`, and the texts of a prompt. `--set KEY=VALUE` is a last layer.\n"
    )
    return "\n".join([head, *_model(Recipe, "recipe", set())])


def _model(model: type[Config], title: str, seen: set[type]) -> Iterator[str]:
    if model in seen:
        return
    seen.add(model)
    yield f"## `{title}`\n\n{_plain(inspect.getdoc(model))}\n"
    yield field_table(model)
    for name, field in model.model_fields.items():
        for inner in _models_in(field.annotation):
            prefix = "" if title == "recipe" else f"{title}."
            yield from _model(inner, f"{prefix}{field.alias or name}", seen)


def field_table(model: type[Config]) -> str:
    """The fields of a configuration model as a table; what a section holds has a table of its own."""
    rows = ["| field | type | default | meaning |", "|---|---|---|---|"]
    for item in describe(model):
        if "." in item.name:
            continue
        default = "required" if item.required else f"`{item.default}`"
        if "section" in item.type and len(item.default) > len("null"):
            default = "see below"
        cells = (f"`{item.name}`", item.type, default, item.doc)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _models_in(annotation: Any) -> Iterator[type[Config]]:
    if inspect.isclass(annotation) and issubclass(annotation, Config):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models_in(argument)


def diagnostic_page() -> str:
    from grpokit.compose.diagnostics import CODES
    from grpokit.compose.plan import PLAN_CODES
    from grpokit.compose.rules import RULES
    from grpokit.diagnose.findings import FINDINGS
    from grpokit.receipts.shelf import RECEIPT_CODES
    from grpokit.versions.conflicts import VERSION_CODES

    findings = "\n".join(
        f"| `{name}` | {k.meaning} | {k.warn or '-'} | {k.stop or '-'} | {k.remedy} |"
        for name, k in FINDINGS.items()
    )
    advice = "\n".join(f"| {r.id} | {r.level} | `{r.key}` | {r.source} |" for r in RULES)
    return (
        "# Diagnostics\n\nEvery problem of a recipe is reported at once as "
        "`file:line:col: CODE what is wrong; what is allowed; what to do`. The letter says where: "
        "F the file, Y its YAML, X inheritance and `--set`, K keys and values, C components, "
        "R rules between values. Codes marked (note) do not stop a run.\n\n"
        f"{_codes(CODES)}\n"
        "## Of a plan\n\nWhat only the data set, the rewards or the machine can say. `grpokit plan` "
        "lists all of them; `grpokit train` refuses to start on an error.\n\n"
        f"{_codes(PLAN_CODES)}\n"
        "## Of receipts\n\nWhat `grpokit recipes check` says of the "
        "[receipt](../howto-receipts.md) beside a recipe.\n\n"
        f"{_codes(RECEIPT_CODES)}\n"
        "## Of versions\n\nWhat the installed packages say to the recipe's backend; "
        "[which versions run together](../howto-versions.md).\n\n"
        f"{_codes(VERSION_CODES)}\n"
        "## Of the backend `hf`\n\n"
        f"{_codes(HF_CODES)}\n"
        "## Of the backend `trl`\n\nBesides those of `hf`, whose models and tokenizers it uses.\n\n"
        f"{_codes(TRL_CODES)}\n"
        "## Of the backend `unsloth`\n\n"
        f"{_codes(UNSLOTH_CODES)}\n"
        "## Advice\n\nRules of thumb about the recipe's numbers, with their source. They never stop "
        "a run; where sources disagree they only inform.\n\n"
        f"| code | level | about | source |\n|---|---|---|---|\n{advice}\n\n"
        "## Of a run\n\nWhat `grpokit doctor RUN` says of its numbers; "
        "[how they are judged](../diagnoses.md).\n\n"
        "| finding | meaning | warning | reason to stop | remedy |\n|---|---|---|---|---|\n"
        f"{findings}\n"
    )


def _codes(codes: Mapping[str, str]) -> str:
    rows = "\n".join(f"| {code} | {meaning} |" for code, meaning in sorted(codes.items()))
    return f"| code | meaning |\n|---|---|\n{rows}\n"


def component_page() -> str:
    from grpokit.registry.catalog import Catalog
    from grpokit.registry.resolve import config_model
    from grpokit.spec.components import KINDS

    catalog = Catalog.load(
        {
            "GRPOKIT_PLUGINS": "hf,trl,unsloth,cppo,math,reasoning-gym,rewards-model,rewards-intrinsic"
        }
    )
    head = (
        "# Components\n\n"
        "What grpokit and its own plugins bring. `grpokit plugins show NAME` prints the "
        "same, also of other installed plugins. Settings stand under `with:`.\n"
    )
    parts = [head]
    for entry in (e for kind in KINDS if kind != "prompt" for e in catalog.entries(kind)):
        axis = getattr(entry.spec, "axis", "")
        what = f"part for `{axis}`" if axis else entry.kind
        parts.append(f"## {what} `{entry.id}`\n\n{entry.spec.summary}\n")
        parts += list(_facts(entry.spec))
        model = config_model(entry)
        parts.append(field_table(model) if model is not None else "It has no settings.\n")
        parts += [] if model is None else list(_sections(model))
    parts.append("## Prompt templates\n\nNames for `prompt.use`.\n")
    parts.append("| name | what it asks |\n|---|---|")
    parts += [f"| `{entry.id}` | {entry.spec.summary} |" for entry in catalog.entries("prompt")]
    return "\n".join(parts) + "\n"


def _sections(model: type[Config]) -> Iterator[str]:
    """A table for each section among the settings of a component."""
    for name, field in model.model_fields.items():
        for inner in _models_in(field.annotation):
            yield f"### `with: {{{name}: ...}}`\n\n{_plain(inspect.getdoc(inner))}\n"
            yield field_table(inner)


def _facts(spec: Any) -> Iterator[str]:
    if getattr(spec, "formula", ""):
        yield f"```text\n{spec.formula}\n```\n"
    facts = []
    if getattr(spec, "paper", ""):
        facts.append(f"Paper: [arXiv {spec.paper}](https://arxiv.org/abs/{spec.paper}).")
    for word, names in (("Needs", spec.needs), ("Provides", spec.provides)):
        if names:
            facts.append(f"{word} {', '.join(f'`{name}`' for name in sorted(names))}.")
    if getattr(spec, "source", ""):
        facts.append(f"Comes from: {spec.source}; licence {spec.license}.")
    if facts:
        yield " ".join(facts) + "\n"


def command_page() -> str:
    from docs_commands import command_help

    return "# Commands\n\n" + command_help()


def version_page() -> str:
    """The sets and the known conflicts of the version table."""
    from grpokit.versions.table import MACHINES, load_table

    table = load_table()
    parts = [
        "# Versions\n",
        "Which versions run together, and which do not. [How to use it](../howto-versions.md).\n",
        "## Sets\n",
    ]
    for chosen in table.sets.values():
        parts.append(f"### `{chosen.name}`\n\n{chosen.summary}; `backend: {chosen.use}`\n")
        last = {name: v for m in chosen.machines.values() for name, v in m.no_deps.items()}
        for kind in MACHINES:
            ran = chosen.machines[kind].ran
            parts.append(f"- {kind}: {f'run on {ran}' if ran else 'not yet run'}")
        parts.append("\n| package | run with | takes |\n|---|---|---|")
        for name in chosen.members:
            pin = ", ".join([{**chosen.pins, **last}.get(name, ""), *chosen.tried.get(name, ())])
            wanted = str(chosen.ranges.get(name, ""))
            parts.append(f"| {name} | {pin} | {f'`{wanted}`' if wanted else ''} |")
        parts.append("")
    parts.append("## What does not run together\n")
    parts.append("| together | level | what happens | do | known from |\n|---|---|---|---|---|")
    for each in table.conflicts:
        names = ", ".join(f"`{name}{wanted}`" for name, wanted in each.packages.items())
        where = {"cpu": " without a GPU", "cuda": " with a GPU"}.get(each.machine, "")
        parts.append(
            f"| {names}{where} | {each.level} | {each.fact} | `{each.remedy}` | {each.origin} |"
        )
    return "\n".join(parts) + "\n"


def constraint_files() -> dict[str, str]:
    """Path from the project's root -> content of every file made from the version table."""
    from grpokit.versions.constraints import constraints_text, requirements_text
    from grpokit.versions.table import load_table

    found = {}
    for chosen in load_table().sets.values():
        found[chosen.constraints] = constraints_text(chosen)
        for kind, machine in chosen.machines.items():
            if machine.requirements:
                found[machine.requirements] = requirements_text(chosen, kind)
    return found


def main() -> int:
    check = "--check" in sys.argv[1:]
    FOLDER.mkdir(exist_ok=True)
    stale = []
    root = FOLDER.parents[1]
    files = {FOLDER / name: content for name, content in pages().items()}
    files |= {root / name: content for name, content in constraint_files().items()}
    for path, content in files.items():
        name = path.name
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            stale.append(name)
            if not check:
                path.write_text(content, encoding="utf-8")
    if stale:
        print(("out of date: " if check else "written: ") + ", ".join(stale))
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
