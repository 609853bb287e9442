"""Tokenizer files for plain transformers, with what training used: end of turn, padding, template."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from grpokit_hf.text.tokenizer import ChatTokenizer, read_json

__all__ = ["end_ids", "special_ids", "write_tokenizer"]

STALE = ("chat_template", "name_or_path", "special_tokens_map_file", "auto_map")


def write_tokenizer(tokenizer: ChatTokenizer, folder: Path) -> None:
    """``tokenizer.json`` as it is; its settings with the repaired end, padding and template."""
    shutil.copyfile(tokenizer.folder / "tokenizer.json", folder / "tokenizer.json")
    kept = {key: value for key, value in tokenizer.settings.items() if key not in STALE}
    ids = special_ids(tokenizer)
    settings: dict[str, Any] = {
        **kept,
        **tokenizer.tokens,
        "eos_token": tokenizer.backend.id_to_token(ids["eos"]),
        "pad_token": tokenizer.backend.id_to_token(ids["pad"]),
        "tokenizer_class": kept.get("tokenizer_class", "PreTrainedTokenizerFast"),
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (folder / "chat_template.jinja").write_text(tokenizer.template.source, encoding="utf-8")


def special_ids(tokenizer: ChatTokenizer) -> dict[str, int]:
    """Ids of bos (if there is one), eos, pad and unk (if there is one)."""
    found = {"eos": tokenizer.ends.main, "pad": tokenizer.pad_id}
    for name in ("bos", "unk"):
        text = tokenizer.tokens.get(f"{name}_token")
        if text is not None and text in tokenizer.vocabulary:
            found[name] = tokenizer.vocabulary[text]
    declared = read_json(tokenizer.folder / "config.json").get("bos_token_id")
    if "bos" not in found and isinstance(declared, int):
        found["bos"] = declared
    return found


def end_ids(tokenizer: ChatTokenizer) -> list[int]:
    """All ids that stop a completion; the one that ends turns comes first."""
    main = tokenizer.ends.main
    return [main, *sorted(tokenizer.ends.ids - {main})]
