"""What some rewards of the card need: a judge, a reward model, questions of a task."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from grpokit.answers.parse import parse_number
from grpokit.answers.wrappers import last_boxed
from grpokit.spec.flow import Prompt

__all__ = ["judge_server", "task_rows", "tiny_reward_model"]

HELPERS = Path(__file__).parents[1] / "tests/helpers"


@contextmanager
def judge_server() -> Iterator[dict[str, Any]]:
    """Settings of a judge whose answers a script writes: 10 if the last box has the answer, else 0."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Script)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    with tempfile.TemporaryDirectory() as folder:
        yield {
            "base_url": f"http://127.0.0.1:{server.server_address[1]}/v1",
            "model": "script",
            "rubric": "Does the last box hold the answer?",
            "template": "Answer:\n{answer}\n\nResponse to grade:\n{completion}",
            "cache": str(Path(folder) / "judge.sqlite"),
        }
    server.shutdown()
    server.server_close()


class _Script(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        system, user = (message["content"] for message in body["messages"])
        nonce = re.search(r"<data-([0-9a-f]{16}) ", system)[1]  # type: ignore[index]  # it is there
        blocks = {
            name: user.split(f'<data-{nonce} name="{name}">\n')[1].split(f"\n</data-{nonce}>")[0]
            for name in ("answer", "completion")
        }
        said = parse_number(last_boxed(blocks["completion"]) or "")
        grade = 10 if said is not None and said == parse_number(blocks["answer"]) else 0
        message = {"role": "assistant", "content": f"VERDICT {nonce}: {grade}"}
        answer = {"choices": [{"message": message, "finish_reason": "stop"}]}
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def tiny_reward_model() -> Iterator[dict[str, Any]]:
    """Settings of a reward model of two layers with random weights, in a folder of its own."""
    sys.path.insert(0, str(HELPERS))
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    from tiny_model import LETTERS, SPECIAL, write_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(5)
        config = LlamaConfig(
            vocab_size=len(SPECIAL) + len(LETTERS),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=4096,
            num_labels=1,
            pad_token_id=0,
            eos_token_id=2,
        )
        LlamaForSequenceClassification(config).save_pretrained(folder)
        write_tokenizer(
            Path(folder), eos="<|im_end|>", pad=SPECIAL[0], template=None, adds_bos=True
        )
        yield {
            "model": folder,
            "form": "completion",
            "too_long": "cut-start",
            "max_tokens": 64,
            "threads": 1,
        }


def task_rows(count: int) -> list[Prompt]:
    """Questions of reasoning-gym's task chain_sum."""
    from grpokit_reasoning_gym.dataset import GymConfig, GymDataset

    rows = GymDataset(GymConfig(task="chain_sum", size=count))
    return [
        Prompt(
            id=str(index),
            index=index,
            row=rows[index],
            messages=({"role": "user", "content": str(rows[index]["question"])},),
        )
        for index in range(count)
    ]
