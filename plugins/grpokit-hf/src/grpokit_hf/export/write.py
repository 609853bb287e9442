"""A merged model folder, or a PEFT adapter. Reading it back is the business of ``proof``."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from grpokit.api import PreflightError
from grpokit_hf.export.source import TYPES, Source
from grpokit_hf.export.words import end_ids, special_ids, write_tokenizer
from grpokit_hf.load import misfit
from grpokit_hf.state import disk_errors
from grpokit_hf.text.tokenizer import read_json

__all__ = ["generation_defaults", "merge", "write_adapter", "write_merged"]

SHARD = "5GB"


def merge(source: Source) -> Any:
    """The trained model in float32: the policy itself, or base + scale * B A, added once."""
    from transformers import AutoModelForCausalLM

    folder = source.base if source.adapter else source.policy
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise PreflightError(
            f"transformers cannot load the model: {str(error).strip().partition(chr(10))[0]}",
            place=str(folder),
            remedy="bring the model again, or upgrade transformers",
        ) from error
    if source.adapter:
        from peft import PeftModel

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the proof looks for missing keys
                wrapped = PeftModel.from_pretrained(model, source.policy, local_files_only=True)
            model = wrapped.merge_and_unload(safe_merge=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise misfit(source.policy, str(error).strip().partition("\n")[0]) from error
    return model


def write_merged(model: Any, source: Source, kind: str, folder: Path) -> None:
    """Weights in the type that is asked for, settings without this machine's paths, tokenizer."""
    model.to(TYPES[kind])
    ids = special_ids(source.tokenizer)
    text = model.config.get_text_config()
    for config in {id(each): each for each in (model.config, text)}.values():
        config.eos_token_id, config.pad_token_id = ids["eos"], ids["pad"]
        config.dtype = TYPES[kind]
    model.config._name_or_path = ""  # noqa: SLF001 - transformers has no public name for it
    model.generation_config = generation_defaults(source)
    with disk_errors():
        model.save_pretrained(folder, max_shard_size=SHARD)
    write_tokenizer(source.tokenizer, folder)


def generation_defaults(source: Source) -> Any:
    """Ends and padding, and nothing else.

    A penalty or temperature of the base model's file would make other answers than were trained
    and measured.
    """
    from transformers import GenerationConfig

    ids, ends = special_ids(source.tokenizer), end_ids(source.tokenizer)
    return GenerationConfig(
        bos_token_id=ids.get("bos"),
        eos_token_id=ends if len(ends) > 1 else ends[0],
        pad_token_id=ids["pad"],
    )


def write_adapter(source: Source, folder: Path) -> None:
    """The adapter as trained; its settings name the base model as others can find it."""
    if not source.adapter:
        raise PreflightError(
            "the run trained all weights, so there is no adapter",
            place=str(source.policy),
            remedy="use --merged",
        )
    config = read_json(source.policy / "adapter_config.json")
    config |= {
        "base_model_name_or_path": source.name,
        "revision": source.located.revision if source.located.kind == "hub" else None,
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(
        json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    name = "adapter_model.safetensors"
    shutil.copyfile(source.policy / name, folder / name)
    write_tokenizer(source.tokenizer, folder)
