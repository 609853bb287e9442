"""What flows through one step. Read this file first.

    Draw -> Prompt_P -generate-> Rollout_PG -(measure)-score-> Scores_PG -advantages-> Advantages_PG
         -allocate-> (another round, or) -select-> Selection_N -loss/update-> Update
         -record-> StepRecord; the Outcome goes to the parts that remember

Suffixes: P prompts of the step, G completions a prompt (the group), T tokens of a completion,
N rows (completions) that train. Everything up to ``Scores`` is plain Python, so that rewards and
plans run without torch; tensors begin with ``Advantages``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Advantages",
    "Allocation",
    "Completion",
    "Continuation",
    "Draw",
    "Gathered",
    "LossInputs",
    "LossOutputs",
    "LossTotals",
    "Measurement",
    "Message",
    "Outcome",
    "Prompt",
    "Resets",
    "Rollout",
    "Sampling",
    "ScoreFailure",
    "Scores",
    "Selection",
    "StepRecord",
    "Update",
    "Wanted",
]


class Message(TypedDict):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One question, ready to be rendered by the chat template.

    Attributes:
        id: stable identity: the first 16 hex digits of the SHA-256 of messages and gold answer.
        index: position in the data set.
        row: the mapped columns, among them ``answer`` where the data set has one.
        messages: what the chat template renders.
    """

    id: str
    index: int
    row: Mapping[str, Any]
    messages: tuple[Message, ...]


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The rows that a step asks next, and where in the walk the following draw begins.

    Attributes:
        rows: positions in the data set; one may come more than once.
        position: the first position of the walk that is not behind us.
    """

    rows: tuple[int, ...]
    position: int


Until = Literal["boxed", "answer", "hash"]
"""Ways to write an answer: ``\\boxed{...}``, ``<answer>...</answer>``, and a line with ``####``."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How completions are drawn. ``temperature`` 0 means greedy; ``top_k`` 0 and ``top_p`` 1 mean off.

    With ``until`` a completion also ends, with ``finish`` "stop", with the token that completes its first
    answer: where :func:`grpokit.api.answered` first holds of its text.
    """

    group: int
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0
    step: int = 0
    until: Until | None = None


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One sampled answer.

    Attributes:
        token_ids: T tokens, with the end-of-sequence token if the model emitted one.
        logprobs: T log-probabilities under the policy that drew them, at the sampling temperature
            and before top-k, top-p or min-p cut anything: what training computes again. At
            temperature 1 for greedy decoding. None where the backend does not return them.
        text: the decoded tokens without special tokens.
        finish: "stop" if the model ended the turn, "length" if it ran into ``max_tokens``.
    """

    token_ids: tuple[int, ...]
    text: str
    finish: Literal["stop", "length"]
    logprobs: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """P prompts with G completions each, drawn from one policy."""

    prompts: tuple[Prompt, ...]
    prompt_ids: tuple[tuple[int, ...], ...]
    completions: tuple[tuple[Completion, ...], ...]
    sampling: Sampling

    @property
    def group(self) -> int:
        return self.sampling.group

    def rows(self) -> list[tuple[int, int]]:
        """All (p, g), prompt by prompt."""
        return [(p, g) for p, group in enumerate(self.completions) for g in range(len(group))]


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """Text in the place of a completion, to ask how probable its end is.

    ``before`` follows the prompt; ``target`` is what the policy gives log-probs for.
    """

    before: str
    target: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What rewards want to know from the policy about a rollout, row by row in the order of ``rows()``.

    Attributes:
        logprobs: log-probs of the completions' own tokens.
        self_certainty: KL(U || p) at each of them.
        continuations: those of each row; empty where no reward asks for any.
    """

    logprobs: bool = False
    self_certainty: bool = False
    continuations: tuple[tuple[Continuation, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What the policy said, row by row. All at temperature 1, in nats, with nothing cut off.

    Attributes:
        logprobs: T values a row; None if nobody wanted them.
        self_certainty: T values a row, KL(U || p_t) = logsumexp(z_t) - mean(z_t) - log V, where U is
            uniform over the V entries of the model's output.
        continuations: for each continuation of a row, the log-probs of its target's tokens: those
            that overlap the target in the encoding of ``before + target``. None where it has no
            token, or is longer than the model can read.
        vocabulary: V.
    """

    logprobs: tuple[tuple[float, ...], ...] | None = None
    self_certainty: tuple[tuple[float, ...], ...] | None = None
    continuations: tuple[tuple[tuple[float, ...] | None, ...], ...] = ()
    vocabulary: int = 0


