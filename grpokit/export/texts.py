"""The files of an exported folder as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpokit import __version__
from grpokit.export.verl import override
from grpokit.interop.names import python_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from grpokit.export.notes import Note
    from grpokit.registry.catalog import Entry
    from grpokit.spec.recipe import Recipe

__all__ = ["COMMANDS", "readme", "reward_names", "rewards", "trl_script", "verl_script"]

COMMANDS = {
    "trl": ("python train.py",),
    "verl": ("./train.sh",),
    "axolotl": ("PYTHONPATH=. axolotl train axolotl.yaml",),
}
CHECKED = {
    "TRL": "TRL 1.14.2 and 1.16.0",
    "verl": "verl 0.9.1",
    "axolotl": "axolotl 0.19.0",
}
"""What the exports are tested with."""
NEEDS = {
    "TRL": "'trl>=1.14,<1.17' peft datasets",
    "verl": "'verl[vllm]==0.9.1'",
    "axolotl": "axolotl==0.19.0",
}


def literal(value: Any, indent: str = "") -> str:
    """Python source of plain data, an entry a line."""
    inner = f"{indent}    "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{key!r}: {each!r},\n" for key, each in value.items()]
        return "{\n" + "".join(lines) + indent + "}"
    if isinstance(value, list) and value:
        lines = [f"{inner}{literal(each, inner)},\n" for each in value]
        return "[\n" + "".join(lines) + indent + "]"
    return repr(value)


def rewards(
    name: str,
    target: str,
    sections: Sequence[Mapping[str, Any]],
    *,
    scoring: Mapping[str, Any],
    verl: Mapping[str, Any],
) -> str:
    """``grpokit_rewards.py``: the recipe's rewards as the target calls them."""
    head = [
        f'"""The rewards of the recipe {_line(name)}. Written by grpokit {__version__}."""',
        "",
        *_imports(target),
        "",
        "REWARDS = Rewards(",
        f"    {literal(list(sections), '    ')},",
        *(f"    {key}={value!r}," for key, value in scoring.items()),
        ")",
    ]
    names = [str(section["name"]) for section in sections]
    tail = _verl_names(name, verl) if target == "verl" else _trl_names(names, verl["group"])
    return "\n".join([*head, *tail]) + "\n"


def reward_names(names: Iterable[str]) -> list[str]:
    """The names of TRL's and axolotl's reward functions in ``grpokit_rewards.py``."""
    own = ("REWARDS", "Rewards", "functions", "reward_funcs", "reward_weights", "transform", "list")
    return python_names(names, own)


def function_name(name: str) -> str:
    """The name of verl's function there."""
    return python_names([name], ("REWARDS", "FALLBACK", "Rewards", "scored_by"))[0]


def _imports(target: str) -> list[str]:
    if target == "verl":
        found = ["from grpokit.interop.rewards import Rewards"]
        return [*found, "from grpokit.interop.verl import compute_score as scored_by"]
    first = ["from grpokit.interop.axolotl import transform"] if target == "axolotl" else []
    found = [*first, "from grpokit.interop.rewards import Rewards"]
    found.append("from grpokit.interop.trl import functions")
    shown = '["transform"]' if target == "axolotl" else "[]"
    return [*found, "", f"__all__ = {shown}"] if first else found


def _trl_names(names: Sequence[str], group: int) -> list[str]:
    variables = ", ".join(reward_names(names))
    return [
        f"reward_funcs = functions(REWARDS, group={group})",
        "reward_weights = list(REWARDS.weights)",
        "",
        "# By name, for dotted paths.",
        f"{variables}{',' if len(names) == 1 else ''} = reward_funcs",
    ]


def _verl_names(name: str, verl: Mapping[str, Any]) -> list[str]:
    word = function_name(name)
    return [
        "",
        "# The score of a completion that no reward applies to, or whose reward failed. Without one",
        "# the call raises, and verl trains without that completion.",
        "FALLBACK = None",
        "",
        f"{word} = scored_by(",
        "    REWARDS,",
        f"    name={word!r},",
        "    fallback=FALLBACK,",
        f"    correct={verl['correct']!r},",
        f"    components={tuple(verl['components'])!r},",
        ")",
    ]


