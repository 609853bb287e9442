"""What the policy says about completions, against full logits of Unsloth's model."""

from __future__ import annotations

import math

import pytest
import torch

from grpokit.api import Continuation, Sampling, Wanted


def test_measurements_are_those_of_the_model(make_recipe, open_backend, prompts):
    settings = {"threads": 1, "device": "cpu", "max_seq_length": 128}
    backend = open_backend(make_recipe(backend={"with": settings}))
    rollout = backend.generate(prompts, Sampling(group=2, max_tokens=6, seed=3))
    room = int(backend.longest) - len(rollout.prompt_ids[0])
    texts = (
        Continuation(before="x" * (room - 2), target="42"),
        Continuation(before="x" * (room - 1), target="42"),
    )
    found = backend.measure(
        rollout, Wanted(logprobs=True, self_certainty=True, continuations=(texts, *[()] * 5))
    )
    for row, (p, g) in enumerate(rollout.rows()):
        completion = rollout.completions[p][g]
        ids = [*rollout.prompt_ids[p], *completion.token_ids]
        with torch.no_grad():
            z = backend.policy.model(torch.tensor([ids])).logits[0].float()
        z = z[len(rollout.prompt_ids[p]) - 1 : -1]
        sure = z.logsumexp(-1) - z.mean(-1) - math.log(z.shape[-1])
        assert found.logprobs[row] == pytest.approx(completion.logprobs, abs=1e-5)
        torch.testing.assert_close(torch.tensor(found.self_certainty[row]), sure, rtol=0, atol=1e-5)
    assert backend.longest == 128
    assert len(found.continuations[0][0]) == 2
    assert found.continuations[0][1] is None
