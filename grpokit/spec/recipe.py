"""The recipe as data. Each field's docstring is what the reference and the JSON Schema print."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from grpokit.spec.config import Config
from grpokit.spec.flow import Until

__all__ = [
    "AlgorithmSection",
    "BackendSection",
    "DatasetSection",
    "EvalSection",
    "LenientSection",
    "Lora",
    "ModelSection",
    "OptimSection",
    "PromptSection",
    "Recipe",
    "RewardSection",
    "RolloutSection",
    "ScoringSection",
    "TrainSection",
    "Use",
]

Schedule = Literal["constant", "constant_with_warmup", "linear", "cosine"]
Decay = Annotated[float, Field(ge=0, lt=1)]


class Use(Config):
    """A component by name, with its settings."""

    use: str = Field(min_length=1)
    """Name or id of the component, as `grpokit plugins list` prints it."""
    with_: dict[str, Any] = Field(default_factory=dict, alias="with")
    """Settings of the component; `grpokit plugins show NAME` lists them."""


class Lora(Config):
    """Low-rank adapters instead of full fine-tuning (2106.09685)."""

    rank: int = Field(default=32, ge=1, le=1024)
    """Rank r of the update."""
    alpha: float = Field(default=64.0, gt=0)
    """Scale; the update is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input. Above 0 the sampler and the trainer see different policies."""
    targets: Literal["all-linear"] | list[str] = "all-linear"
    """Module names that get an adapter, or `all-linear`."""


class ModelSection(Config):
    """The model that learns."""

    id: str = Field(min_length=1)
    """A catalogued name (`grpokit models list`), a local folder, or a hub id."""
    revision: str | None = None
    """Commit, tag or branch of a hub model."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the frozen weights; `auto` is bfloat16 with LoRA and float32 for full fine-tuning. Trained weights are always kept in float32."""
    lora: Lora | None = Field(default_factory=Lora)
    """Adapter settings; `null` trains all weights."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    eos: str | None = None
    """End-of-turn token, when the tokenizer is wrong about it."""
    chat_template: str | None = None
    """A Jinja chat template file that replaces the model's own."""


class DatasetSection(Use):
    """Where the questions come from."""

    columns: dict[str, str] = Field(default_factory=dict)
    """New column name to existing column name, such as `answer: solution`."""
    limit: int | None = Field(default=None, ge=1)
    """Use only the first N rows."""
    difficulty: str | None = Field(default=None, min_length=1)
    """File of `grpokit difficulty`, relative to the folder in which grpokit is started. The data set is then the rows that were measured, each with the columns `pass_rate` and `mean_total`."""


class PromptSection(Config):
    """How a row becomes chat messages. Training, evaluation and plan share this code."""

    use: str = "plain"
    """A prompt template: `plain`, `boxed`, `hash`, `think-answer`, or a plugin's, such as `math/gsm8k-hash`."""
    system: str | None = None
    """System message; replaces the template's. Columns are written `{name}`."""
    template: str | None = None
    """User message; replaces the template's. Columns are written `{name}`; `{{` is a brace."""
    examples: list[dict[str, str]] = Field(default_factory=list)
    """Few-shot examples, each `{question: ..., answer: ...}`, sent as earlier turns."""


class RewardSection(Use):
    """One reward and its weight."""

    weight: float = 1.0
    """Factor in the total. 0 measures without training on it."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    """Name in metrics; the component's name by default. Needed when one reward is used twice."""


class AlgorithmSection(Use):
    """The algorithm, and parts that replace its own."""

    use: str = "grpo"
    """Named algorithm."""
    parts: dict[str, Use] = Field(default_factory=dict)
    """Axis name to part, for instance `advantage: {use: group-centred}`."""