def trl_script(name: str, recipe: Recipe, model: str, settings: Mapping[str, Any]) -> str:
    """``train.py`` for TRL."""
    lora = recipe.model.lora
    adapter = None
    if lora is not None:
        adapter = {
            "r": lora.rank,
            "lora_alpha": lora.alpha,
            "lora_dropout": lora.dropout,
            "target_modules": lora.targets,
            "task_type": "CAUSAL_LM",
        }
    init = dict(settings["model_init_kwargs"])
    if recipe.model.revision is not None:
        init["revision"] = recipe.model.revision
    changed = {**settings, "model_init_kwargs": init}
    return TRL.format(
        name=_line(name),
        version=__version__,
        checked=CHECKED["TRL"],
        model=repr(model),
        revision=repr(recipe.model.revision),
        eos=repr(recipe.model.eos),
        template=repr(_template(recipe)),
        lora=literal(adapter),
        settings=literal(changed),
    )


def _template(recipe: Recipe) -> str | None:
    path = recipe.model.chat_template
    if path is None:
        return None
    from pathlib import Path

    return Path(path).expanduser().read_text(encoding="utf-8")


TRL = '''"""The recipe {name} on TRL. Written by grpokit {version}, checked with {checked}.

    python train.py                     the run
    python train.py max_steps=10        with other settings of GRPOConfig, as JSON
    python train.py resume_from_checkpoint=true     goes on from the last checkpoint
"""

import json
import os
import sys
from pathlib import Path

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from grpokit.interop.models import folder
from grpokit_rewards import reward_funcs, reward_weights

HERE = Path(__file__).parent
MODEL = {model}
REVISION = {revision}
EOS = {eos}
CHAT_TEMPLATE = {template}
LORA = {lora}
SETTINGS = {settings}


def tokenizer(path):
    found = AutoTokenizer.from_pretrained(path, revision=REVISION, padding_side="left")
    if EOS is not None:
        found.eos_token = EOS
    if CHAT_TEMPLATE is not None:
        found.chat_template = CHAT_TEMPLATE
    if found.pad_token is None:
        found.pad_token = found.eos_token
    return found


def rows():
    with (HERE / "train.jsonl").open(encoding="utf-8") as lines:
        return Dataset.from_list([json.loads(line) for line in lines])


def value_of(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def changes(arguments):
    pairs = (argument.partition("=") for argument in arguments)
    return {{name: value_of(text) for name, _, text in pairs}}


def shared(settings):
    """The rows of an optimiser step, divided among the processes of `accelerate launch`."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    micro, parts = "per_device_train_batch_size", "gradient_accumulation_steps"
    rows = settings[micro] * settings[parts]
    if rows % processes:
        sys.exit(f"{{rows}} completions of an optimiser step cannot be divided among {{processes}} processes")
    mine = rows // processes
    size = next(n for n in range(min(settings[micro], mine), 0, -1) if mine % n == 0)
    return {{micro: size, parts: mine // size}}


def main():
    path = folder(MODEL)
    settings = {{**SETTINGS, **shared(SETTINGS), **changes(sys.argv[1:])}}
    settings = {{"output_dir": str(HERE / "out"), **settings}}
    trainer = GRPOTrainer(
        model=path,
        reward_funcs=reward_funcs,
        args=GRPOConfig(reward_weights=reward_weights, **settings),
        train_dataset=rows(),
        processing_class=tokenizer(path),
        peft_config=LoraConfig(**LORA) if LORA else None,
    )
    trainer.train(resume_from_checkpoint=trainer.args.resume_from_checkpoint)
    trainer.save_model()


if __name__ == "__main__":
    main()
'''


def verl_script(name: str, model: str, settings: Mapping[str, Any]) -> str:
    """``train.sh`` for verl."""
    lines = [override(key, value) for key, value in settings.items()]
    quoted = "\n".join(f"  {_shell(line)}" for line in lines)
    return VERL.format(
        name=_line(name),
        version=__version__,
        checked=CHECKED["verl"],
        model=_shell(model),
        overrides=quoted,
        function=function_name(name),
    )


