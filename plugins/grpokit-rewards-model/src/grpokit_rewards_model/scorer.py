"""The reward ``reward-model``: what a sequence classifier says of the whole conversation.

Completions of a step are scored together, the longest ones first, padded within each batch. The model
is loaded when the worker starts; this module imports no torch, because recipes are checked without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from grpokit.api import ComponentError, Config, Score
from grpokit_rewards_model.tokens import Encoded, Encoder
from grpokit_rewards_model.weights import check_extra, find_folder, load_model, load_tokenizer

if TYPE_CHECKING:
    import torch

__all__ = ["RewardModelConfig", "reward_model"]


class RewardModelConfig(Config):
    """Settings of the reward `reward-model`."""

    model: str = Field(min_length=1)
    """Folder of a sequence classifier with safetensors weights, or a hub id that was downloaded."""
    revision: str = Field(default="", pattern=r"^([0-9a-f]{40})?$")
    """Commit of the hub id, all 40 digits; a folder has none."""
    form: Literal["chat", "pair", "completion"] = "chat"
    """What the model reads: the conversation by its own chat template, prompt and completion as a pair of texts, or the completion alone."""
    score: Literal["raw", "sigmoid", "probability"] = "raw"
    """The output itself, its sigmoid, or its softmax over all labels."""
    label: int = Field(default=0, ge=0)
    """Which output of a model with several."""
    centre: float = 0.0
    """Taken from the output, before a sigmoid; not with `probability`."""
    scale: float = Field(default=1.0, gt=0)
    """What the rest is divided by."""
    max_tokens: int | None = Field(default=None, ge=8)
    """Longest conversation, in tokens of this model; null is what the model can read."""
    too_long: Literal["abstain", "cut-start", "cut-end"] = "abstain"
    """A longer one has no score, or loses its first or its last tokens."""
    batch: int = Field(default=8, ge=1)
    """Conversations of one forward pass."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")
    """`auto` is the first GPU, or the CPU where there is none."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the weights."""
    threads: int | None = Field(default=None, ge=1)
    """Threads on a CPU; null leaves them to torch."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.score == "probability" and (self.centre, self.scale) != (0.0, 1.0):
            raise ValueError("centre and scale do not change a probability; leave them out")
        return self


def reward_model(config: RewardModelConfig) -> Callable[..., list[Score]]:
    """Builds the reward, with its model loaded.

    Raises:
        ComponentError: the extra is not installed, or the folder holds no safe sequence classifier.
    """
    grader = Grader(config)
    if config.form == "completion":

        def alone(completions: Sequence[str]) -> list[Score]:
            return grader.scores([grader.encoder.text(completion) for completion in completions])

        return alone
    if config.form == "pair":

        def pair(completions: Sequence[str], prompts: Sequence[str]) -> list[Score]:
            both = zip(prompts, completions, strict=True)
            return grader.scores([grader.encoder.pair(*texts) for texts in both])

        return pair

    def chat(completions: Sequence[str], messages: Sequence[Sequence[Any]]) -> list[Score]:
        both = zip(messages, completions, strict=True)
        return grader.scores([grader.encoder.chat(*talk) for talk in both])

    return chat


class Grader:
    """A loaded reward model."""

    def __init__(self, config: RewardModelConfig) -> None:
        self.config = config
        check_extra()
        folder = find_folder(config.model, config.revision)
        tokenizer = load_tokenizer(folder, chat=config.form == "chat")
        self.model, self.device = load_model(
            folder, device=config.device, dtype=config.dtype, threads=config.threads
        )
        self.text_config: Any = self.model.config.get_text_config()
        self._pad: int | None = self.text_config.pad_token_id
        outputs = self.model.config.num_labels
        if config.label >= outputs or (config.score == "probability" and outputs < 2):
            raise ComponentError(
                f"the model has {outputs} output(s), and the reward asks for the "
                f"{config.score} of number {config.label}",
                place=str(folder),
                remedy="set `label` below that number; `probability` needs two outputs",
            )
        limits = (
            config.max_tokens,
            getattr(self.text_config, "max_position_embeddings", None),
            tokenizer.model_max_length,
        )
        limit = min(value for value in limits if isinstance(value, int) and value > 0)
        self.encoder = Encoder(tokenizer, limit=limit, too_long=config.too_long)

    def scores(self, rows: Sequence[Encoded]) -> list[Score]:
        """One score a row, in their order."""
        order = sorted(
            (index for index, row in enumerate(rows) if row.ids), key=lambda i: -len(rows[i].ids)
        )
        values: dict[int, float] = {}
        for first in range(0, len(order), self.config.batch):
            part = order[first : first + self.config.batch]
            found = self._forward([rows[index] for index in part])
            values |= dict(zip(part, found, strict=True))
        return [
            Score(
                value=values.get(index),
                components={"tokens": float(row.tokens), "cut": float(row.cut)},
                note=row.note,
            )
            for index, row in enumerate(rows)
        ]

    def _forward(self, rows: Sequence[Encoded]) -> list[float]:
        import torch

        with torch.inference_mode():
            logits_NL = self.model(**self._padded(rows)).logits.double().cpu()
            label = self.config.label
            if self.config.score == "probability":
                return [float(value) for value in logits_NL.softmax(dim=-1)[:, label]]
            outputs_N = (logits_NL[:, label] - self.config.centre) / self.config.scale
            if self.config.score == "sigmoid":
                outputs_N = outputs_N.sigmoid()
            return [float(value) for value in outputs_N]

    def _padded(self, rows: Sequence[Encoded]) -> dict[str, torch.Tensor]:
        """Padded on the right.

        A decoder reads its score at the last token that is not the padding of its *config*, so that
        one is used. Where there is none, the score is at the last token, and a token that occurs in
        no row of the batch keeps it there.
        """
        import torch

        longest = max(len(row.ids) for row in rows)
        vocabulary = self.text_config.vocab_size
        pad = self._pad
        if pad is None or not 0 <= pad < vocabulary:
            used = {token for row in rows for token in row.ids}
            pad = next(token for token in range(vocabulary) if token not in used)
            self.model.config.pad_token_id = self.text_config.pad_token_id = pad

        def table(lists: Sequence[Sequence[int]], fill: int) -> torch.Tensor:
            filled = [[*each, *[fill] * (longest - len(each))] for each in lists]
            return torch.tensor(filled, device=self.device)

        found = {
            "input_ids": table([row.ids for row in rows], pad),
            "attention_mask": table([[1] * len(row.ids) for row in rows], 0),
        }
        if all(row.types for row in rows):
            found["token_type_ids"] = table([row.types for row in rows], 0)
        return found
