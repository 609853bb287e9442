"""A model of 0.1 million weights that half knows how to add, made on this machine in seconds.

It is what reinforcement learning usually begins with, made small: a model that has seen the task and
gets some of it right. Everything is drawn from one seed; nothing is downloaded. A character is a
token. The chat template is two special tokens around the message.

The model learns sums of two numbers up to 99 by ordinary supervised training, and training stops as
soon as it answers :data:`ENOUGH` of some fixed problems greedily. Equal torch versions on equal
processors make equal weights; elsewhere the last bits, and what follows from them, may differ.

``tiny-steps`` is the same model with another lesson: sums of two numbers up to 999, digit by digit,
with the carry: ``2+5+0=7, 5+8+0=13, 3+6+1=10 #### 1037`` for ``352 + 685``. Its answers are ten times as
long.
"""

from __future__ import annotations

import json
import logging
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grpokit.api import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ENOUGH",
    "SHAPE",
    "SPECIAL",
    "STEPS",
    "SUMS",
    "Lesson",
    "bring",
    "bring_steps",
    "letter_tokenizer",
    "one_thread",
    "write_model",
    "write_tokenizer",
]

log = logging.getLogger("grpokit.models")

PAD, START, END, ANSWER, UNKNOWN = range(5)
SPECIAL = ("<|pad|>", "<|start|>", "<|end|>", "<|answer|>", "<|unknown|>")
LETTERS = tuple(sorted(set(string.printable) - set("\r\x0b\x0c")))
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|answer|>' if message['role'] == 'assistant' else '<|start|>' }}"
    "{{ message['content'] }}<|end|>"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|answer|>{% endif %}"
)
ENOUGH = 0.3
"""Share of the fixed problems that the model answers when its training stops."""
FIXED = 256
"""Problems on which that is measured."""
BATCH = 64
CHECK_EVERY = 20
MOST_STEPS = 3000
RATE = 3e-3
SEED = 2

SHAPE = {
    "vocab_size": len(SPECIAL) + len(LETTERS),
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    "initializer_range": 0.05,
    "tie_word_embeddings": False,
    "bos_token_id": START,
    "eos_token_id": END,
    "pad_token_id": PAD,
}


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a model is taught.

    Attributes:
        name: of the model; its problems are drawn from it.
        largest: largest summand.
        answer: what is to be said of two summands.
    """

    name: str
    largest: int
    answer: Callable[[int, int], str]

    def draw(self, *parts: int | str) -> tuple[int, int]:
        """Two summands."""
        base = self.largest + 1
        number = derive_seed(SEED, self.name, *parts) % base**2
        return number // base, number % base


def plain_sum(a: int, b: int) -> str:
    return str(a + b)


def steps_of_sum(a: int, b: int) -> str:
    """Column by column from the right, with the carry; then the sum."""
    columns = []
    carry = 0
    for place in range(3):
        x, y = a // 10**place % 10, b // 10**place % 10
        columns.append(f"{x}+{y}+{carry}={x + y + carry}")
        carry = (x + y + carry) // 10
    return f"{', '.join(columns)} #### {a + b}"


SUMS = Lesson(name="tiny-sums", largest=99, answer=plain_sum)
STEPS = Lesson(name="tiny-steps", largest=999, answer=steps_of_sum)


def bring(cache: Path) -> Path:
    """Makes ``tiny-sums`` in ``cache`` and returns its folder. One thread, about ten seconds."""
    return make(cache, SUMS)


def bring_steps(cache: Path) -> Path:
    """Makes ``tiny-steps`` in ``cache`` and returns its folder. One thread, about ten seconds."""
    return make(cache, STEPS)


def make(cache: Path, lesson: Lesson) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    log.info("making a tiny model: it learns to add until it answers %.0f%%", 100 * ENOUGH)
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        config = LlamaConfig(**SHAPE, architectures=["LlamaForCausalLM"], dtype="float32")
        model = LlamaForCausalLM(config)
        steps = teach(model, lesson)
    log.info("it took %d steps", steps)
    folder = write_model(cache, model)
    write_tokenizer(folder, letter_tokenizer(), longest=config.max_position_embeddings)
    return folder


def write_model(cache: Path, model: Any) -> Path:
    """Configuration and weights in a folder below ``cache``."""
    from safetensors.torch import save_file

    folder = cache / "model"
    folder.mkdir(parents=True)
    model.config.save_pretrained(folder)
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@contextmanager
def one_thread() -> Iterator[None]:
    """The order of sums depends on the number of threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def teach(model: Any, lesson: Lesson) -> int:
    """Supervised steps until the model knows enough; returns their number."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    fixed = rows([lesson.draw("fixed", number) for number in range(FIXED)], lesson)
    for step in range(1, MOST_STEPS + 1):
        pairs = [lesson.draw(step, number) for number in range(BATCH)]
        tokens_NT, labels_NT = rows(pairs, lesson)
        loss = model(input_ids=tokens_NT, labels=labels_NT).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % CHECK_EVERY == 0 and share_right(model, *fixed) >= ENOUGH:
            return step
    return MOST_STEPS


def rows(pairs: list[tuple[int, int]], lesson: Lesson) -> tuple[Tensor, Tensor]:
    """Token ids and labels; only the answer and its end are learnt."""
    import torch

    asked = [[START, *ids(f"{a} + {b}"), END, ANSWER] for a, b in pairs]
    answered = [[*ids(lesson.answer(a, b)), END] for a, b in pairs]
    longest = max(len(ask) + len(answer) for ask, answer in zip(asked, answered, strict=True))
    tokens_NT = torch.full((len(pairs), longest), PAD)
    labels_NT = torch.full((len(pairs), longest), -100)
    for row, (ask, answer) in enumerate(zip(asked, answered, strict=True)):
        end = len(ask) + len(answer)
        tokens_NT[row, :end] = torch.tensor(ask + answer)
        labels_NT[row, len(ask) : end] = torch.tensor(answer)
    return tokens_NT, labels_NT


def ids(text: str) -> list[int]:
    return [len(SPECIAL) + LETTERS.index(letter) for letter in text]


def share_right(model: Any, tokens_NT: Tensor, labels_NT: Tensor) -> float:
    """Rows in which every token of the answer is the likeliest one."""
    import torch

    with torch.no_grad():
        best_NT = model(input_ids=tokens_NT).logits[:, :-1].argmax(-1)
    wanted_NT = labels_NT[:, 1:]
    right_N = ((best_NT == wanted_NT) | (wanted_NT < 0)).all(dim=1)
    return float(right_N.float().mean())


def letter_tokenizer() -> Any:
    """A token a character."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *LETTERS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[UNKNOWN]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def write_tokenizer(folder: Path, tokenizer: Any, *, longest: int) -> None:
    """The tokenizer with the special tokens, and the chat template."""
    from tokenizers import AddedToken

    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL[START],
        "eos_token": SPECIAL[END],
        "pad_token": SPECIAL[PAD],
        "unk_token": SPECIAL[UNKNOWN],
        "clean_up_tokenization_spaces": False,
        "model_max_length": longest,
    }
    text = json.dumps(settings, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