VERL = """#!/usr/bin/env bash
# The recipe {name} on verl. Written by grpokit {version}, checked with {checked}.
# MODEL, GPUS and PYTHON may be set; further overrides may follow:  ./train.sh trainer.nnodes=2
set -euo pipefail
HERE="$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)"
PYTHON="${{PYTHON:-python3}}"
NAME={model}
MODEL="${{MODEL:-$("$PYTHON" -c 'import sys; from grpokit.interop.models import folder; print(folder(sys.argv[1]))' "$NAME")}}"
QUOTE="'" ESCAPED="\\'" LOOKUP='${{' KEPT='\\${{'
quoted() {{  # a path in Hydra's quotes
  local text="${{1//"$LOOKUP"/"$KEPT"}}"
  printf "'%s'" "${{text//"$QUOTE"/"$ESCAPED"}}"
}}
OVERRIDES=(
{overrides}
)
exec "$PYTHON" -m verl.trainer.main_ppo \\
  "data.train_files=$(quoted "$HERE/train.parquet")" \\
  "data.val_files=$(quoted "$HERE/val.parquet")" \\
  "actor_rollout_ref.model.path=$(quoted "$MODEL")" \\
  "reward.custom_reward_function.path=$(quoted "$HERE/grpokit_rewards.py")" \\
  "reward.custom_reward_function.name={function}" \\
  "trainer.default_local_dir=$(quoted "$HERE/checkpoints")" \\
  "trainer.n_gpus_per_node=${{GPUS:-1}}" \\
  "${{OVERRIDES[@]}}" "$@"
"""


def _shell(text: str) -> str:
    from shlex import quote

    return quote(text)


def readme(name: str, title: str, entries: Sequence[Entry], notes: Sequence[Note]) -> str:
    """``README.md``: commands, versions, and what is different there.

    ``entries`` are the components that must be installed there.
    """
    packages = dict.fromkeys(
        [f"grpokit=={__version__}"]
        + [f"{each.plugin.distribution}=={each.plugin.version}" for each in entries]
        + [NEEDS[title]]
    )
    told = [f"# {_line(name)} on {title}", "", *_how(title, " ".join(packages))]
    missing = [note for note in notes if note.kind == "missing"]
    if missing:
        told += [f"## What {title} cannot do", ""]
        told += ["This is another algorithm than the recipe's: the nearest was written.", ""]
        told += [f"- `{note.key}`: {note.text}" for note in missing] + [""]
    told += ["## What is different there", ""]
    told += [f"- `{note.key}`: {note.text}" for note in notes if note.kind == "differs"]
    told += [f"- {line}" for line in ALWAYS[title]]
    return "\n".join(told) + "\n"


def _how(title: str, packages: str) -> list[str]:
    target = title.lower()
    return [
        f"Written by grpokit {__version__}; exports are checked with {CHECKED[title]}.",
        "",
        "```sh",
        f"pip install {packages}",
        *COMMANDS[target],
        "```",
        "",
        "The rewards are grpokit's, from `grpokit_rewards.py`: the recipe's settings and weights, in",
        "worker processes with its time limit. `recipe.yaml` is the recipe with every value and absolute",
        "paths; `grpokit train recipe.yaml` runs it with grpokit on the machine of the export.",
        "",
        *HOW[target],
        "",
    ]


HOW = {
    "trl": [
        "`python train.py use_vllm=true` draws with vLLM; `accelerate launch train.py` uses several",
        "devices, which share the completions of a step. TRL 1.15 needs a GPU.",
    ],
    "verl": [
        "`GPUS=4 ./train.sh` uses four devices.",
        "A completion that no reward applies to, or whose reward failed, raises: verl 0.9 logs it and",
        "trains without that completion. Set `FALLBACK` in `grpokit_rewards.py` for a score instead;",
        "`unscored` counts those completions.",
    ],
    "axolotl": [
        "`base_model` is a folder of this machine if the recipe names a catalogued model:",
        "`grpokit models pull NAME` brings it elsewhere. `micro_batch_size` times",
        "`gradient_accumulation_steps` is what one process takes: with several devices, on all of which",
        "axolotl trains by default, divide them, or an optimiser step is of more completions.",
    ],
}
_EVERYWHERE = (
    "Random numbers are others, so completions are.",
    "The tokenizer is taken as its files say. `grpokit plan` tells what grpokit repairs in them.",
)
_UNDER_TRL = (
    "Where all rewards abstain or one failed, TRL gets None and the advantage is 0, as here.",
    *_EVERYWHERE,
)
ALWAYS = {
    "TRL": _UNDER_TRL,
    "axolotl": _UNDER_TRL,
    "verl": (
        "A minibatch's denominators count completions without tokens.",
        "However many calls of rewards fail, the run goes on (`scoring.max_error_rate`).",
        *_EVERYWHERE,
    ),
}


def _line(text: str) -> str:
    """One line that ends no comment and no docstring."""
    return " ".join(text.split()).replace('"', "'").replace("\\", "/")