class RolloutSection(Config):
    """How completions are drawn in training."""

    prompts: int = Field(default=8, ge=1)
    """Prompts a step."""
    group: int = Field(default=8, ge=1)
    """Completions a prompt (num_generations elsewhere)."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling; 1 is off."""
    top_k: int = Field(default=0, ge=0)
    """Keep the k likeliest tokens; 0 is off."""
    min_p: float = Field(default=0.0, ge=0, lt=1)
    """Drop tokens less likely than this share of the likeliest; 0 is off."""
    max_tokens: int = Field(default=512, ge=1)
    """Length limit of a completion, in tokens (max_completion_length elsewhere)."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """Rows with a longer prompt are refused, or dropped with `on_long_prompt: drop`."""
    on_long_prompt: Literal["error", "drop"] = "error"
    """What happens to a row whose prompt is longer than `max_prompt_tokens`."""
    shuffle: bool = True
    """New order of the rows in each epoch, derived from the seed."""
    staleness: int = Field(default=0, ge=0, le=1)
    """Steps between the weights that draw and those that train. With 1 the first round of the next step is drawn while this one trains, with the weights from before; set `algorithm.parts.correction` as well, which weighs the difference. Needs one process and the backend `hf` with `rollouts: vllm` that does not sleep."""


class OptimSection(Config):
    """AdamW and its learning-rate schedule."""

    lr: float | None = Field(default=None, gt=0)
    """Peak learning rate; 5e-6 with LoRA and 1e-6 without when left out."""
    schedule: Schedule = "constant_with_warmup"
    """Shape of the learning rate over the steps of the run."""
    warmup: float = Field(default=0.1, ge=0)
    """Warm-up: below 1 a share of the steps, from 1 on a number of steps."""
    max_grad_norm: float = Field(default=0.2, gt=0)
    """Gradients are scaled down to this norm."""
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    """AdamW's decay rates."""
    eps: float = Field(default=1e-8, gt=0)
    """AdamW's epsilon."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    iterations: int = Field(default=1, ge=1)
    """Passes over one rollout batch (mu; num_iterations elsewhere)."""
    minibatches: int = Field(default=1, ge=1)
    """Optimiser steps a pass: the rollout batch is cut into this many parts."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Rows a forward; smaller saves memory and changes nothing else. Left out, `micro_tokens` decides."""
    micro_tokens: int = Field(default=16384, ge=1)
    """Tokens a forward, padding included, when `micro_batch` is left out."""


class BackendSection(Use):
    """The runtime that holds the model."""

    use: str = "hf"
    """Name of the backend."""


class ScoringSection(Config):
    """How rewards are called."""

    timeout: float = Field(default=10.0, gt=0)
    """Seconds one reward may take for one completion; then its worker is killed and the row abstains."""
    max_error_rate: float = Field(default=0.05, ge=0, le=1)
    """Share of failed calls, over the last 20 steps' rows, at which the run stops."""
    memory: float | None = Field(default=16.0, ge=0.125)
    """GiB of memory that one reward's process may take (on Linux); then the row abstains and a new process goes on. `null` sets no limit."""
    isolate: bool = True
    """Call rewards in a worker process that can be killed. `false` is for debugging."""
    overlap: bool = False
    """Score groups while others are still being drawn, with the same scores. It pays where rewards take long and another machine or the GPU does the drawing (a judge, programs that are run); on a CPU both want the same cores, so it is off. One process, rewards that ask nothing of the policy, and the backend `hf`, whoever samples (others announce no group before the end)."""


class TrainSection(Config):
    """The run."""

    steps: int = Field(default=300, ge=1)
    """Steps; one step is one rollout batch."""
    seed: int = Field(default=42, ge=0, le=2**63 - 1)
    """Every random number of the run derives from it."""
    processes: int = Field(default=1, ge=1, le=1024)
    """Processes on this machine that share the run, usually one a GPU. Seeds and gradients are those of one process; sums are rounded in another order."""
    save_every: int = Field(default=50, ge=1)
    """Steps between checkpoints; the last step is always saved."""
    keep: int = Field(default=2, ge=1)
    """Newest checkpoints kept, besides the best."""
    out: str = "runs"
    """Folder in which run directories are made."""
    show_every: int = Field(default=5, ge=0)
    """Steps between sample completions on the terminal; 0 shows none."""
    save_rollouts: bool = True
    """Write every completion with its scores to `rollouts.jsonl`."""
    on_finding: Literal["warn", "stop"] = "warn"
    """What happens when the numbers of the run give a reason to stop (docs/diagnoses.md): `warn` says it, `stop` saves a checkpoint and ends the run with exit code 8. A resume may change it."""


