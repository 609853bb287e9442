"""The stages of an export, in their order: look, check the room, write, read back, judge."""

from __future__ import annotations

import gc
import hashlib
import shutil
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging

from grpokit.api import CheckpointError, ExportRequest, ExportResult, PreflightError
from grpokit_hf.export.gguf_file import GGUF_TYPES, check_gguf, write_gguf
from grpokit_hf.export.proof import read_adapter, read_gguf, read_merged, reference
from grpokit_hf.export.source import TYPES, Source, open_source
from grpokit_hf.export.usage import usage_of
from grpokit_hf.export.verdict import judge
from grpokit_hf.export.write import merge, write_adapter, write_merged
from grpokit_hf.machine import versions
from grpokit_hf.state import policy_folder
from grpokit_hf.weights import weights_hash

__all__ = ["export_weights"]

BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "f32": 4, "f16": 2, "bf16": 2, "q8_0": 34 / 32}
"""A number of a type; q8_0 has blocks of 32 with a scale of two bytes."""
FOUR_BITS = (
    "training and its evaluations computed with a base rounded to 4 bits; this is the adapter on the "
    "base as it is, which may answer otherwise"
)
LOCAL_BASE = (
    "adapter_config.json names the base model by its folder on this machine; change "
    "base_model_name_or_path before others get it"
)
LONG = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "q8_0": "q8_0"}


def export_weights(request: ExportRequest) -> ExportResult:
    """Writes what is asked for into ``request.out`` and proves it by reading it back.

    Raises:
        PreflightError: the base model, the type or the form does not fit.
        CheckpointError: there is no room, or the proof fails.
    """
    transformers_logging.disable_progress_bar()
    source = open_source(request)
    made = {"merged": export_merged, "adapter": export_adapter, "gguf": export_gguf}[request.form]
    proof, loader = made(request, source)
    if request.recipe.backend.with_.get("load_in_4bit"):  # of grpokit-unsloth, which exports here
        proof["notes"] = [*proof.get("notes", ()), FOUR_BITS]
    files = tuple(
        sorted(
            str(each.relative_to(request.out)) for each in request.out.rglob("*") if each.is_file()
        )
    )
    return ExportResult(
        files=files,
        proof=proof,
        about=about(source, proof),
        usage=usage_of(request, source, loader),
    )


def export_merged(request: ExportRequest, source: Source) -> tuple[dict[str, Any], str]:
    kind = request.type or source.base_type
    if kind not in TYPES:
        raise PreflightError(
            f"{kind!r} is no type for a merged model", place="--dtype", remedy=", ".join(TYPES)
        )
    check_room(request.out, source.parameters * BYTES[kind])
    request.say(f"merging {source.parameters / 1e6:.4g} million weights in float32")
    model = merge(source)
    request.poll()
    request.say(f"writing {kind} safetensors")
    write_merged(model, source, kind, request.out)
    del model
    gc.collect()
    request.poll()
    request.say("reading the trained model and its base")
    found = reference(source, request.prompts, kind, apart=True)
    request.poll()
    request.say("reading what was written")
    written = read_merged(request.out, found, request.prompts, kind)
    return judge(found, written, kind, str(request.out)), written.loader


def export_adapter(request: ExportRequest, source: Source) -> tuple[dict[str, Any], str]:
    if request.type:
        raise PreflightError(
            "an adapter is written as it was trained", place="--dtype", remedy="leave it out"
        )
    write_adapter(source, request.out)
    request.say("reading the trained model and its base")
    found = reference(source, request.prompts, "", apart=False)
    request.poll()
    request.say("reading what was written")
    written = read_adapter(request.out, source.base, found, request.prompts)
    proof = judge(found, written, "float32", str(request.out))
    notes = [LOCAL_BASE] if source.located.kind == "folder" else []
    return {**proof, "notes": notes}, written.loader


def export_gguf(request: ExportRequest, source: Source) -> tuple[dict[str, Any], str]:
    from transformers import AutoConfig

    kind = request.type or "f16"
    if kind not in GGUF_TYPES:
        raise PreflightError(
            f"{kind!r} is no type for a GGUF file", place="--quantize", remedy=", ".join(GGUF_TYPES)
        )
    config = AutoConfig.from_pretrained(source.base, local_files_only=True, trust_remote_code=False)
    check_gguf(config, str(source.base))
    check_room(request.out, source.parameters * BYTES[kind])
    request.say(f"merging {source.parameters / 1e6:.4g} million weights in float32")
    model = merge(source)
    request.poll()
    path = request.out / f"{request.name}.gguf"
    request.say(f"writing {path.name} in {kind}")
    notes = write_gguf(model, source, kind, path)
    del model
    gc.collect()
    request.poll()
    request.say("reading the trained model and its base")
    found = reference(source, request.prompts, "", apart=True)
    request.poll()
    request.say("reading what was written")
    written = read_gguf(path, found, source)
    proof = judge(found, written, LONG[kind], str(request.out))
    return {**proof, "type": kind, "notes": list(notes)}, ""


def check_room(folder: Path, needed: float) -> None:
    """Says before any work that the disk is too small."""
    free = shutil.disk_usage(folder).free
    if free < 1.05 * needed + 1e7:
        raise CheckpointError(
            f"the export needs {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free",
            place=str(folder),
            remedy="make room, or name a folder on a larger disk with --out",
        )


def about(source: Source, proof: dict[str, Any]) -> dict[str, Any]:
    """Facts for the model card."""
    tokenizer = source.tokenizer
    policy = policy_folder(source.policy)
    adapter = policy / "adapter_model.safetensors"
    return {
        "base_model": source.located.id if source.located.kind != "folder" else source.base.name,
        "base_kind": source.located.kind,
        "revision": source.located.revision,
        "base_weights": weights_hash(source.base),
        "adapter": hashlib.sha256(adapter.read_bytes()).hexdigest()[:16] if source.adapter else "",
        "policy_weights": "" if source.adapter else weights_hash(policy),
        "parameters": source.parameters,
        "type": proof["type"],
        "end_of_turn": tokenizer.backend.id_to_token(tokenizer.ends.main),
        "chat_template": tokenizer.template_hash,
        "notes": list(tokenizer.notes),
        "versions": versions(),
    }
