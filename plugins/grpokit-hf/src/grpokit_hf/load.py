"""A model folder becomes a policy: weights on their device, adapter, and the parts that sampling and
training use. Nothing is fetched and no code of the model's author runs.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from grpokit.api import CheckpointError, OutOfMemoryError, PreflightError, Recipe
from grpokit_hf.adapter import with_adapter
from grpokit_hf.config import HfConfig
from grpokit_hf.kernels import pick_kernel, settle, wide_enough
from grpokit_hf.machine import keep_memory, physical_cores
from grpokit_hf.nn import attention, lora, pointwise
from grpokit_hf.nn.decode import Decoder
from grpokit_hf.nn.flex import FlexLayout
from grpokit_hf.nn.forward import Forward, Layouts
from grpokit_hf.nn.head import Head, logit_changes
from grpokit_hf.nn.keys import plain_decoder
from grpokit_hf.nn.multiplier import Linear, pick_linear
from grpokit_hf.nn.packed_attention import Layout
from grpokit_hf.nn.tiles import pick_tiles
from grpokit_hf.nn.token import TokenStep
from grpokit_hf.parallel import Copies, Team, several
from grpokit_hf.shards import Shards
from grpokit_hf.text.tokenizer import ChatTokenizer

__all__ = ["Policy", "load_policy", "pick_device", "pick_team", "use_threads"]

log = logging.getLogger("grpokit.hf")


def pick_device(wanted: str) -> torch.device:
    """The device that the settings ask for; an error if a GPU is asked for and there is none."""
    found = torch.cuda.is_available()
    if wanted == "cuda" and not found:
        raise PreflightError(
            "torch finds no CUDA device",
            place="backend.with.device",
            remedy="install a CUDA build of torch, or set `backend.with.device: cpu`",
        )
    return local_device() if found and wanted != "cpu" else torch.device("cpu")


def local_device() -> torch.device:
    """This process's GPU among those of its machine.

    Raises:
        PreflightError: there are fewer GPUs than processes; NCCL would refuse two on one.
    """
    if not several():
        return torch.device("cuda")
    wanted, there = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if wanted > there:
        raise PreflightError(
            f"{wanted} processes need a GPU each, and torch sees {there}",
            place="train.processes",
            remedy=f"set train.processes: {there}, or backend.with.device: cpu",
        )
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def use_threads(wanted: int | None) -> int:
    """One thread a physical core, unless told otherwise: products gain nothing from the second.

    The processes on a machine share its cores.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if several() else 1
    count = wanted or physical_cores(local)
    torch.set_num_threads(count)
    if not torch.cuda.is_available():
        keep_memory()
    return count


@dataclass(kw_only=True)
class Policy:
    """A model that samples and trains.

    Attributes:
        model: the model, in its PEFT wrapper if there is an adapter.
        weights: the trained weights by name, float32.
        autocast: the type of computation where trained float32 weights compute in bfloat16.
        kernel: attention kernel.
        team: the processes that train it.
        step: computes single tokens while sampling, where it can.
    """

    model: Any
    folder: Path
    tokenizer: ChatTokenizer
    device: torch.device
    dtype: torch.dtype
    adapter: bool
    autocast: torch.dtype | None
    kernel: str
    config: HfConfig
    checkpointing: bool
    dropout: float
    team: Team = field(default_factory=Team)
    step: TokenStep | None = None

    @property
    def base(self) -> Any:
        """The causal model without a PEFT wrapper."""
        return self.model.get_base_model() if self.adapter else self.model

    @property
    def weights(self) -> dict[str, Tensor]:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    @property
    def plain(self) -> bool:
        return plain_decoder(self.base.config)

    @property
    def mask_dtype(self) -> torch.dtype:
        """4-D masks are bool for sdpa, additive float32 for our kernel, additive for eager."""
        return {"float32": torch.float32, "eager": self.compute}.get(self.kernel, torch.bool)

    @property
    def compute(self) -> torch.dtype:
        return self.autocast or self.dtype

    @property
    def linear(self) -> Linear:
        """Who multiplies matrices."""
        return pick_linear(self.config.products, self.device, native=self.config.native)

    @property
    def tiles(self) -> bool:
        """Whether attention of packed rows goes over its scores in tiles."""
        return pick_tiles(self.config.scores, self.linear, self.device)

    @property
    def packs(self) -> bool:
        """Whether rows that train stand in one sequence, each prompt once."""
        return self.config.packing and self.plain and self.kernel == "float32"

    @property
    def fuses(self) -> bool:
        """Whether single tokens may go through grpokit's own pass over the layers."""
        sharded = self.team.sharded
        return self.config.fused and self.packs and not sharded and self.autocast is None

    @property
    def layouts(self) -> Layouts | None:
        """What tells attention who sees whom in a packed sequence; None for whole padded rows."""
        if self.packs:
            native = self.config.native and self.config.scores == "auto"
            return partial(Layout, linear=self.linear, tiles=self.tiles, native=native)
        flex = self.kernel == "flex" and wide_enough(self.base.config, self.device.type)
        return FlexLayout if flex and self.config.packing and self.plain else None

    @property
    def key_dtype(self) -> torch.dtype:
        """Keys and values are kept in the type that attention computes in."""
        return torch.float32 if self.kernel == "float32" else self.compute

    def decoder(self) -> Decoder:
        return Decoder(
            body=self.base.get_decoder(),
            head=Head(self.base),
            end_ids=self.tokenizer.ends.ids,
            pad_id=self.tokenizer.pad_id,
            plain=self.plain,
            shared=self.packs,
            mask_dtype=self.mask_dtype,
            key_dtype=self.key_dtype,
            tree=self.config.tree and self.packs,
            device=self.device,
            linear=self.linear,
            tiles=self.tiles,
            step=self.step,
        )

    def forward(self, model: Any = None) -> Forward:
        """Log-probs under this policy, or under another model of the same kind."""
        base = self.base if model is None else model
        softcap, scale = logit_changes(base.config)
        return Forward(
            body=base.get_decoder(),
            head=base.get_output_embeddings(),
            pad_id=self.tokenizer.pad_id,
            layouts=self.layouts,
            tree=self.config.tree,
            autocast=self.autocast,
            logit_rows=self.config.logit_rows,
            device=self.device,
            linear=self.linear,
            softcap=softcap,
            logit_scale=scale,
            outer=self.team.outer(base),
        )

    @contextmanager
    def sampling(self) -> Iterator[None]:
        """Evaluation mode with the adapter's matrices cast once.

        Several processes must enter it equally often; inside, each samples as long as it likes.
        """
        self.model.eval()
        with self.team.whole():
            frozen = (
                lora.frozen_adapters(self.model, self.dtype, self.linear)
                if self.adapter
                else nullcontext()
            )
            if self.fuses:
                native = self.config.native
                self.step = TokenStep.ready(self.base, self.linear, self.step, native=native)
            with frozen, self.forward().precision():
                yield


def load_policy(
    recipe: Recipe,
    config: HfConfig,
    folder: Path,
    tokenizer: ChatTokenizer,
    *,
    weights: Path | None = None,
    train: bool = True,
    team: Team | None = None,
) -> Policy:
    """Loads the model of ``folder``, or of ``weights`` (a fully trained copy), and adds the adapter.

    No collectives: processes that share it meet before and after.
    """
    section = recipe.model
    full, device = section.lora is None, pick_device(config.device)
    named = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    asked = named.get(section.dtype, torch.float32 if full else torch.bfloat16)
    dtype = torch.float32 if full else asked
    team = team or Team()
    kernel = pick_kernel(config.attention, device.type, train=train, sharded=team.sharded)
    where = torch.device("cpu") if team.sharded else device  # a layer at a time goes to the device
    model = read_model(weights or folder, dtype, kernel, where)
    silence_dropout(model)
    policy = Policy(
        model=model,
        folder=folder,
        tokenizer=tokenizer,
        device=device,
        dtype=dtype,
        adapter=False,
        autocast=torch.bfloat16 if full and asked == torch.bfloat16 else None,
        kernel=kernel,
        config=config,
        checkpointing=section.gradient_checkpointing,
        dropout=0.0 if full else section.lora.dropout,  # type: ignore[union-attr]
        team=team,
    )
    check_head(policy)
    if kernel == "flex" and train:
        policy.kernel = settle(config.attention, model.config, policy.compute, device)
    if config.native and not team.sharded:
        pointwise.install(model)
    if not full and train:
        add_adapter(policy, recipe)
    else:
        lora.install(policy.model, policy.linear)
    if section.gradient_checkpointing and train:
        policy.base.gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )
    policy.model.eval()
    if not train:
        policy.model.requires_grad_(requires_grad=False)
    return policy