class LenientSection(Use):
    """A reward that takes an answer wherever it stands."""

    threshold: float = 1.0
    """Score from which an answer counts as right."""


class EvalSection(Config):
    """Held-out evaluation."""

    dataset: DatasetSection | None = None
    """Held-out questions; without it `grpokit eval` needs one on the command line."""
    rewards: list[RewardSection] | None = None
    """Rewards to report; the training rewards by default."""
    correct: str | None = None
    """Name of the reward that means "correct" when its score is at least `threshold`; the first one by default."""
    threshold: float = 1.0
    """Score from which a completion counts as correct."""
    limit: int | None = Field(default=200, ge=1)
    """Questions."""
    samples: int = Field(default=1, ge=1, le=1024)
    """Answers to each question; several need a temperature above 0."""
    pass_at: list[Annotated[int, Field(ge=1)]] | None = None
    """The k of pass@k, none above `samples`; 1, 2, 4, ... and `samples` by default."""
    cluster: str | None = None
    """Column that names questions which belong together (paraphrases, parts of one problem)."""
    lenient: LenientSection | None = None
    """A reward that reads answers more leniently, for comparison; by default the deciding one with the settings that it declares for that (`number`: the last number of the text)."""
    words: list[Annotated[str, Field(min_length=1)]] = Field(
        default=["Wait", "Alternatively", "Now", "Hmm", "let me check"]
    )
    """Words and phrases that are counted in the answers. One with a capital counts as it is written, one in small letters in any case."""
    overlap: Literal["check", "off"] = "check"
    """Look for the questions in the training data."""
    every: int | None = Field(default=None, ge=1)
    """Steps between evaluations during training; none by default."""
    temperature: float = Field(default=0.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus sampling; 1 is off."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Length limit; that of the rollout by default."""
    until: Until | None = None
    """End an answer where it is complete: at its first non-empty `\\boxed{...}` (`boxed`), `<answer>...</answer>` (`answer`) or line after `####` (`hash`) outside of thinking. It saves what a model says after its answer; what it would have corrected there is lost."""
    seed: int = Field(default=42, ge=0, le=2**63 - 1)
    """Seed of sampled evaluation."""


class Recipe(Config):
    """One training run, declared."""

    grpokit: Literal[1]
    """Version of the recipe format."""
    summary: str = ""
    """One sentence for `grpokit recipes list`."""
    model: ModelSection
    """The model that learns."""
    dataset: DatasetSection
    """Where the questions come from."""
    prompt: PromptSection = Field(default_factory=PromptSection)
    """How a row becomes chat messages."""
    rewards: list[RewardSection] = Field(min_length=1)
    """What is rewarded; the total is the weighted sum."""
    algorithm: AlgorithmSection = Field(default_factory=AlgorithmSection)
    """The algorithm."""
    rollout: RolloutSection = Field(default_factory=RolloutSection)
    """How completions are drawn."""
    optim: OptimSection = Field(default_factory=OptimSection)
    """The optimiser."""
    backend: BackendSection = Field(default_factory=BackendSection)
    """The runtime."""
    scoring: ScoringSection = Field(default_factory=ScoringSection)
    """How rewards are called."""
    train: TrainSection = Field(default_factory=TrainSection)
    """The run."""
    eval: EvalSection = Field(default_factory=EvalSection)
    """Held-out evaluation."""
    callbacks: list[Use] = Field(default_factory=list)
    """Observers of the run."""
