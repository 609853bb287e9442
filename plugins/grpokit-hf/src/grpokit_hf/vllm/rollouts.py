"""Sampling with vLLM under the backend: fresh weights, the check that they arrived, one restart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch

from grpokit.api import GrpokitError, PreflightError, Sampling, ShouldStop
from grpokit_hf.nn.batch import Row, to_batch
from grpokit_hf.nn.decode import Drawn
from grpokit_hf.policy import Policy
from grpokit_hf.vllm.canary import SURE, Canary, distance, noise_floor
from grpokit_hf.vllm.choices import LogprobsMode, cuts, logprobs_usable
from grpokit_hf.vllm.config import VllmConfig
from grpokit_hf.vllm.requests import request_settings
from grpokit_hf.vllm.sampler import Ask, Ended, EngineGone, Sampler, Weights
from grpokit_hf.vllm.sync import Sync

__all__ = ["Rollouts"]

T = TypeVar("T")

log = logging.getLogger("grpokit.hf")

PROBE = 64
"""Completion tokens of the sequence that is scored after each change."""
RENEW = 25
"""Changes of the weights after which another sequence is taken."""


@dataclass
class Rollouts:
    """One policy's vLLM.

    Attributes:
        mode: which log-probs the engine gives.
        window: longest prompt and completion together.
        changed: the policy's weights are newer than the written ones.
        behind: the written weights are newer than the engine's.
        weights: what was written last.
        probe: the sequence that the canary looks at, and the length of its prompt.
        renewed: version of the weights under which it was drawn.
    """

    policy: Policy
    sampler: Sampler
    sync: Sync
    config: VllmConfig
    mode: LogprobsMode
    window: int
    changed: bool = False
    behind: bool = False
    weights: Weights = field(default_factory=Weights)
    probe: tuple[list[int], int] | None = None
    renewed: int = 0
    deaths: int = 0

    def __post_init__(self) -> None:
        self.canary = Canary(
            tolerance=self.config.tolerance or 0.0, floor=noise_floor(self.policy.compute)
        )

    # ------------------------------------------------------------- sampling

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        owners: Sequence[int],
        seeds: Sequence[int],
        sampling: Sampling,
        should_stop: ShouldStop | None,
        ended: Ended | None = None,
    ) -> list[Drawn]:
        """Completion n continues ``prompts[owners[n]]`` and draws from ``seeds[n]`` alone.

        ``ended`` hears of each when it ends; once more where the engine had to be started again.
        """
        ask = self._ask(prompts, owners, seeds, sampling)
        return self._lasting(lambda: self._sample(ask, sampling, should_stop, ended), should_stop)

    def ahead(
        self,
        prompts: Sequence[Sequence[int]],
        owners: Sequence[int],
        seeds: Sequence[int],
        sampling: Sampling,
        should_stop: ShouldStop | None,
    ) -> Callable[[ShouldStop | None], list[Drawn]]:
        """Gives the engine the present weights; what is returned draws with them, in any thread.

        The trainer is asked here and no more in the drawing, because it trains meanwhile: an engine
        that has to be started again there gets the written weights without a look of the canary, which
        comes with the next ones.
        """
        ask = self._ask(prompts, owners, seeds, sampling)

        def draw(stop: ShouldStop | None) -> list[Drawn]:
            if self.behind:
                self.sampler.load(self.weights)
                self.behind = False
            return self.sampler.sample(ask, stop)

        self._lasting(lambda: self._ready(ask, sampling, should_stop), should_stop)
        return lambda stop: self._lasting(lambda: draw(stop), stop)

    def _ask(
        self,
        prompts: Sequence[Sequence[int]],
        owners: Sequence[int],
        seeds: Sequence[int],
        sampling: Sampling,
    ) -> Ask:
        self._check_length(prompts, sampling)
        tokenizer = self.policy.tokenizer
        ends, until = tokenizer.ends.ids, None
        endings = tokenizer.endings(sampling.until, [prompts[owner] for owner in owners])
        if endings is not None:
            thinking = list(endings.thinking)
            until = {"word": sampling.until, "folder": str(tokenizer.folder), "thinking": thinking}
        return Ask(
            until=until,
            prompts=prompts,
            owners=owners,
            settings=[request_settings(sampling, seed, ends) for seed in seeds],
            with_logprobs=logprobs_usable(sampling, self.mode),
        )

    def _lasting(self, work: Callable[[], T], should_stop: ShouldStop | None) -> T:
        """``work``, done again where the engine died of it."""
        dead = False
        while True:
            try:
                if dead:
                    self._again(should_stop)
                    dead = False
                return work()
            except EngineGone as error:
                if should_stop is not None:
                    should_stop()  # a signal that ended the engine too is not its fault
                self._count(error)
                dead = True

    def _ready(self, ask: Ask, sampling: Sampling, should_stop: ShouldStop | None) -> None:
        """The engine has the present weights, and the canary its probe: the beginning of a first row."""
        self.write()
        if self.behind:
            self._load()
        if ask.settings and self.watched and self._wants_probe():
            short = {**ask.settings[0], "max_tokens": min(PROBE, sampling.max_tokens)}
            one = replace(ask, owners=ask.owners[:1], settings=[short])
            self._first_look(one, self.sampler.sample(one, should_stop), sampling)

    def _sample(
        self, ask: Ask, sampling: Sampling, should_stop: ShouldStop | None, ended: Ended | None
    ) -> list[Drawn]:
        self.write()
        self.sampler.wake()
        if self.behind:
            self._load()
        rows = self.sampler.sample(ask, should_stop, ended)
        if rows and self.watched and self._wants_probe():
            self._first_look(ask, rows, sampling)
        self.sampler.sleep()
        return rows

    def _check_length(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> None:
        longest = max((len(ids) for ids in prompts), default=0)
        if longest + sampling.max_tokens > self.window:
            raise PreflightError(
                f"a prompt of {longest} tokens and {sampling.max_tokens} new ones exceed the "
                f"{self.window} tokens that vLLM was started for",
                place="backend.with.vllm.max_len",
                remedy=f"set backend.with.vllm.max_len: {longest + sampling.max_tokens} or more",
            )

    @property
    def watched(self) -> bool:
        """Whether the canary looks. Not where processes hold parts of the weights: it would need all."""
        return self.config.tolerance is not None and not self.policy.team.sharded

    # ------------------------------------------------------------- weights

    def write(self) -> None:
        """Writes the policy's weights if they changed.

        Several processes take part. So it comes before anything that may fail in one of them alone.
        """
        if self.changed:
            self.weights = self.sync.write(self.policy)
            self.changed, self.behind = False, True

    def _load(self) -> None:
        """The engine has the written weights afterwards, and was seen to have them."""
        self.sampler.load(self.weights)
        if self.probe is not None and self.watched:
            values = self._engine_values()
            self.canary.check(values, self._trainer_values(1.0), self.weights.version)
        self.behind = False

    def _count(self, error: EngineGone) -> None:
        """One more death: said, or the end."""
        self.deaths += 1
        if self.deaths > self.config.restarts:
            raise GrpokitError(
                f"{error.fact}; it was started again {self.config.restarts} time(s) before",
                place=error.place,
                remedy="look into that log, and into the kernel's for a lack of memory (`dmesg`); "
                "lower backend.with.vllm.max_len or backend.with.vllm.memory and resume the run",
            ) from error
        log.warning(
            "%s: it is started again, and the completions are drawn again (%s)",
            error.fact,
            error.place,
        )

    def _again(self, should_stop: ShouldStop | None) -> None:
        """Starts the engine anew; it has to get the written weights once more."""
        self.sampler.restart(should_stop)
        self.behind = self.weights.version > 0

    # ------------------------------------------------------------- the canary

    def _wants_probe(self) -> bool:
        late = self.weights.version >= self.renewed + RENEW
        return self.probe is None or (late and self.canary.followed)

    def _first_look(self, ask: Ask, rows: Sequence[Drawn], sampling: Sampling) -> None:
        """Takes the longest completion of the first prompts as the probe, and compares."""
        place = max(range(len(rows)), key=lambda n: len(rows[n].tokens))
        prompt = list(ask.prompts[ask.owners[place]])
        length = min(PROBE, self.window - len(prompt) - 1)  # scoring draws one token more
        tokens = rows[place].tokens[:length]
        if not tokens:
            return
        self.probe = ([*prompt, *tokens], len(prompt))
        self.renewed = self.weights.version
        trainer = self._trainer_values(1.0)
        self.canary.open(self._engine_values(), trainer, self._base_values())
        self._check_sampled(rows[place].logprobs[:length], sampling)

    def _check_sampled(self, found: list[float], sampling: Sampling) -> None:
        """The log-probs that came with the completion are those at the sampling temperature.

        A server may have been started so that it answers with those at temperature 1, or with those
        after a cut, which are all too high.
        """
        if not found:
            return
        wanted = self._trainer_values(sampling.temperature or 1.0)
        gap = distance(found, wanted)
        log.info("vLLM's log-probs differ from the trainer's by %.2g nats a token", gap)
        excess = sum(a - b for a, b in zip(found, wanted, strict=True)) / len(found)
        if cuts(sampling) and sampling.temperature > 0 and excess > SURE * self.canary.noise:
            raise GrpokitError(
                "vLLM returns log-probabilities after the cut of top_p, top_k or min_p: they are "
                f"{excess:.3g} nats a token above the trainer's",
                place="backend.with.vllm",
                remedy=f"start the server with `--logprobs-mode {self.mode}`",
            )
        plain = self._trainer_values(1.0)
        told_apart = distance(wanted, plain) > 2 * self.canary.noise
        if told_apart and distance(found, plain) < gap:
            raise GrpokitError(
                "vLLM returns log-probabilities at temperature 1, but the completions are drawn at "
                f"{sampling.temperature:g}",
                place="backend.with.vllm",
                remedy=f"start the server with `--logprobs-mode {self.mode}`",
            )

    def _engine_values(self) -> list[float]:
        assert self.probe is not None
        ids, start = self.probe
        return self.sampler.score(ids)[start - 1 :]

    def _trainer_values(self, temperature: float) -> list[float]:
        assert self.probe is not None
        ids, start = self.probe
        row = Row(
            index=0,
            prompt=0,
            prompt_ids=tuple(ids[:start]),
            tokens=tuple(ids[start:]),
            advantage=0.0,
            weight=1.0,
            truncated=False,
            sampler_logprobs=None,
        )
        batch = to_batch([row], self.policy.tokenizer.pad_id, self.policy.device)
        self.policy.model.eval()
        with torch.no_grad():
            values = self.policy.forward()(batch, temperature).logprobs_M
        found: list[float] = values.float().tolist()
        return found

    def _base_values(self) -> list[float] | None:
        """What an engine that ignores the adapter would give."""
        if not self.policy.adapter:
            return None
        with self.policy.model.disable_adapter():
            return self._trainer_values(1.0)

    # ------------------------------------------------------------- the rest

    @property
    def identity(self) -> Mapping[str, Any]:
        options = self.config.options  # a quantisation, say
        return {**self.sampler.identity, **({"options": options} if options else {})}

    def close(self) -> None:
        try:
            self.sampler.close()
        finally:
            self.sync.close()
