from __future__ import annotations

import pytest
import torch

from grpokit.algorithms import token_logprobs

N, H, V = 13, 6, 37
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2e-2}


def leaves(dtype, seed=0):
    rng = torch.Generator().manual_seed(seed)
    shapes = {"hidden": (N, H), "weight": (V, H), "bias": (V,)}
    made = {
        name: torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype).requires_grad_()
        for name, shape in shapes.items()
    }
    return made, torch.randint(0, V, (N,), generator=rng)


def full(hidden, weight, bias, targets, temperature, softcap):
    """Everything at once in float64, from the same rounded inputs."""
    z = hidden.double() @ weight.double().T
    if bias is not None:
        z = z + bias.double()
    if softcap is not None:
        z = softcap * torch.tanh(z / softcap)
    log_p = (z / temperature).log_softmax(-1)
    return log_p.gather(-1, targets[:, None])[:, 0], -(log_p.exp() * log_p).sum(-1)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize("chunk", [1, 4, 13, 100])
@pytest.mark.parametrize(
    ("temperature", "softcap", "with_bias"),
    [(1.0, None, False), (0.7, None, True), (1.3, 2.5, True)],
)
def test_values_and_gradients(dtype, chunk, temperature, softcap, with_bias):
    made, targets = leaves(dtype)
    bias = made["bias"] if with_bias else None
    wanted = [made["hidden"], made["weight"], *([bias] if with_bias else [])]
    logprobs, entropy = token_logprobs(
        made["hidden"],
        made["weight"],
        targets,
        bias_V=bias,
        chunk=chunk,
        temperature=temperature,
        softcap=softcap,
        entropy=True,
    )
    expected = full(made["hidden"], made["weight"], bias, targets, temperature, softcap)
    limit = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype] * 3}
    assert entropy is not None
    assert logprobs.dtype == entropy.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(logprobs.double(), expected[0], **limit)
    torch.testing.assert_close(entropy.double(), expected[1], **limit)

    weights = torch.linspace(-1, 2, N, dtype=torch.float64)
    for mine, theirs in (
        (logprobs, expected[0]),
        (entropy, expected[1]),
        (logprobs + 0.3 * entropy, expected[0] + 0.3 * expected[1]),
    ):
        got = torch.autograd.grad((mine * weights).sum(), wanted, retain_graph=True)
        want = torch.autograd.grad((theirs * weights).sum(), wanted, retain_graph=True)
        for a, b in zip(got, want, strict=True):
            assert a.dtype == dtype
            error = (a.double() - b.double()).norm() / b.double().norm()
            assert error < TOLERANCE[dtype]


def test_gradcheck():
    made, targets = leaves(torch.float64)

    def call(hidden, weight, bias):
        return token_logprobs(
            hidden,
            weight,
            targets,
            bias_V=bias,
            chunk=5,
            temperature=0.8,
            softcap=3.0,
            entropy=True,
        )

    assert torch.autograd.gradcheck(call, tuple(made.values()))


def test_without_entropy_and_with_a_frozen_head():
    made, targets = leaves(torch.float32)
    weight = made["weight"].detach()
    logprobs, entropy = token_logprobs(made["hidden"], weight, targets, chunk=4)
    assert entropy is None
    logprobs.sum().backward()
    assert made["hidden"].grad is not None


def test_no_tokens():
    made, _ = leaves(torch.float32)
    none = torch.zeros(0, dtype=torch.long)
    logprobs, entropy = token_logprobs(made["hidden"][:0], made["weight"], none, entropy=True)
    assert logprobs.shape == (0,)
    assert entropy is not None
    (logprobs.sum() + entropy.sum()).backward()
    assert made["weight"].grad is not None
    assert made["weight"].grad.abs().sum() == 0


def test_impossible_tokens_leave_the_entropy_finite():
    weight = torch.tensor([[1.0], [0.0], [-float("inf")]], requires_grad=True)
    hidden = torch.ones(2, 1, requires_grad=True)
    logprobs, entropy = token_logprobs(hidden, weight, torch.tensor([0, 1]), entropy=True)
    assert entropy is not None
    assert torch.isfinite(logprobs).all()
    p = torch.tensor([1.0, 0.0]).softmax(0)
    assert entropy.tolist() == pytest.approx([float(-(p * p.log()).sum())] * 2, abs=1e-6)


def test_autocast_changes_nothing():
    made, targets = leaves(torch.float32)
    plain, _ = token_logprobs(made["hidden"], made["weight"], targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, _ = token_logprobs(made["hidden"], made["weight"], targets)
    assert torch.equal(plain, inside)


def test_full_logits_never_exist():
    """The largest tensor that either pass makes has one chunk of rows."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for tensor in out if isinstance(out, tuple | list) else (out,):
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return out

    rows, vocabulary, chunk = 256, 1000, 8
    hidden = torch.randn(rows, 4, requires_grad=True)
    weight = torch.randn(vocabulary, 4, requires_grad=True)
    targets = torch.randint(0, vocabulary, (rows,))
    with Watch():
        logprobs, entropy = token_logprobs(hidden, weight, targets, chunk=chunk, entropy=True)
        assert entropy is not None
        (logprobs.sum() + entropy.sum()).backward()
    assert chunk * vocabulary <= largest < 2 * chunk * vocabulary


@pytest.mark.parametrize("settings", [{"chunk": 0}, {"temperature": 0.0}])
def test_settings_out_of_range(settings):
    made, targets = leaves(torch.float32)
    with pytest.raises(ValueError, match="must be positive"):
        token_logprobs(made["hidden"], made["weight"], targets, **settings)


@pytest.mark.parametrize("takes", [False, True])
def test_another_may_compute_the_forward(takes):
    made, targets = leaves(torch.float64)
    weight = made["weight"].detach()
    right, _ = token_logprobs(made["hidden"], weight, targets, temperature=0.5)
    seen = []

    def values(hidden_NH, weight_VH, targets_N, *, logprobs_N, norm_N, slope_NH, **given):
        seen.append(given)
        if takes:
            logprobs_N.fill_(3.0), norm_N.zero_(), slope_NH.fill_(2.0)
        return takes

    found, _ = token_logprobs(made["hidden"], weight, targets, temperature=0.5, values=values)
    assert seen == [{"bias_V": None, "scale": 2.0, "softcap": None, "entropy_N": None}]
    (slope,) = torch.autograd.grad(found.sum(), made["hidden"])
    assert torch.equal(found, torch.full_like(found, 3.0) if takes else right)
    assert (slope == 2.0).all() == takes