@dataclass(frozen=True, kw_only=True)
class ScoreFailure:
    """A reward that could not score one completion. The completion abstains; it is never 0.0.

    ``kind`` "stop" is a reward that wants the run to end: it raised :class:`grpokit.api.RewardError`.
    """

    reward: str
    plugin: str
    row: int
    prompt_index: int
    sample: int
    kind: Literal["exception", "timeout", "non-finite", "type", "length", "crash", "memory", "stop"]
    message: str
    remedy: str = ""
    trace: str = ""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What the rewards said. ``None`` means "does not apply" or "could not score".

    Attributes:
        rewards: reward name -> scores_PG, unweighted.
        components: "reward/component" -> values_PG, for rewards that name their parts.
        total: total_PG, the aggregate; None where every reward abstained.
        weights: reward name -> its weight in the total; a reward that is not named weighs 1.
        failures: what went wrong, row by row.
        seconds: reward name -> wall time.
    """

    rewards: Mapping[str, Sequence[Sequence[float | None]]]
    components: Mapping[str, Sequence[Sequence[float | None]]]
    total: Sequence[Sequence[float | None]]
    failures: tuple[ScoreFailure, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Advantages:
    """advantages_PG (float32; 0 where invalid), valid_PG (bool: the row has a score).

    ``dead_P`` (bool): every advantage of the group is below 1e-8, so it teaches nothing.
    """

    advantages_PG: Tensor
    valid_PG: Tensor
    dead_P: Tensor


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What the rounds of a step gave so far: the groups of all of them, in order.

    Attributes:
        wanted: groups that the recipe asks for a step, ``rollout.prompts``.
        rounds: rounds behind us, at least 1.
    """

    rollout: Rollout
    scores: Scores
    advantages: Advantages
    wanted: int
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Which groups the step goes on with, and how many more it asks for.

    Attributes:
        keep: groups (positions in ``Gathered.rollout``), in the order in which they train; one may
            come twice. Read only if ``more`` is 0.
        more: prompts of another round; 0 ends the rounds.
    """

    keep: tuple[int, ...]
    more: int = 0


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which completions train: N (p, g) pairs in a fixed order, and a weight for each.

    ``denominator`` is the number of rows the row-mean aggregations divide by (the spec of the
    selecting part says whether pruned rows count). A row of weight 0 adds exactly nothing to the
    loss: it counts in ``LossTotals`` like any other, but a backend may leave out its forward. There
    may be no rows at all; then nothing trains.
    """

    rows: tuple[tuple[int, int], ...]
    weights: tuple[float, ...]
    denominator: int


@dataclass(frozen=True, kw_only=True)
class LossTotals:
    """Denominators of one whole optimiser step, so that any micro-batch split gives the same sum.

    Attributes:
        rows: rows that row-mean aggregations divide by.
        tokens: unmasked completion tokens over all rows of the step.
        max_tokens: the length limit of the rollout (constant-length aggregation).
    """

    rows: int
    tokens: int
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class LossInputs:
    """One micro-batch of N rows, right-padded to T tokens.

    ``logprobs_NT`` carries the gradient. ``old_logprobs_NT`` equals its detached value where the
    rollout batch is used for one optimiser step. ``mask_NT`` is 1 on tokens that count.
    ``tokens_NT`` holds token ids (0 in the padding). ``seed`` is another one for each micro-batch of a
    run, for parts that draw by lot.
    """

    logprobs_NT: Tensor
    old_logprobs_NT: Tensor
    ref_logprobs_NT: Tensor | None
    sampler_logprobs_NT: Tensor | None
    entropy_NT: Tensor | None
    advantages_N: Tensor
    weights_N: Tensor
    truncated_N: Tensor
    mask_NT: Tensor
    totals: LossTotals
    tokens_NT: Tensor | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class LossOutputs:
    """The micro-batch's share of the loss, and sums for metrics.

    The shares of all micro-batches add up to the loss of the step; the caller adds and never
    averages. ``sums`` maps a metric to (numerator, denominator), detached scalars that also add up.
    """

    loss: Tensor
    sums: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Update:
    """What the optimiser did with one rollout batch."""

    metrics: Mapping[str, float]
    optimizer_steps: int
    seconds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Resets:
    """What begins anew just before an update.

    Attributes:
        policy: the trained weights are those of the first step again.
        optimizer: AdamW forgets its moments.
        reference: the reference policy becomes the present one.
    """

    policy: bool = False
    optimizer: bool = False
    reference: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished step, for parts that remember.

    ``rollout`` and ``scores`` hold the groups of all rounds, also those that did not train; ``kept``
    are the positions of those that did.
    """

    step: int
    rollout: Rollout
    scores: Scores
    kept: tuple[int, ...]
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One line of ``metrics.jsonl``. ``metrics`` and ``seconds`` have flat, stable names."""

    step: int
    metrics: Mapping[str, float]
    seconds: Mapping[str, float]
