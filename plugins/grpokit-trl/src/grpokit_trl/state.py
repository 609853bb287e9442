"""Policy and training state on disk, in the files that the backend `hf` writes.

policy/  adapter_model.safetensors + adapter_config.json, or a whole model folder
state/   optimizer.safetensors (AdamW's moments by weight name), trainer.json (counters),
         reference.safetensors (the reference policy, once it was reset)

Where FSDP or DeepSpeed have cut the weights into shards, they are put together on process 0, which
writes. AdamW's moments are not written under DeepSpeed: its optimiser keeps them to itself.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grpokit.api import CheckpointError, NonFiniteError
from grpokit_hf.state import read, save_tensors, write_model
from grpokit_trl.load import Loaded

__all__ = ["Saved", "full_weights", "load_weights", "read_state", "write_policy", "write_state"]

log = logging.getLogger("grpokit.trl")

FORMAT = 1
REFERENCE = "reference.safetensors"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


class Saved:
    """What ``read_state`` found, until the optimiser is made."""

    def __init__(self, moments: Mapping[str, Tensor], streak: int) -> None:
        self.moments = moments
        self.streak = streak


def full_weights(trainer: Any) -> dict[str, Tensor] | None:
    """The whole model's weights where they are cut into shards; None where they are not."""
    if not trainer.sharded():
        return None
    found: dict[str, Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return found


def write_policy(loaded: Loaded, trainer: Any, folder: Path) -> None:
    """An adapter where there is one, else a model folder that transformers and `grpokit` can load."""
    whole = full_weights(trainer)
    checked = loaded.weights if whole is None else whole
    for name, weight in checked.items():
        if not torch.isfinite(weight).all():
            raise NonFiniteError(
                f"the trained weight {name} is not finite, so nothing was saved",
                remedy="resume from the last checkpoint with a lower optim.lr",
            )
    if not trainer.accelerator.is_main_process:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if loaded.adapter:
        write_adapter(loaded, whole, folder)
        return
    drawing = loaded.model.generation_config
    loaded.model.generation_config = loaded.published
    try:
        write_model(loaded.model, whole or {}, folder)
    finally:
        loaded.model.generation_config = drawing
    for name in TOKENIZER_FILES:
        if (loaded.folder / name).is_file():
            shutil.copyfile(loaded.folder / name, folder / name)
    (folder / "chat_template.jinja").write_text(loaded.tokenizer.template.source, encoding="utf-8")


def write_adapter(loaded: Loaded, whole: Mapping[str, Tensor] | None, folder: Path) -> None:
    """The files that PEFT reads. Written here, because PEFT would ask the hub about the base model."""
    from peft import get_peft_model_state_dict

    config = loaded.model.peft_config["default"].to_dict()
    config = {key: sorted(v) if isinstance(v, set) else v for key, v in config.items()}
    config |= {"base_model_name_or_path": str(loaded.folder), "inference_mode": True}
    text = json.dumps(config, indent=2, sort_keys=True, default=str)
    (folder / "adapter_config.json").write_text(text + "\n", encoding="utf-8")
    tensors = get_peft_model_state_dict(loaded.model, state_dict=whole, save_embedding_layers=False)
    save_tensors(tensors, folder / "adapter_model.safetensors")


def load_weights(loaded: Loaded, folder: Path) -> None:
    """Reads trained weights back into an open policy, before it is cut into shards."""
    if loaded.adapter:
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(loaded.model, read(folder / "adapter_model.safetensors"))
        return
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= read(path)
    result = loaded.model.load_state_dict(tensors, strict=False)
    tied = set(getattr(loaded.model, "_tied_weights_keys", None) or ())
    missing = [name for name in result.missing_keys if name not in tied]
    if missing or result.unexpected_keys:
        wrong = [*missing, *result.unexpected_keys][0]
        raise CheckpointError(
            f"the saved model does not fit the recipe's model ({wrong})",
            place=str(folder),
            remedy="resume with the recipe of the run",
        )


def write_state(
    trainer: Any,
    moments: Mapping[str, Tensor],
    reference: Mapping[str, Tensor] | None,
    folder: Path,
) -> None:
    """AdamW's moments, float32 as they are, the reference if it moved, and the counters."""
    if trainer.driver.torn:
        raise CheckpointError(
            "the weights are between two steps, because an update failed half way; nothing was saved",
            remedy="resume from the last checkpoint",
        )
    if not trainer.accelerator.is_main_process:
        return
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(dict(moments), folder / "optimizer.safetensors")
    if reference is not None:
        save_tensors(dict(reference), folder / REFERENCE)
    record = {
        "format": FORMAT,
        "bad_streak": trainer.driver.bad_streak,
        "machine": machine(trainer),
    }
    (folder / "trainer.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read_state(trainer: Any, folder: Path) -> tuple[Saved, dict[str, Tensor] | None]:
    """What :func:`write_state` wrote; says when exactness is lost to another machine."""
    part = folder / "state" if (folder / "state").is_dir() else folder
    try:
        record = json.loads((part / "trainer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"the trainer's state cannot be read: {error}",
            place=str(part),
            remedy="resume from another checkpoint",
        ) from error
    now = machine(trainer)
    for key, value in record["machine"].items():
        if now.get(key) != value:
            log.warning(
                "the run was saved with %s %s, this is %s: it goes on, but not bit for bit",
                key,
                value,
                now.get(key),
            )
    reference = read(part / REFERENCE) if (part / REFERENCE).is_file() else None
    return Saved(read(part / "optimizer.safetensors"), int(record["bad_streak"])), reference


def machine(trainer: Any) -> dict[str, Any]:
    """What bit-exact continuation depends on."""
    import trl

    device = trainer.accelerator.device
    return {
        "torch": torch.__version__,
        "trl": trl.__version__,
        "threads": torch.get_num_threads(),
        "processes": trainer.accelerator.num_processes,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }
