"""HfBackend: transformers and peft under grpokit's own loop. It joins the parts and decides nothing."""

from __future__ import annotations

import copy
import hashlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from grpokit.api import (
    Advantages,
    Completion,
    GrpokitError,
    LossFunction,
    Measurement,
    Message,
    OutOfMemoryError,
    PreflightError,
    Prompt,
    Recipe,
    Resets,
    Rollout,
    Sampling,
    Selection,
    ShouldStop,
    Update,
    Wanted,
)
from grpokit_hf import state
from grpokit_hf.applied import QUESTION, TOKENS, check_applied
from grpokit_hf.config import HfConfig
from grpokit_hf.groups import Finished, Groups, grouped, row_seeds, rows_of
from grpokit_hf.job import free_memory
from grpokit_hf.load import load_adapter, load_policy, pick_team, use_threads
from grpokit_hf.locate import Located, ensure, locate
from grpokit_hf.machine import versions
from grpokit_hf.measure import Limits, measure
from grpokit_hf.native import library
from grpokit_hf.nn.batch import make_rows
from grpokit_hf.nn.decode import Drawn
from grpokit_hf.nn.pick import row_uniforms
from grpokit_hf.parallel import Team
from grpokit_hf.policy import Policy
from grpokit_hf.text.tokenizer import ChatTokenizer
from grpokit_hf.update import Job, Trainer
from grpokit_hf.weights import weights_hash
from grpokit_hf.window import check_window, window

if TYPE_CHECKING:
    from grpokit_hf.vllm.rollouts import Rollouts
    from grpokit_hf.vllm.sampler import Sampler

__all__ = ["HfBackend"]

log = logging.getLogger("grpokit.hf")


class HfBackend:
    """Implements ``StepBackend``. Bit-exact on a CPU for equal thread count and torch version."""

    def __init__(self, config: HfConfig | None = None) -> None:
        self.config = config or HfConfig()
        self._team = Team()
        self._policy: Policy | None = None
        self._trainer: Trainer | None = None
        self._located: Located | None = None
        self._weights: Path | None = None
        self._adapter_hash = ""
        self._sampler: Sampler | None = None
        self._rollouts: Rollouts | None = None
        self._recipe: Recipe | None = None
        self._finished: Finished | None = None
        self._groups: Groups | None = None

    # ------------------------------------------------------------- opening

    def open(self, recipe: Recipe, *, needs_reference: bool, needs_entropy: bool) -> None:
        """Loads the model for training. Entropy is always computed, so ``needs_entropy`` asks nothing.

        Several processes meet first, so that all of them hear of one that cannot load.
        """
        del needs_entropy
        self._team = pick_team(self.config.parallel)
        try:
            policy, reference = self._team.jointly(self._models, recipe, reference=needs_reference)
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                "the model, its adapter and its reference do not fit in memory",
                place=recipe.model.id,
                remedy="take a smaller model or an adapter (model.lora), which needs no second model "
                "as its reference",
            ) from error
        self._trainer = Trainer(policy, recipe, reference)
        self._trainer.needs_reference = needs_reference

    def _models(self, recipe: Recipe, *, reference: bool) -> tuple[Policy, Any]:
        """The policy, and a frozen copy of it where it is its own reference."""
        policy = self._load(recipe, train=True)
        if not reference or policy.adapter:
            return policy, None
        return policy, copy.deepcopy(policy.model).requires_grad_(requires_grad=False)

    def open_checkpoint(self, recipe: Recipe, folder: Path | None) -> None:
        """Loads for sampling: the base model, or the policy that ``save_policy`` wrote."""
        if folder is None:
            self._load(recipe)
            return
        saved = state.policy_folder(folder)
        if not (saved / "adapter_config.json").is_file():
            self._load(recipe, weights=saved)
            return
        load_adapter(self._load(recipe), saved)
        self._changed()
        data = (saved / "adapter_model.safetensors").read_bytes()
        self._adapter_hash = hashlib.sha256(data).hexdigest()[:16]
        if self._rollouts is None:  # vLLM has a canary of its own
            model = self.policy.model
            check_applied(model, lambda: self.generate([QUESTION], TOKENS).completions, saved)

    def _load(self, recipe: Recipe, *, train: bool = False, weights: Path | None = None) -> Policy:
        threads = use_threads(self.config.threads)
        section = recipe.model
        self._located = locate(section.id, section.revision)
        folder = ensure(self._located, say=progress)
        tokenizer = ChatTokenizer(folder, eos=section.eos, chat_template=section.chat_template)
        for note in tokenizer.notes:
            log.info("%s", note)
        self._weights, self._recipe = weights, recipe
        # vLLM first: it loads in its own process, and on a GPU it measures what is free.
        sampler = self._start_vllm(recipe, weights or folder)
        self._policy = load_policy(
            *(recipe, self.config, folder, tokenizer),
            weights=weights,
            train=train,
            team=self._team,
        )
        if sampler is not None:
            self._join_vllm(recipe, self._policy, sampler, weights or folder)
        on_cpu = self.config.native and self._policy.device.type == "cpu"
        how = " and C code" if on_cpu and library() else ""
        log.info("%s on %s with %d threads%s", section.id, self._policy.device, threads, how)
        return self._policy

    def _start_vllm(self, recipe: Recipe, folder: Path) -> Sampler | None:
        if self.config.rollouts != "vllm":
            return None
        from grpokit_hf.vllm.start import start_sampler

        self._sampler = start_sampler(recipe, self.config, folder)
        return self._sampler

    def _join_vllm(self, recipe: Recipe, policy: Policy, sampler: Sampler, folder: Path) -> None:
        from grpokit_hf.vllm.start import join

        self._rollouts = join(recipe, self.config, policy, sampler, folder)

    def _changed(self) -> None:
        """The policy's weights are no longer those that vLLM has."""
        if self._rollouts is not None:
            self._rollouts.changed = True

    @property
    def policy(self) -> Policy:
        if self._policy is None:
            raise GrpokitError("the backend is not open", remedy="call open or open_checkpoint")
        return self._policy

    @property
    def trainer(self) -> Trainer:
        if self._trainer is None:
            raise GrpokitError("the backend is not open for training", remedy="call open")
        return self._trainer

    # ------------------------------------------------------------- sampling

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of the rendered prompt; the same code renders in training, evaluation and plan."""
        return self.policy.tokenizer.encode(messages)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: ShouldStop | None = None
    ) -> Rollout:
        """``sampling.group`` completions a prompt, at most ``generate_rows`` at a time."""
        rows = rows_of(prompts, sampling)
        tell = self._finished
        self._groups = Groups(sampling.group, tell, self._completion) if tell else None
        drawn: list[Drawn] = []
        vllm = self._rollouts is not None
        # First: processes that share weights, or their files, enter it together.
        if self._rollouts is not None:
            self._rollouts.write()
        with nullcontext() if vllm else self.policy.sampling():
            ids = [self.encode(prompt.messages) for prompt in prompts]
            check_window(self.policy.base, prompts, ids, sampling)
            limit = max(1, len(rows)) if vllm else self.config.generate_rows
            for start in range(0, len(rows), limit):
                part = rows[start : start + limit]
                drawn += self._fitting(part, prompts, ids, sampling, should_stop)
                if self._groups is not None:
                    self._groups.part(part, drawn[start:])
        return grouped(prompts, ids, [self._completion(row) for row in drawn], sampling)

    def ahead(
        self, prompts: Sequence[Prompt], sampling: Sampling, should_stop: ShouldStop | None = None
    ) -> Callable[[ShouldStop | None], Rollout]:
        """Gives vLLM the present weights; what is returned draws with them, in any thread.

        Raises:
            PreflightError: what draws is the trained model, or on its memory.
        """
        if self._rollouts is None or self._rollouts.config.sleep:
            raise PreflightError(
                "only a vLLM that does not sleep can draw while the model trains",
                place="rollout.staleness",
                remedy="set backend: {use: hf, with: {rollouts: vllm}}, without sleep, or staleness: 0",
            )
        rows = rows_of(prompts, sampling)
        ids = [self.encode(prompt.messages) for prompt in prompts]
        check_window(self.policy.base, prompts, ids, sampling)
        seeds = row_seeds(rows, prompts, sampling)
        draw = self._rollouts.ahead(ids, [p for p, _ in rows], seeds, sampling, should_stop)

        def rollout(stop: ShouldStop | None) -> Rollout:
            return grouped(prompts, ids, [self._completion(row) for row in draw(stop)], sampling)

        return rollout

    def _fitting(
        self,
        rows: Sequence[tuple[int, int]],
        prompts: Sequence[Prompt],
        ids: Sequence[tuple[int, ...]],
        sampling: Sampling,
        should_stop: ShouldStop | None,
    ) -> list[Drawn]:
        """Samples the rows at once, or in halves where they do not fit into a GPU's memory."""
        try:
            return self._sample(rows, prompts, ids, sampling, should_stop)
        except torch.OutOfMemoryError as error:
            if len(rows) == 1:
                raise OutOfMemoryError(
                    "one completion does not fit in memory",
                    place=f"step {sampling.step}",
                    remedy="lower rollout.max_tokens, or take a smaller model",
                ) from error
        free_memory(self.policy.device)
        half = (len(rows) + 1) // 2
        return [
            *self._fitting(rows[:half], prompts, ids, sampling, should_stop),
            *self._fitting(rows[half:], prompts, ids, sampling, should_stop),
        ]

    def _sample(
        self,
        rows: Sequence[tuple[int, int]],
        prompts: Sequence[Prompt],
        ids: Sequence[tuple[int, ...]],
        sampling: Sampling,
        should_stop: ShouldStop | None,
    ) -> list[Drawn]:
        groups, used = self._groups, sorted({p for p, _ in rows})
        seeds = row_seeds(rows, prompts, sampling)
        ended = None if groups is None else lambda n, drawn: groups.ended(rows[n], drawn)
        finished = self.policy.tokenizer.endings(sampling.until, [ids[p] for p, _ in rows])
        if self._rollouts is not None:
            owners = [p for p, _ in rows]
            drawn = self._rollouts.sample(ids, owners, seeds, sampling, should_stop, ended)
            return finished.cut(drawn) if finished else drawn
        return self.policy.decoder().sample(
            [ids[p] for p in used],
            [used.index(p) for p, _ in rows],
            row_uniforms(seeds, sampling.max_tokens),
            sampling,
            should_stop,
            ended,
            finished,
        )

    @contextmanager
    def announcing(self, finished: Finished) -> Iterator[None]:
        """While it lasts, groups whose last row ends before the limit are told of when it does."""
        self._finished = finished
        try:
            yield
        finally:
            self._finished = None

    def _completion(self, drawn: Drawn) -> Completion:
        return Completion(
            token_ids=tuple(drawn.tokens),
            logprobs=tuple(drawn.logprobs) if drawn.logprobs else None,
            text=self.policy.tokenizer.decode(drawn.tokens),
            finish="stop" if drawn.ended else "length",
        )

    def measure(
        self, rollout: Rollout, wanted: Wanted, should_stop: ShouldStop | None = None
    ) -> Measurement:
        """What the policy says about completions, whoever drew them; as many rows a forward as in training."""
        assert self._recipe is not None
        optim, trainer = self._recipe.optim, self._trainer
        limits = Limits(
            rows=optim.micro_batch if trainer is None else trainer.limit_rows,
            tokens=optim.micro_tokens,
            longest=self.longest,
        )
        return measure(self.policy, rollout, wanted, limits, should_stop)

    @property
    def longest(self) -> float:
        """Tokens that the model reads."""
        return window(self.policy.base)

    # ------------------------------------------------------------- training

    def update(
        self,
        loss: LossFunction,
        rollout: Rollout,
        advantages: Advantages,
        selection: Selection,
        step: int,
        should_stop: ShouldStop | None = None,
    ) -> Update:
        """Trains on the selected rows. An interrupt is taken only before the first optimiser step."""
        job = Job(
            loss=loss,
            rows=make_rows(rollout, advantages, selection),
            denominator=selection.denominator,
            max_tokens=rollout.sampling.max_tokens,
            temperature=rollout.sampling.temperature,
            step=step,
            should_stop=should_stop,
        )
        self._changed()  # before: an update that fails half way has changed them too
        return self.trainer.update(job)

    def reset(self, resets: Resets) -> None:
        """Begins policy, optimiser or reference anew, before an update."""
        self._changed()
        self.trainer.reset(resets)

    # ------------------------------------------------------------- saving

    def save_policy(self, folder: Path) -> None:
        state.write_policy(self.policy, folder)

    def save_state(self, folder: Path) -> None:
        state.write_state(self.trainer, folder)

    def load_state(self, folder: Path) -> None:
        state.load_weights(self.policy, state.policy_folder(folder))
        part = folder / "state" if (folder / "state").is_dir() else folder
        state.restore_state(self.trainer, part)
        self._changed()

    @property
    def identity(self) -> Mapping[str, Any]:
        """What an evaluation's result belongs to; two results with different ones do not compare."""
        policy, located = self.policy, self._located
        rollouts = self._rollouts
        return {
            "model": located.id if located else "",
            "revision": (located.revision if located else None) or "",
            "weights": weights_hash(self._weights or policy.folder),
            "adapter": self._adapter_hash,
            "chat_template": policy.tokenizer.template_hash,
            "tokenizer": policy.tokenizer.tokenizer_hash,
            "stop_ids": sorted(policy.tokenizer.ends.ids),
            "dtype": str(policy.compute).removeprefix("torch."),
            "attention": "sdpa" if policy.kernel == "flex" else policy.kernel,  # which samples
            "device": policy.device.type,
            "backend": "hf",
            "versions": versions(),
            **({} if rollouts is None else {"rollouts": dict(rollouts.identity)}),
        }

    def close(self) -> None:
        """Frees the model and, on a GPU, its memory."""
        if self._rollouts is not None:
            self._rollouts.close()
        elif self._sampler is not None:
            self._sampler.close()  # the model did not load
        self._policy = self._trainer = self._rollouts = self._sampler = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def progress(message: str) -> None:
    """A line about a download, on stderr, before anything else is shown."""
    sys.stderr.write(message + "\n")
