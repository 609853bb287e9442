"""What models say on fixed prompts: the trained one, its base, and what was written.

Everything here loads from the disk with plain transformers and PEFT, computes in float32, and uses
nothing of the code that merged and wrote. The trained model is base plus adapter, applied beside
each other (for an exported adapter, which is applied that way: added up). One model is in memory
at a time.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from grpokit.api import Message
from grpokit_hf.export.gguf_words import Words, words_of
from grpokit_hf.export.source import TYPES, Source, moved_weights
from grpokit_hf.export.words import end_ids
from grpokit_hf.load import misfit

__all__ = [
    "Reading",
    "Reference",
    "fingerprint",
    "plain_model",
    "read_adapter",
    "read_gguf",
    "read_merged",
    "reference",
]

NEW_TOKENS = 32
"""Length of the compared answers."""
LOADERS = ("AutoTokenizer", "PreTrainedTokenizerFast")


@dataclass(kw_only=True)
class Reading:
    """What one model says.

    Attributes:
        answers: greedy token ids, one sequence a prompt.
        logprobs: T x V for each prompt: before every token of the trained model's answer, and after it.
        weights: name -> hash of the tensor in the written type.
        loader: class that reads the written tokenizer as training did; empty if none does.
    """

    answers: list[tuple[int, ...]] = field(default_factory=list)
    logprobs: list[Tensor] = field(default_factory=list)
    weights: dict[str, str] = field(default_factory=dict)
    loader: str = ""


@dataclass(kw_only=True)
class Reference:
    """The trained model and the one it came from. ``adapted`` names the weights that an adapter moves."""

    trained: Reading
    base: Reading
    adapted: frozenset[str]
    prompts: list[tuple[int, ...]]


def reference(
    source: Source, prompts: Sequence[Sequence[Message]], kind: str, *, apart: bool
) -> Reference:
    """Reads the trained model and its base.

    Args:
        source: where they are.
        prompts: conversations; they are encoded as in training.
        kind: type in which weights are hashed; empty for none.
        apart: the adapter is applied beside the base, and not added to it.
    """
    ids = [source.tokenizer.encode(messages) for messages in prompts]
    base = Reading()
    model = plain_model(source.base)
    base.weights = hashes(model, kind)
    if source.adapter:
        model = with_adapter(model, source.policy)
        if not apart:
            model.merge_adapter(safe_merge=True)
        trained = listen(model, ids, source)
        with model.disable_adapter():
            base.logprobs = [
                logprobs(model, *pair) for pair in zip(ids, trained.answers, strict=True)
            ]
            base.answers = [greedy(model, prompt, source) for prompt in ids]
        adapted = moved_weights(load_file(source.policy / "adapter_model.safetensors"))
        return Reference(trained=trained, base=base, adapted=adapted, prompts=ids)
    del model
    trained = listen(plain_model(source.policy), ids, source)
    model = plain_model(source.base)
    base.logprobs = [logprobs(model, *pair) for pair in zip(ids, trained.answers, strict=True)]
    base.answers = [greedy(model, prompt, source) for prompt in ids]
    return Reference(trained=trained, base=base, adapted=frozenset(base.weights), prompts=ids)


def listen(model: Any, ids: Sequence[tuple[int, ...]], source: Source) -> Reading:
    answers = [greedy(model, prompt, source) for prompt in ids]
    said = [logprobs(model, prompt, answer) for prompt, answer in zip(ids, answers, strict=True)]
    return Reading(answers=answers, logprobs=said)


def read_merged(folder: Path, found: Reference, messages: Any, kind: str) -> Reading:
    """The written folder as a stranger loads it: his tokenizer, its own ends, nothing of ours."""
    model = plain_model(folder)
    loader, ids = tokenized(folder, messages, found.prompts)
    return Reading(
        answers=[own_answer(model, prompt) for prompt in ids],
        logprobs=followed(model, found),
        weights=hashes(model, kind),
        loader=loader,
    )


def read_adapter(folder: Path, base: Path, found: Reference, messages: Any) -> Reading:
    """The written adapter on the base, as PEFT's users load it."""
    model = with_adapter(plain_model(base), folder)
    loader, ids = tokenized(folder, messages, found.prompts)
    ends = stranger(folder, loader or LOADERS[0]).eos_token_id
    return Reading(
        answers=[own_answer(model, prompt, eos_token_id=ends) for prompt in ids],
        logprobs=followed(model, found),
        loader=loader,
    )


def read_gguf(path: Path, found: Reference, source: Source) -> Reading:
    """The written file as transformers dequantises it, with the end of turn that the file names.

    transformers makes tokenizers of GGUF files by the architecture, so the file's own tables are
    compared with those of training instead.
    """
    from gguf import GGUFReader

    said = {name: field.contents() for name, field in GGUFReader(str(path)).fields.items()}
    end = int(said["tokenizer.ggml.eos_token_id"])
    with redirect_stderr(StringIO()):  # its progress bar cannot be turned off
        model = plain_model(path.parent, gguf_file=path.name)
    answers = [
        own_answer(model, prompt, eos_token_id=end, pad_token_id=source.tokenizer.pad_id)
        for prompt in found.prompts
    ]
    same = same_tables(said, words_of(source.tokenizer, model.config.vocab_size), source)
    return Reading(answers=answers, logprobs=followed(model, found), loader="GGUF" if same else "")