def pick_team(wanted: str) -> Team:
    """How the processes share the model; whole copies unless told otherwise."""
    if not several():
        return Team()
    return Shards() if wanted == "fsdp" else Copies()


def read_model(folder: Path, dtype: torch.dtype, kernel: str, device: torch.device) -> Any:
    """The causal model from safetensors, offline, without remote code, without progress bars."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    attention.register()
    transformers_logging.disable_progress_bar()
    options: dict[str, Any] = {"device_map": {"": device}} if device.type == "cuda" else {}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation=attention.KERNELS[kernel],
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            **options,
        )
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            "the model does not fit in memory",
            place=str(folder),
            remedy="take a smaller model, or model.dtype: bfloat16 with an adapter (model.lora)",
        ) from error
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise PreflightError(
            f"transformers cannot load the model: {lines[0] if lines else type(error).__name__}",
            place=str(folder),
            remedy="bring the model again, or upgrade transformers if the architecture is newer",
        ) from error
    model.config.use_cache = True
    return model


def silence_dropout(model: nn.Module) -> None:
    """No dropout in the policy: sampler and trainer must be the same function of the weights."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]


def check_head(policy: Policy) -> None:
    """The head applied to the body's hidden states must give the model's own logits."""
    ids = torch.tensor([[policy.tokenizer.ends.main, *policy.tokenizer.encode_text("2 + 3")]])
    ids = ids.to(policy.model.device)
    model = policy.model.eval()
    with torch.no_grad(), policy.forward().precision():
        own_V = model(input_ids=ids, use_cache=False).logits[0, -1].float()
        hidden_H = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[0, -1:]
        ours_V = Head(model)(hidden_H)[0].float()
    if not torch.allclose(own_V, ours_V, rtol=2e-2, atol=2e-2):
        raise PreflightError(
            f"the architecture {model.config.model_type!r} changes its logits in a way that the "
            "hf backend does not know",
            place=str(policy.folder),
            remedy="take another model, or another backend (`grpokit plugins list`)",
        )


def add_adapter(policy: Policy, recipe: Recipe) -> None:
    """LoRA on the chosen modules, float32, started from the run's seed."""
    section = recipe.model.lora
    if section is None:
        return
    if isinstance(section.targets, list) and "lm_head" in section.targets:
        raise PreflightError(
            "lora.targets names lm_head, which the hf backend reads without an adapter",
            place="model.lora.targets",
            remedy="leave lm_head out",
        )
    policy.model = with_adapter(policy.model, recipe, policy.device)
    policy.adapter = True
    lora.install(policy.model, policy.linear)


def load_adapter(policy: Policy, folder: Path) -> None:
    """Puts a saved adapter on the base model, and checks that every weight of it arrived.

    An adapter that is left out in silence makes an evaluation measure the base model.
    """
    from peft import PeftModel, get_peft_model_state_dict

    try:
        saved = load_file(folder / "adapter_model.safetensors")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing keys are looked for below
            policy.model = PeftModel.from_pretrained(policy.model, folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise misfit(folder, str(error).strip().partition("\n")[0]) from error
    policy.adapter = True
    lora.install(policy.model, policy.linear)
    policy.model.eval()
    arrived = get_peft_model_state_dict(policy.model, save_embedding_layers=False)
    for name in sorted(saved.keys() | arrived.keys()):
        both = name in saved and name in arrived
        if not both or not torch.equal(arrived[name].cpu(), saved[name]):
            raise misfit(folder, f"{name} did not arrive")


def misfit(folder: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"the adapter does not fit the model: {reason}",
        place=str(folder),
        remedy="give the model.id that it was trained on",
    )
