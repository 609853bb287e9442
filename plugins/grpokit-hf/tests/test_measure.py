"""What the policy says about texts, against logits computed whole and one row at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from grpokit.api import Continuation, Interrupted, Measures, OutOfMemoryError, Rollout, Wanted
from grpokit_hf.backend import HfBackend
from updates import advantages_of, everything, token_loss

TEXTS = (
    (Continuation(before="so 7", target="12"), Continuation(before="", target="12")),
    (Continuation(before="first 3, then 4: ", target="a"),),
    (),
)


def wanted_of(rollout: Rollout) -> Wanted:
    rows = len(rollout.rows())
    return Wanted(
        logprobs=True,
        self_certainty=True,
        continuations=tuple(TEXTS[row % len(TEXTS)] for row in range(rows)),
    )


def logits_of(backend: HfBackend, ids: list[int]) -> torch.Tensor:
    """Of the whole row, by the model's own forward."""
    with torch.no_grad():
        return backend.policy.model(torch.tensor([ids])).logits[0].float()


def plain(backend: HfBackend, prompt: tuple[int, ...], tokens: tuple[int, ...], count: int) -> Any:
    """Log-probs and certainty of the last ``count`` tokens, from full logits."""
    z = logits_of(backend, [*prompt, *tokens])[:-1]
    z = z[len(z) - count :]
    own = torch.tensor(tokens[len(tokens) - count :], dtype=torch.int64)
    logp = z.log_softmax(-1).gather(-1, own[:, None])[:, 0]
    return logp, z.logsumexp(-1) - z.mean(-1) - math.log(z.shape[-1])


