"""The border to vLLM itself, where it is installed: in this process, silently, one engine after the other.

The engine is built as Unsloth builds it (``load_vllm``), on a CPU and without its weights being shared.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.without_unsloth,
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed here"),
]

TWICE = """
import json, os, sys
from pathlib import Path
from types import SimpleNamespace
os.environ |= {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
from grpokit_unsloth.start import defaults, quiet
os.environ |= defaults()
with quiet("import"):
    from vllm import LLM
from grpokit.api import Sampling
from grpokit_hf.text.tokenizer import ChatTokenizer
from grpokit_unsloth.config import UnslothConfig
from grpokit_unsloth.load import check_engine
from grpokit_unsloth.rollout import by_vllm, stop

folder = Path(sys.argv[1])
sampling = Sampling(group=2, max_tokens=6, seed=1, step=1)
found = []
for _ in range(2):
    with quiet("load"):
        engine = LLM(
            model=str(folder), dtype="float32", max_model_len=128, enforce_eager=True, max_logprobs=0,
            logprobs_mode="processed_logprobs", disable_log_stats=True, seed=0,
        )
    check_engine(SimpleNamespace(vllm_engine=engine), UnslothConfig(), 128, wanted=True)
    model = SimpleNamespace(fast_generate=engine.generate)
    policy = SimpleNamespace(tokenizer=ChatTokenizer(folder), adapter=False, model=model)
    drawn = by_vllm(policy, [[5, 6, 7], [8, 9]], [11, 2**40], sampling)
    found.append([(one.tokens, one.logprobs) for one in drawn])
    stop(engine)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tiny_model import write_tiny_model

    folder = write_tiny_model(tmp_path_factory.mktemp("wide"), hidden=128)  # heads of 32
    run = subprocess.run(
        [sys.executable, "-c", TWICE, str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return folder, run


def test_an_engine_starts_in_silence_and_another_after_it(done: Any) -> None:
    _, run = done
    assert len(run.stdout.splitlines()) == 1
    first, second = json.loads(run.stdout)
    assert first == second
    assert "did not end well" not in run.stderr


def test_log_probs_are_those_of_transformers(done: Any) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder, run = done
    plain = AutoModelForCausalLM.from_pretrained(Path(folder), dtype=torch.float32)
    for prompt, (tokens, logprobs) in zip(
        ([5, 6, 7], [8, 9]), json.loads(run.stdout)[0], strict=True
    ):
        with torch.no_grad():
            logits_TV = plain(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
        own_T = logits_TV.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]
        assert logprobs == pytest.approx(own_T.tolist(), abs=1e-3)