def same_tables(said: Mapping[str, Any], words: Words, source: Source) -> bool:
    """Whether a GGUF file has the tokens, merges and template of the tokenizer of training."""
    wanted = {
        "pre": words.pre,
        "tokens": words.tokens,
        "token_type": words.kinds,
        "merges": words.merges,
        "padding_token_id": source.tokenizer.pad_id,
    }
    template = said.get("tokenizer.chat_template")
    return template == source.tokenizer.template.source and all(
        said.get(f"tokenizer.ggml.{name}") == value for name, value in wanted.items()
    )


def followed(model: Any, found: Reference) -> list[Tensor]:
    """Log-probs along the trained model's answers."""
    pairs = zip(found.prompts, found.trained.answers, strict=True)
    return [logprobs(model, prompt, answer) for prompt, answer in pairs]


def plain_model(folder: Path, **settings: Any) -> Any:
    """Loads a folder with transformers, in float32, on a GPU if it fits there."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        **settings,
    )
    return model.to(device_for(model)).eval()


def device_for(model: Any) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    needed = 4 * model.num_parameters()
    return torch.device("cuda" if torch.cuda.mem_get_info()[0] > 1.5 * needed else "cpu")


def with_adapter(model: Any, folder: Path) -> Any:
    """PEFT's own model; every tensor of the file has to be in it."""
    from peft import PeftModel, get_peft_model_state_dict

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing keys are looked for below
            wrapped = PeftModel.from_pretrained(model, folder, local_files_only=True)
    except (ValueError, RuntimeError) as error:
        raise misfit(folder, str(error).strip().partition("\n")[0]) from error
    saved = load_file(folder / "adapter_model.safetensors")
    arrived = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    for name in sorted(saved.keys() | arrived.keys()):
        if (
            name not in saved
            or name not in arrived
            or not torch.equal(arrived[name].cpu().float(), saved[name].float())
        ):
            raise misfit(folder, f"{name} did not arrive")
    return wrapped.eval()


def greedy(model: Any, prompt: Sequence[int], source: Source) -> tuple[int, ...]:
    """The likeliest tokens, stopped where training stops."""
    from transformers import GenerationConfig

    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        eos_token_id=end_ids(source.tokenizer),
        pad_token_id=source.tokenizer.pad_id,
    )
    return generated(model, prompt, generation_config=settings)


def own_answer(model: Any, prompt: Sequence[int], **settings: Any) -> tuple[int, ...]:
    """The likeliest tokens, stopped where the written files say."""
    return generated(model, prompt, do_sample=False, max_new_tokens=NEW_TOKENS, **settings)


def generated(model: Any, prompt: Sequence[int], **settings: Any) -> tuple[int, ...]:
    ids_1T = torch.tensor([list(prompt)], device=model.device)
    with torch.no_grad(), quiet():
        out_1T = model.generate(
            input_ids=ids_1T, attention_mask=torch.ones_like(ids_1T), **settings
        )
    return tuple(out_1T[0, len(prompt) :].tolist())


def logprobs(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
    """T x V: before each token of the answer, and after the last."""
    ids_1T = torch.tensor([[*prompt, *answer]], device=model.device)
    with torch.no_grad():
        logits_TV = model(input_ids=ids_1T, use_cache=False).logits[0, len(prompt) - 1 :]
    said_TV: Tensor = logits_TV.float().log_softmax(-1).cpu()
    return said_TV


def hashes(model: Any, kind: str) -> dict[str, str]:
    """Name -> SHA-256 of each tensor, in the type in which it is written."""
    if not kind:
        return {}
    return {
        name: hashlib.sha256(
            tensor.detach().cpu().to(TYPES[kind]).contiguous().view(torch.uint8).numpy().tobytes()
        ).hexdigest()
        for name, tensor in model.state_dict().items()
    }


def tokenized(
    folder: Path, messages: Any, wanted: Sequence[tuple[int, ...]]
) -> tuple[str, list[tuple[int, ...]]]:
    """The loader that encodes the conversations as training did, and the ids."""
    for name in LOADERS:
        ids = [encoded(stranger(folder, name), talk) for talk in messages]
        if ids == list(wanted):
            return name, ids
    source = (folder / "chat_template.jinja").read_text("utf-8")
    if "strftime_now" in source:  # today's date is not that of training
        for name in LOADERS:
            if reads_alike(folder, name, wanted):
                return name, list(wanted)
    return "", list(wanted)


def reads_alike(folder: Path, name: str, wanted: Sequence[tuple[int, ...]]) -> bool:
    """Whether a loader reads the text of questions as the file of the tokenizer says."""
    from tokenizers import Tokenizer

    own, made = Tokenizer.from_file(str(folder / "tokenizer.json")), stranger(folder, name)
    texts = [own.decode(ids, skip_special_tokens=False) for ids in wanted]
    return all(
        made(text, add_special_tokens=False)["input_ids"]
        == own.encode(text, add_special_tokens=False).ids
        for text in texts
    )


def stranger(folder: Path, name: str) -> Any:
    import transformers

    return getattr(transformers, name).from_pretrained(folder, local_files_only=True)


def encoded(tokenizer: Any, talk: Any) -> tuple[int, ...]:
    made = tokenizer.apply_chat_template(
        [dict(message) for message in talk], add_generation_prompt=True, return_dict=True
    )
    return tuple(made["input_ids"])


@contextmanager
def quiet() -> Iterator[None]:
    """Silences warnings of settings that a written file leaves to its defaults."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def fingerprint(weights: dict[str, str]) -> str:
    """One hash for all tensors, whatever files they lie in."""
    return hashlib.sha256(json.dumps(sorted(weights.items())).encode()).hexdigest()[:16]