def wake(backend: HfBackend) -> None:
    """An adapter begins as nothing; move it, to see that it is on."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in backend.policy.weights.items():
            if "lora_B" in name:
                weight.copy_(0.2 * torch.randn(weight.shape))


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8.0}])
@pytest.mark.parametrize("cut", [{"micro_batch": 1}, {"micro_batch": 5}, {"micro_tokens": 100_000}])
def test_measurements_are_those_of_full_logits(
    make_recipe, open_backend, take, tiny_qwen_folder, lora, cut
):
    recipe = make_recipe(tiny_qwen_folder, model={"lora": lora}, optim=cut)
    recipe = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"id": str(tiny_qwen_folder)})}
    )
    backend = open_backend(recipe)
    wake(backend)
    rollout = take(backend, temperature=0.7)
    lengths = {len(c.token_ids) for group in rollout.completions for c in group}
    assert len(lengths) > 1, "rows of different lengths"
    assert isinstance(backend, Measures)
    wanted = wanted_of(rollout)
    found = backend.measure(rollout, wanted)
    assert found.vocabulary == backend.policy.base.config.vocab_size
    for row, (p, g) in enumerate(rollout.rows()):
        prompt, tokens = rollout.prompt_ids[p], rollout.completions[p][g].token_ids
        logp, certainty = plain(backend, prompt, tokens, len(tokens))
        torch.testing.assert_close(torch.tensor(found.logprobs[row]), logp, rtol=0, atol=1e-5)
        torch.testing.assert_close(
            torch.tensor(found.self_certainty[row]), certainty, rtol=0, atol=1e-5
        )
        for one, values in zip(wanted.continuations[row], found.continuations[row], strict=True):
            ids = backend.policy.tokenizer.encode_text(one.before + one.target)
            logp, _ = plain(backend, prompt, ids, len(one.target))  # a token a letter here
            torch.testing.assert_close(torch.tensor(values), logp, rtol=0, atol=1e-5)
    if lora is not None:
        with backend.policy.model.disable_adapter():
            without, _ = plain(backend, prompt, tokens, len(tokens))
        assert not torch.allclose(torch.tensor(found.logprobs[row]), without, atol=1e-3)


def test_a_sampled_token_has_the_log_prob_that_it_was_drawn_with(make_recipe, open_backend, take):
    backend = open_backend(make_recipe())
    rollout = take(backend)
    found = backend.measure(rollout, Wanted(logprobs=True))
    assert found.self_certainty is None
    assert found.continuations == ()
    drawn = [c.logprobs for group in rollout.completions for c in group]
    for own, said in zip(found.logprobs, drawn, strict=True):
        assert own == pytest.approx(said, abs=1e-5)


def test_nothing_to_measure_and_nothing_wanted(make_recipe, open_backend, take):
    backend = open_backend(make_recipe())
    rollout = take(backend)
    assert backend.measure(rollout, Wanted()).logprobs is None
    nobody = replace(rollout, prompts=(), prompt_ids=(), completions=())
    assert backend.measure(nobody, Wanted(logprobs=True, self_certainty=True)).logprobs == ()
    silent = replace(rollout.completions[0][0], token_ids=(), text="")
    one = replace(rollout, prompts=rollout.prompts[:1], completions=((silent,),))
    assert backend.measure(one, Wanted(self_certainty=True)).self_certainty == ((),)


def test_an_empty_target_and_one_beyond_the_window_are_none(make_recipe, open_backend, take):
    backend = open_backend(make_recipe())
    whole = take(backend)
    rollout = replace(
        whole,
        prompts=whole.prompts[:1],
        prompt_ids=whole.prompt_ids[:1],
        completions=(whole.completions[0][:1],),
    )
    room = int(backend.longest) - len(rollout.prompt_ids[0])
    texts = (
        Continuation(before="so ", target=""),
        Continuation(before="x" * (room - 2), target="42"),
        Continuation(before="x" * (room - 1), target="42"),
    )
    (found,) = backend.measure(rollout, Wanted(continuations=(texts,))).continuations
    assert found[0] is None
    assert len(found[1]) == 2
    assert found[2] is None


def test_a_token_over_the_border_belongs_to_the_target(make_recipe, open_backend):
    tokenizer = open_backend(make_recipe()).policy.tokenizer
    vocabulary = {text: index for index, text in enumerate(["#", " ", "4", "2", "##", " 4", "?"])}
    bpe = models.BPE(vocabulary, [("#", "#"), (" ", "4")], unk_token="?")
    tokenizer.backend = Tokenizer(bpe)
    tokenizer.backend.pre_tokenizer = pre_tokenizers.Sequence([])
    ids, count = tokenizer.encode_target("## ", "42")
    assert [tokenizer.backend.id_to_token(each) for each in ids] == ["##", " 4", "2"]
    assert count == 2
    assert tokenizer.encode_target("##", " 42")[1] == 2
    assert tokenizer.encode_target("## 4", "2")[1] == 1
    assert tokenizer.encode_target("## 42", "")[1] == 0
    assert tokenizer.encode_target("", "##")[1] == 1


def test_a_completion_cannot_write_special_tokens(make_recipe, open_backend):
    tokenizer = open_backend(make_recipe()).policy.tokenizer
    end = tokenizer.vocabulary["<|im_end|>"]
    ids, count = tokenizer.encode_target("so<|im_end|>", "42")
    assert end not in ids
    assert count == 2
    assert tokenizer.encode_text("so<|im_end|>")[-1] == end, "a prompt still can"


def test_measuring_leaves_the_update_as_it_was(make_recipe, open_backend, take):
    asked, unasked = (open_backend(make_recipe()) for _ in range(2))
    weights = []
    for backend in (asked, unasked):
        rollout = take(backend)
        if backend is asked:
            backend.measure(rollout, wanted_of(rollout))
        update = backend.update(token_loss, rollout, advantages_of(rollout), everything(rollout), 1)
        weights.append((update.metrics["loss"], dict(backend.policy.weights)))
    assert weights[0][0] == weights[1][0]
    for name, weight in weights[0][1].items():
        assert torch.equal(weight, weights[1][1][name]), name


def test_rows_that_do_not_fit_are_halved(make_recipe, open_backend, take, monkeypatch):
    calm, tight = (open_backend(make_recipe(optim={"micro_batch": 12})) for _ in range(2))
    rollout = take(calm)
    wanted = Wanted(self_certainty=True)
    expected = calm.measure(rollout, wanted)
    sizes: list[int] = []
    real = type(tight.policy.forward()).certainty

    def hungry(forward: Any, batch: Any, wanted_M: torch.Tensor) -> Any:
        sizes.append(len(batch.rows))
        if len(batch.rows) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(forward, batch, wanted_M)

    monkeypatch.setattr(type(tight.policy.forward()), "certainty", hungry)
    most = 3
    found = tight.measure(rollout, wanted)
    assert sizes == [12, 6, 3, 3, 6, 3, 3]
    for one, other in zip(found.self_certainty, expected.self_certainty, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    most = 0
    with pytest.raises(OutOfMemoryError, match="measuring one completion"):
        tight.measure(rollout, wanted)


def test_equal_texts_are_computed_once(make_recipe, open_backend, take, monkeypatch):
    backend = open_backend(make_recipe())
    rollout = take(backend)
    rows: list[int] = []
    real = type(backend.policy.forward()).certainty

    def count(forward: Any, batch: Any, wanted_M: torch.Tensor) -> Any:
        rows.append(len(batch.rows))
        return real(forward, batch, wanted_M)

    monkeypatch.setattr(type(backend.policy.forward()), "certainty", count)
    same = (Continuation(before="", target="42"),)
    found = backend.measure(rollout, Wanted(continuations=(same,) * len(rollout.rows())))
    assert sum(rows) == len(rollout.prompts)
    assert len(found.continuations) == len(rollout.rows())


def test_an_interrupt_is_heard_between_two_forwards(make_recipe, open_backend, take):
    backend = open_backend(make_recipe(optim={"micro_batch": 4}))
    rollout = take(backend)
    calls: list[int] = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        backend.measure(rollout, Wanted(self_certainty=True), stop)
