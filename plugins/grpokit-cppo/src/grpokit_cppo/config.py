"""Settings of the parts ``prune`` and ``allocate`` and of the algorithm ``cppo``. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from grpokit.api import Config

__all__ = ["DEFAULT_RATE", "AllocationConfig", "CppoConfig", "PruneConfig"]

DEFAULT_RATE = 0.5
"""What the authors' script ships."""


class PruneConfig(Config):
    """Which completions train (arXiv 2503.22342)."""

    rate: float | None = Field(default=None, ge=0, lt=1)
    """Share of completions that is pruned: group * (1 - rate) stay, which must be a whole number. 0.5 where neither rate nor keep is set."""
    keep: int | None = Field(default=None, ge=1)
    """Completions a question that stay, in place of rate."""
    metric: Literal["smallest", "largest", "random", "smallest-raw", "largest-raw", "threshold"] = (
        "smallest"
    )
    """What is pruned: the smallest or the largest absolute advantages, the lowest (smallest-raw) or the highest (largest-raw) signed ones, a random choice, or all below gamma."""
    gamma: float | None = Field(default=None, ge=0)
    """For the metric threshold: a completion stays if its absolute advantage is at least gamma. The number that stays then varies."""
    scope: Literal["question", "device", "global"] = "question"
    """Among which completions the rank is taken: those of one question (the paper), or all of the process (device) or the step (global; the same in one process), where a question may keep any number."""
    devices: int = Field(default=1, ge=1)
    """For the scope device: parts of equal size that the step's questions are cut into, in their order, each with a rank and a quota of its own. The number of training processes of the run that is to be repeated."""
    ties: Literal["index", "random"] = "index"
    """Which of equal advantages stay: the first in the group, or drawn by lot from the run's seed and the step."""
    normalise: Literal["kept", "group"] = "kept"
    """Rows that sequence-mean and constant-length divide by: those that stay (1/k, the paper) or all (1/G). token-mean divides by tokens that stay, always."""
    drop_dead: bool = False
    """Questions whose advantages are all 0 keep nothing and count in no denominator. Otherwise they keep as many as any other, and only the divergence trains on those."""

    @model_validator(mode="after")
    def _check_quota(self) -> PruneConfig:
        if self.metric == "threshold":
            if self.gamma is None:
                raise ValueError("metric threshold needs gamma, such as gamma: 1.0")
            if self.rate is not None or self.keep is not None:
                raise ValueError(
                    "metric threshold keeps what reaches gamma, however many; remove rate and keep"
                )
        elif self.gamma is not None:
            raise ValueError(
                f"gamma belongs to metric: threshold, and metric is {self.metric}; remove one"
            )
        if self.rate is not None and self.keep is not None:
            raise ValueError("rate and keep say the same thing; remove one of them")
        if self.devices > 1 and self.scope != "device":
            raise ValueError(
                f"devices belongs to scope: device, and scope is {self.scope}; remove one"
            )
        return self

    def misfit(
        self, *, prompts: int, group: int, max_tokens: int = 0
    ) -> tuple[str, str, str] | None:
        """The setting that does not fit a step of this shape, the fact and the remedy; None if all do."""
        if prompts % self.devices:
            fact = f"{prompts} questions a step cannot be dealt to {self.devices} devices evenly"
            return "devices", fact, "set rollout.prompts to a multiple of devices"
        questions = 1 if self.scope == "question" else prompts // self.devices
        return self.problem(questions=questions, group=group)

    def problem(self, *, questions: int, group: int) -> tuple[str, str, str] | None:
        """The same for one pool of completions, among which the rank is taken."""
        rows = questions * group
        if self.metric == "threshold":
            return None
        if self.keep is not None:
            fact = f"keep is {self.keep}, and a question has {group} completions"
            remedy = f"set keep to {group} or less, or raise rollout.group"
            return ("keep", fact, remedy) if self.keep > group else None
        rate = DEFAULT_RATE if self.rate is None else self.rate
        exact = rows * (1 - rate)
        if abs(round(exact) - exact) <= 1e-6 and round(exact) >= 1:
            return None
        whole = "the step" if self.devices == 1 else "a device"
        among = "a question" if self.scope == "question" else whole
        possible = sorted({max(1, int(exact)), min(rows, int(exact) + 1)})
        rates = " or ".join(f"{1 - count / rows:.10g} (keeps {count})" for count in possible)
        fact = (
            f"rate {rate:g} leaves {exact:g} of the {rows} completions of {among}, "
            "which is no whole number of at least 1"
        )
        return ("rate", fact, f"set rate to {rates}, or change rollout.group")


