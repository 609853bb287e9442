"""vLLM ends a completion where its answer is complete, and says what it would have said until there."""

from __future__ import annotations

from dataclasses import replace

from grpokit.api import Sampling, answered
from grpokit_hf.backend import HfBackend
from grpokit_hf.groups import row_seeds, rows_of
from vllm_runs import engine_of

WARM = Sampling(group=24, max_tokens=30, seed=3, step=1)


def test_requests_end_with_their_answers(adapter_backend: HfBackend, questions) -> None:
    def drawn(sampling: Sampling):
        return [c for g in adapter_backend.generate(questions, sampling).completions for c in g]

    decode = adapter_backend.policy.tokenizer.decode
    cut = 0
    for short, whole in zip(drawn(replace(WARM, until="hash")), drawn(WARM), strict=True):
        size = len(whole.token_ids)
        ends = (n for n in range(1, size + 1) if answered(decode(whole.token_ids[:n]), "hash"))
        end = next(ends, None)
        assert short.token_ids == whole.token_ids[:end]
        assert short.logprobs == whole.logprobs[:end]
        assert short.finish == ("stop" if end else whole.finish)
        cut += end is not None and end < size
    assert 5 < cut < 72


def test_the_engine_draws_nothing_after_an_answer(adapter_backend: HfBackend, questions) -> None:
    """What comes out of the process of the engine, before anything is cut off."""
    rollouts = adapter_backend._rollouts
    assert rollouts is not None
    ids = [adapter_backend.encode(prompt.messages) for prompt in questions]
    rows = rows_of(questions, WARM)
    owners, seeds = [p for p, _ in rows], row_seeds(rows, questions, WARM)
    decode = adapter_backend.policy.tokenizer.decode
    ask = rollouts._ask(ids, owners, seeds, replace(WARM, until="hash"))
    found = engine_of(adapter_backend).sample(ask, None)
    texts = [decode(row.tokens) for row in found]
    ended = [text for text in texts if answered(text, "hash")]
    assert len(ended) > 5
    for row in found:
        assert not answered(decode(row.tokens[:-1]), "hash")
