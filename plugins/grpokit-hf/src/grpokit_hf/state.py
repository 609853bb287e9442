"""Policy and training state on disk: safetensors and JSON, nothing that runs when it is read.

policy/  adapter_model.safetensors + adapter_config.json, or a whole model folder
state/   optimizer.safetensors (AdamW's moments by weight name), trainer.json (counters),
         reference.safetensors (the reference policy, once it was reset)
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from grpokit.api import CheckpointError, NonFiniteError
from grpokit_hf.policy import Policy
from grpokit_hf.reset import check_fit
from grpokit_hf.update import Trainer

__all__ = ["load_weights", "policy_folder", "restore_state", "write_policy", "write_state"]

log = logging.getLogger("grpokit.hf")

FORMAT = 1
REFERENCE = "reference.safetensors"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def policy_folder(folder: Path) -> Path:
    """The part of a checkpoint that holds the policy; a published policy is flat."""
    return folder / "policy" if (folder / "policy").is_dir() else folder


def write_policy(policy: Policy, folder: Path) -> None:
    """An adapter where there is one, else a model folder that transformers and `grpokit` can load."""
    policy.team.check()
    policy.team.lone(check_finite, policy)
    tensors = gathered(policy)
    policy.team.write(lambda: write_whole(policy, tensors, folder))


def check_finite(policy: Policy) -> None:
    for name, weight in policy.weights.items():
        if not torch.isfinite(policy.team.part(weight)).all():
            raise NonFiniteError(
                f"the trained weight {name} is not finite, so nothing was saved",
                remedy="resume from the last checkpoint with a lower optim.lr",
            )


def gathered(policy: Policy) -> dict[str, Tensor]:
    """Whole weights by the names in the file, on the process that writes; all take part.

    Empty for a whole model that each process has anyway: transformers reads that by itself.
    """
    if policy.adapter:
        from peft import get_peft_model_state_dict

        tensors = get_peft_model_state_dict(policy.model, save_embedding_layers=False)
    elif policy.team.sharded:
        once = {name for name, _ in policy.model.named_parameters()}  # a tied head goes by one name
        once |= {name for name, _ in policy.model.named_buffers()}
        tensors = {name: w for name, w in policy.model.state_dict().items() if name in once}
    else:
        tensors = {}
    return policy.team.gather(tensors)


def write_whole(policy: Policy, tensors: dict[str, Tensor], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if policy.adapter:
        write_adapter(policy, tensors, folder)
        return
    write_model(policy.model, tensors, folder)
    for name in TOKENIZER_FILES:
        if (policy.folder / name).is_file():
            shutil.copyfile(policy.folder / name, folder / name)
    (folder / "chat_template.jinja").write_text(policy.tokenizer.template.source, encoding="utf-8")


def write_model(model: Any, tensors: dict[str, Tensor], folder: Path) -> None:
    """A whole model folder.

    transformers reads defaults for generation that contradict each other (a temperature beside
    greedy decoding is common on the hub) and refuses to write them. Then only the ends are kept.
    """
    from transformers import GenerationConfig

    settings = model.generation_config
    try:
        if settings is not None:
            settings.validate(strict=True)
    except ValueError:
        model.generation_config = GenerationConfig(
            bos_token_id=settings.bos_token_id, eos_token_id=settings.eos_token_id
        )
    with disk_errors():
        model.save_pretrained(folder, state_dict=tensors or None)


@contextmanager
def disk_errors() -> Iterator[None]:
    """A full disk is an OSError, also where safetensors wraps it."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"safetensors: {error}") from error


