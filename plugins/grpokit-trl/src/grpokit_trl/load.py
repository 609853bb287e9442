"""A model folder becomes a model with an adapter, as transformers and PEFT make it, and a tokenizer.

Nothing is fetched and no code of the model's author runs. The tokenizer is the one of the backend
`hf`, in the clothes that TRL expects, so that both read and write the same tokens.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from grpokit.api import CheckpointError, PreflightError, Recipe
from grpokit_hf.adapter import with_adapter
from grpokit_hf.text.tokenizer import ChatTokenizer

__all__ = ["Loaded", "add_adapter", "load", "read_adapter", "read_model"]


@dataclass(kw_only=True)
class Loaded:
    """A model and what belongs to it.

    Attributes:
        model: the model, in its PEFT wrapper if there is an adapter.
        clothed: the tokenizer as TRL wants it.
        published: the model's own defaults for generation; they stay beside its weights, and have no
            say in what is drawn here.
        autocast: trained float32 weights compute in bfloat16.
    """

    model: Any
    folder: Path
    tokenizer: ChatTokenizer
    clothed: Any
    published: Any
    dtype: torch.dtype
    adapter: bool
    autocast: bool

    @property
    def weights(self) -> dict[str, Tensor]:
        """The trained weights by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    @property
    def base(self) -> Any:
        """The causal model without a PEFT wrapper."""
        return self.model.get_base_model() if self.adapter else self.model


def load(
    recipe: Recipe, folder: Path, attention: str, *, weights: Path | None = None, train: bool = True
) -> Loaded:
    """Loads the model of ``folder``, or of ``weights`` (a fully trained copy), and adds the adapter."""
    section = recipe.model
    full = section.lora is None
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    asked = named.get(section.dtype, torch.float32 if full else torch.bfloat16)
    dtype = torch.float32 if full else asked
    tokenizer = ChatTokenizer(folder, eos=section.eos, chat_template=section.chat_template)
    model = read_model(weights or folder, dtype, attention)
    loaded = Loaded(
        model=model,
        published=model.generation_config,
        folder=folder,
        tokenizer=tokenizer,
        clothed=clothe(tokenizer),
        dtype=dtype,
        adapter=False,
        autocast=full and asked == torch.bfloat16,
    )
    set_ends(loaded.model, tokenizer)
    if not full and train:
        add_adapter(loaded, recipe)
    return loaded


def read_model(folder: Path, dtype: torch.dtype, attention: str) -> Any:
    """The causal model from safetensors, offline, without remote code and without dropout."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise PreflightError(
            f"transformers cannot load the model: {lines[0] if lines else type(error).__name__}",
            place=str(folder),
            remedy="bring the model again, or upgrade transformers if the architecture is newer",
        ) from error
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
    return model


def clothe(tokenizer: ChatTokenizer) -> Any:
    """The same tokenizer as transformers' class; its template is never used."""
    from transformers import PreTrainedTokenizerFast

    def text(token: int) -> str:
        return str(tokenizer.backend.id_to_token(token))

    named = {"bos_token": tokenizer.tokens["bos_token"]} if "bos_token" in tokenizer.tokens else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend,
        eos_token=text(tokenizer.ends.main),
        pad_token=text(tokenizer.pad_id),
        padding_side="left",
        clean_up_tokenization_spaces=False,
        **named,
    )


def set_ends(model: Any, tokenizer: ChatTokenizer) -> None:
    """What ends a turn, where TRL looks for it, and nothing else.

    transformers fills in what TRL leaves open from the model's own defaults, such as min_p.
    """
    from transformers import GenerationConfig

    main = tokenizer.ends.main
    model.generation_config = GenerationConfig(
        eos_token_id=[main, *sorted(tokenizer.ends.ids - {main})], pad_token_id=tokenizer.pad_id
    )


def add_adapter(loaded: Loaded, recipe: Recipe) -> None:
    """LoRA on the chosen modules, float32, started from the run's seed."""
    if recipe.model.lora is not None:
        loaded.model = with_adapter(loaded.model, recipe, torch.device("cpu"))  # it is loaded there
        loaded.adapter = True


def read_adapter(loaded: Loaded, folder: Path) -> None:
    """Puts a saved adapter on the base model, and checks that every weight of it arrived."""
    from peft import PeftModel, get_peft_model_state_dict

    try:
        saved = load_file(folder / "adapter_model.safetensors")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing keys are looked for below
            loaded.model = PeftModel.from_pretrained(loaded.model, folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise misfit(folder, str(error).strip().partition("\n")[0]) from error
    loaded.adapter = True
    arrived = get_peft_model_state_dict(loaded.model, save_embedding_layers=False)
    for name in sorted(saved.keys() | arrived.keys()):
        both = name in saved and name in arrived
        if not both or not torch.equal(arrived[name].cpu().float(), saved[name].float()):
            raise misfit(folder, f"{name} did not arrive")


def misfit(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the adapter does not fit the model: {reason}",
        place=str(folder),
        remedy="give the model.id that it was trained on",
    )