class AllocationConfig(Config):
    """Questions that fill the places which pruning frees (arXiv 2503.22342)."""

    rate: float = Field(default=DEFAULT_RATE, ge=0, lt=1)
    """Share of completions that is pruned: the step asks rollout.prompts / (1 - rate) questions, which must be a whole number."""
    mode: Literal["fixed", "refill"] = "fixed"
    """Ask so many questions once (the authors' code), or drop those without a signal and ask others in further rounds."""
    max_rounds: int = Field(default=10, ge=1)
    """Rounds of a step under refill, the first one included."""
    on_bound: Literal["train", "error"] = "train"
    """What happens when the batch is not full after the last round: train on what there is, or end the run."""
    devices: int = Field(default=1, ge=1)
    """Under refill a batch that stays short is cut to a multiple of this; the number that prune has under scope device."""

    def questions(self, prompts: int) -> int:
        """Questions that fill the places of ``prompts`` whole groups."""
        return round(prompts / (1 - self.rate))

    def problem(self, prompts: int) -> tuple[str, str, str] | None:
        """The setting that does not fit, the fact and the remedy; None if all do."""
        exact = prompts / (1 - self.rate)
        if abs(exact - round(exact)) <= 1e-6:
            return None
        fact = (
            f"rate {self.rate:g} makes {exact:.6g} questions of rollout.prompts {prompts}, "
            "which is no whole number"
        )
        rate = 1 - 1 / max(1, round(1 / (1 - self.rate)))
        return ("rate", fact, f"set rate to {rate:.10g}, or change rollout.prompts")

    def misfit(
        self, *, prompts: int, group: int, max_tokens: int = 0
    ) -> tuple[str, str, str] | None:
        """The same, for ``recipes check``."""
        del group, max_tokens
        return self.problem(prompts)

    def asks(self, *, prompts: int, max_tokens: int) -> tuple[int, int]:
        """Questions and longest completion of a step, for the plan."""
        return self.questions(prompts), max_tokens


class CppoConfig(PruneConfig):
    """Completion pruning policy optimisation (arXiv 2503.22342), with the defaults of its authors' code."""

    epsilon: float = Field(default=0.2, gt=0, le=1)
    """Clip range: the ratio of new to old policy earns nothing below 1 - epsilon, nor above 1 + epsilon unless epsilon_high is set."""
    epsilon_high: float | None = Field(default=None, gt=0)
    """Upper clip range where it differs from epsilon."""
    beta: float = Field(default=0.04, ge=0)
    """Weight of the KL divergence (k3) from the reference policy, on the completions that stay; 0 needs no reference."""
    std_ddof: Literal[0, 1] = 1
    """Standard deviation of a group over n - std_ddof."""
    std_eps: float = Field(default=1e-4, ge=0)
    """Added to the standard deviation: 1e-4 in the authors' main code, 1e-6 in their verl version."""
    aggregation: Literal["token-mean", "sequence-mean", "constant-length"] = "token-mean"
    """How token losses become one: token-mean (the authors' code), sequence-mean (the paper), constant-length (Dr. GRPO)."""
    allocation: Literal["none", "fixed", "refill"] = "none"
    """Further questions for the places that pruning frees: none, rollout.prompts / (1 - rate) questions in place of rollout.prompts (fixed, the authors' code), or as many that have a signal, in further rounds (refill)."""
    max_rounds: int = Field(default=10, ge=1)
    """For allocation refill: rounds of a step, the first one included."""
    on_bound: Literal["train", "error"] = "train"
    """For allocation refill: train on a batch that is not full after the last round, or end the run."""

    @model_validator(mode="after")
    def _check_allocation(self) -> CppoConfig:
        if self.allocation != "none" and (self.keep is not None or self.metric == "threshold"):
            odd = "metric threshold" if self.metric == "threshold" else "keep"
            raise ValueError(
                f"allocation counts in rate, and {odd} is set; set rate, or allocation: none"
            )
        return self

    def allocating(self) -> AllocationConfig | None:
        """The settings of the part ``allocate``; None without allocation."""
        if self.allocation == "none":
            return None
        return AllocationConfig(
            rate=DEFAULT_RATE if self.rate is None else self.rate,
            mode=self.allocation,
            max_rounds=self.max_rounds,
            on_bound=self.on_bound,
            devices=self.devices,
        )

    def misfit(
        self, *, prompts: int, group: int, max_tokens: int = 0
    ) -> tuple[str, str, str] | None:
        """A step of ``prompts`` whole groups: first how many questions fill it, then what they keep."""
        del max_tokens
        allocating = self.allocating()
        if allocating is None:
            return super().misfit(prompts=prompts, group=group)
        problem = allocating.problem(prompts)
        return problem or super().misfit(prompts=allocating.questions(prompts), group=group)

    def asks(self, *, prompts: int, max_tokens: int) -> tuple[int, int]:
        """Questions and longest completion of a step, for the plan."""
        allocating = self.allocating()
        return (allocating.questions(prompts) if allocating else prompts), max_tokens

    def needs(self) -> frozenset[str]:
        """Capabilities that these settings ask of the backend, beyond those of the algorithm."""
        return frozenset({"reference"}) if self.beta else frozenset()