def write_adapter(policy: Policy, tensors: dict[str, Tensor], folder: Path) -> None:
    """The files that PEFT reads. Written here, because PEFT would ask the hub about the base model."""
    config = policy.model.peft_config["default"].to_dict()
    config = {key: sorted(v) if isinstance(v, set) else v for key, v in config.items()}
    config |= {"base_model_name_or_path": str(policy.folder), "inference_mode": True}
    text = json.dumps(config, indent=2, sort_keys=True, default=str)
    (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
    save_tensors(tensors, folder / "adapter_model.safetensors")


def load_weights(policy: Policy, folder: Path) -> None:
    """Reads trained weights back into an open policy."""
    team = policy.team
    if policy.adapter:
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        saved = team.jointly(read, folder / "adapter_model.safetensors")
        present = get_peft_model_state_dict(policy.model, save_embedding_layers=False)
        set_peft_model_state_dict(policy.model, team.laid_out(present, saved))
        return
    tensors = team.jointly(read_all, folder)
    tensors = team.laid_out(policy.model.state_dict() if team.sharded else {}, tensors)
    result = policy.model.load_state_dict(tensors, strict=False)
    tied = set(getattr(policy.model, "_tied_weights_keys", None) or ())
    missing = [name for name in result.missing_keys if name not in tied]
    if missing or result.unexpected_keys:
        wrong = [*missing, *result.unexpected_keys][0]
        raise CheckpointError(
            f"the saved model does not fit the recipe's model ({wrong})",
            place=str(folder),
            remedy="resume with the recipe of the run",
        )


def write_state(trainer: Trainer, folder: Path) -> None:
    """AdamW's moments, float32 as they are, and the counters of the trainer."""
    if trainer.torn:
        raise CheckpointError(
            "the weights are between two steps, because an update failed half way; nothing was saved",
            remedy="resume from the last checkpoint",
        )
    team = trainer.team
    team.check()
    tensors: dict[str, Tensor] = {}
    for name, weight in trainer.policy.weights.items():
        moments = trainer.optimizer.state.get(weight, {})
        tensors |= {f"{kind}/{name}": moments[kind] for kind in MOMENTS if kind in moments}
    tensors, reference = team.gather(tensors), team.gather(trainer.moved_reference())
    team.write(lambda: write_parts(trainer, tensors, reference, folder))


def write_parts(
    trainer: Trainer, tensors: dict[str, Tensor], reference: dict[str, Tensor], folder: Path
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(tensors, folder / "optimizer.safetensors")
    if trainer.reference_moved:
        save_tensors(reference, folder / REFERENCE)
    record = {
        "format": FORMAT,
        "bad_streak": trainer.bad_streak,
        "limit_rows": trainer.limit_rows,
        "micro_batch": trainer.recipe.optim.micro_batch,
        "machine": machine(trainer.policy),
    }
    (folder / "trainer.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def restore_state(trainer: Trainer, folder: Path) -> None:
    """Restores what :func:`write_state` wrote; says when exactness is lost to another machine."""
    team = trainer.team
    record = team.jointly(read_record, folder)
    tensors = team.jointly(read, folder / "optimizer.safetensors")
    for name, weight in trainer.policy.weights.items():
        found = {kind: tensors.get(f"{kind}/{name}") for kind in MOMENTS}
        moments = {kind: value for kind, value in found.items() if value is not None}
        if moments:
            trainer.optimizer.state[weight] = {
                kind: (value if kind == "step" else team.like(weight, value))
                .to(weight.device)
                .clone()
                for kind, value in moments.items()
            }
    if (folder / REFERENCE).is_file():
        saved = team.jointly(read, folder / REFERENCE)
        weights = trainer.reference_like()
        check_fit(weights, saved)
        trainer.set_reference(
            {
                name: team.like(weights[name], value).to(trainer.policy.device)
                for name, value in sorted(saved.items())
            }
        )
    trainer.bad_streak = int(record["bad_streak"])
    asked = trainer.recipe.optim.micro_batch
    if record.get("micro_batch", asked) == asked:  # else it was changed for the resumed run
        trainer.limit_rows = record["limit_rows"]
    now = machine(trainer.policy)
    for key, value in record["machine"].items():
        if now.get(key) != value:
            log.warning(
                "the run was saved with %s %s, this is %s: it goes on, but not bit for bit",
                key,
                value,
                now.get(key),
            )


def read_record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / "trainer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the trainer's state cannot be read: {error}",
            place=str(folder),
            remedy="resume from another checkpoint",
        ) from error
    return record


def machine(policy: Policy) -> dict[str, Any]:
    """What bit-exact continuation depends on."""
    cuda = policy.device.type == "cuda"
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": policy.team.count,
        "device": torch.cuda.get_device_name(policy.device) if cuda else "cpu",
    }


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    ready = {name: value.detach().cpu().contiguous() for name, value in sorted(tensors.items())}
    with disk_errors():
        save_file(ready, path, metadata={"format": "pt"})


def read_all(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= read(path)
    return tensors


def read(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot be read: {error}", place=str(path), remedy="resume from another checkpoint"
        ) from error
    return tensors
