"""Log-probs by the head in C against float64, and against torch's passes over the logits."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from grpokit.algorithms import token_logprobs
from grpokit_hf.nn import amx
from grpokit_hf.nn.amx import TileLinear, amx_works
from grpokit_hf.nn.native_head import NativeHead, head_of
from grpokit_hf.nn.products import torch_linear
from update_pairs import Case as UpdateCase
from update_pairs import Pair

pytestmark = [
    pytest.mark.skipif(not amx_works(), reason="no AMX tiles, or no C compiler"),
    pytest.mark.usefixtures("small_products"),
]

HALF, FULL = torch.bfloat16, torch.float32
SHAPES = [  # tokens, hidden size, vocabulary
    (1, 64, 100),
    (2, 33, 31),
    (33, 70, 1001),
    (64, 32, 32),
    (100, 576, 5000),
    (97, 192, 20011),
    (70, 2100, 333),
]
KINDS = [(FULL, 3), (FULL, 2), (HALF, 3)]


class Counted(NativeHead):
    """Insists on taking the case."""

    def __call__(self, *given: Tensor, **named: object) -> bool:
        assert super().__call__(*given, **named)
        return True


@dataclass(frozen=True)
class Case:
    hidden_NH: Tensor
    weight_VH: Tensor
    targets_N: Tensor

    @classmethod
    def of(cls, shape: tuple[int, int, int], dtype: torch.dtype, size: float = 3.0) -> Case:
        tokens, width, vocabulary = shape
        generator = torch.Generator().manual_seed(tokens + vocabulary)
        hidden_NH = torch.randn(tokens, width, generator=generator)
        weight_VH = torch.randn(vocabulary, width, generator=generator) * size / width**0.5
        targets_N = torch.randint(0, vocabulary, (tokens,), generator=generator)
        targets_N[-1] = vocabulary - 1
        return cls(hidden_NH.to(dtype), weight_VH.to(dtype), targets_N)

    def exact(self, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probs, entropies, and the gradient of the log-probs' sum, in float64."""
        hidden_NH = self.hidden_NH.double().requires_grad_()
        log_p = (hidden_NH @ self.weight_VH.double().T / temperature).log_softmax(-1)
        logprobs_N = log_p.gather(-1, self.targets_N[:, None])[:, 0]
        (grad_NH,) = torch.autograd.grad(logprobs_N.sum(), hidden_NH)
        return logprobs_N.detach(), -(log_p.exp() * log_p).sum(-1).detach(), grad_NH

    def found(self, parts: int, temperature: float = 1.0, *, native: bool = True) -> list[Tensor]:
        """The same, by C or by torch with the same products."""
        linear = TileLinear(parts)
        hidden_NH = self.hidden_NH.clone().requires_grad_()
        logprobs_N, entropy_N = token_logprobs(
            hidden_NH,
            self.weight_VH,
            self.targets_N,
            temperature=temperature,
            entropy=True,
            linear=linear,
            values=Counted(linear) if native else None,
        )
        assert entropy_N is not None
        (grad_NH,) = torch.autograd.grad(logprobs_N.sum(), hidden_NH)
        return [logprobs_N.detach(), entropy_N.detach(), grad_NH]


def gap(found: Tensor, right: Tensor) -> float:
    return float((found.double() - right.double()).norm() / right.double().norm())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(("dtype", "parts"), KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_as_near_to_float64_as_torch(shape, dtype, parts, temperature, threads):
    torch.set_num_threads(threads)
    case = Case.of(shape, dtype)
    right = case.exact(temperature)
    least = {(FULL, 3): 2.5e-7, (FULL, 2): 2e-6, (HALF, 3): 2e-7}[dtype, parts]
    torchs = case.found(parts, temperature, native=False)
    for mine, theirs, expected in zip(case.found(parts, temperature), torchs, right, strict=True):
        assert mine.dtype == theirs.dtype
        assert gap(mine, expected) <= max(2 * gap(theirs, expected), least)
        if dtype == HALF:
            assert gap(mine, expected) <= gap(theirs, expected)


@pytest.mark.parametrize(("dtype", "parts", "far"), [(FULL, 3, 1e-6), (FULL, 2, 1e-5)])
def test_exact_for_a_large_vocabulary(dtype, parts, far):
    case = Case.of((50, 576, 49152), dtype)
    for mine, expected in zip(case.found(parts), case.exact(), strict=True):
        assert gap(mine, expected) < far


def test_bfloat16_logits_are_not_rounded():
    case = Case.of((50, 576, 49152), HALF)
    logprobs_N, entropy_N, grad_NH = case.found(3)
    right = case.exact()
    assert gap(logprobs_N, right[0]) < 5e-7
    assert gap(entropy_N, right[1]) < 1e-6
    assert gap(grad_NH, right[2]) < 1.05 * gap(right[2].to(HALF), right[2]) + 1e-4


@pytest.mark.parametrize("dtype", [FULL, HALF])
def test_without_gradients_and_without_entropy(dtype):
    """The same numbers, whatever else is asked for."""
    case = Case.of((97, 192, 3001), dtype)
    linear = TileLinear()
    logprobs_N, entropy_N, _ = case.found(3)
    for entropy in (False, True):
        with torch.no_grad():
            found_N, more_N = token_logprobs(
                case.hidden_NH,
                case.weight_VH,
                case.targets_N,
                entropy=entropy,
                linear=linear,
                values=Counted(linear),
            )
        assert torch.equal(found_N, logprobs_N)
        assert (more_N is not None) == entropy
        assert more_N is None or torch.equal(more_N, entropy_N)


@pytest.mark.parametrize(("dtype", "parts"), KINDS)
def test_large_logits(dtype, parts):
    """A logit of 1e4 is known to a thousandth, and nothing overflows."""
    case = Case.of((40, 64, 900), dtype, size=4e3)
    right = case.exact()
    assert right[0].min() < -1e4
    torchs = case.found(parts, native=False)
    for mine, theirs, expected in zip(case.found(parts), torchs, right, strict=True):
        assert torch.isfinite(mine).all()
        off, allowed = ((x.double() - expected).norm() for x in (mine, theirs))
        assert off <= 2 * allowed + 1e-3


def test_impossible_tokens_leave_entropies_finite():
    """Whole blocks of them too, the first among them."""
    weight_VH = torch.randn(9000, 40).bfloat16()
    weight_VH[:4000] = weight_VH[8000] = -torch.inf
    hidden_NH = torch.rand(50, 40).bfloat16() + 0.1
    targets_N = torch.randint(4000, 8000, (50,))
    targets_N[0] = 8000
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        logprobs_N, entropy_N = token_logprobs(
            hidden_NH, weight_VH, targets_N, entropy=True, values=Counted(TileLinear())
        )
        log_p = (hidden_NH.double() @ weight_VH.double().T).log_softmax(-1)
        right_N = -(log_p.exp() * log_p.clamp(min=-1e30)).sum(-1)
        assert entropy_N is not None
        assert gap(entropy_N, right_N) < 1e-6
        assert logprobs_N[0] == -torch.inf
        assert gap(logprobs_N[1:], log_p.gather(-1, targets_N[:, None])[1:, 0]) < 1e-6


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize(("dtype", "parts"), KINDS)
def test_a_row_that_is_none_stays_alone(dtype, parts, bad):
    case = Case.of((70, 96, 5000), dtype)
    clean = case.found(parts)
    case.hidden_NH[33, 5] = bad
    others = torch.arange(70) != 33
    for mine, expected in zip(case.found(parts), clean, strict=True):
        assert torch.isnan(mine[33]).all()
        assert torch.equal(mine[others], expected[others])


@pytest.mark.parametrize(("dtype", "parts"), KINDS)
def test_other_tokens_change_no_bit(dtype, parts):
    case = Case.of((131, 96, 5000), dtype)
    whole = case.found(parts)
    some = Case(case.hidden_NH[40:57], case.weight_VH, case.targets_N[40:57]).found(parts)
    for mine, expected in zip(some, whole, strict=True):
        assert torch.equal(mine, expected[40:57])


@pytest.mark.parametrize("dtype", [FULL, HALF])
def test_threads(dtype):
    """The same number of them gives the same bits; another, a rounding."""
    case = Case.of((2100, 640, 777), dtype)
    right = case.found(3)
    for threads in (1, 2, 3, 5, 8):
        torch.set_num_threads(threads)
        found = case.found(3)
        assert all(map(torch.equal, found, case.found(3)))
        for mine, expected in zip(found, right, strict=True):
            assert gap(mine, expected) < (1e-3 if mine.dtype == HALF else 6e-7)


def test_what_is_left_to_torch(monkeypatch):
    case = Case.of((64, 64, 500), FULL)
    head = NativeHead(TileLinear())
    out_N = torch.empty(64)
    given = {"bias_V": None, "scale": 1.0, "softcap": None, "entropy_N": None, "slope_NH": None}
    given |= {"logprobs_N": out_N, "norm_N": torch.empty(64)}
    hidden, weight, targets = case.hidden_NH, case.weight_VH, case.targets_N
    assert head(hidden, weight, targets, **given)
    left = [
        (hidden, weight, targets, given | {"bias_V": torch.zeros(500)}),
        (hidden, weight, targets, given | {"softcap": 30.0}),
        (hidden.double(), weight.double(), targets, given),
        (hidden, weight.T.contiguous().T, targets, given),
        (hidden, weight, targets - 500, given),
        (hidden, weight[: int(targets.max())], targets, given),
    ]
    out_N.fill_(7.0)
    for *tensors, named in left:
        assert not head(*tensors, **named)
    monkeypatch.setattr(amx, "SMALL", 65)
    assert not head(hidden, weight, targets, **given)
    assert (out_N == 7.0).all()
    assert head_of(torch_linear) is None
    assert head_of(TileLinear(2)) == NativeHead(TileLinear(2))


@pytest.mark.parametrize("dtype", [FULL, HALF])
def test_watchers_are_told_of_the_same_products(dtype):
    case = Case.of((300, 64, 9000), dtype)
    told = []
    for native in (True, False):
        seen = []
        with amx.watched(lambda func, args, seen=seen: seen.append((func, args))):
            case.found(3, native=native)
        told.append(sum(args[1].numel() * len(args[2]) for _, args in seen))
        for func, (linear, x_MK, weight_NK, *_) in seen:
            assert linear == TileLinear(3)
            assert func(linear, x_MK, weight_NK).shape == (len(x_MK), len(weight_NK))
    assert told[0] == told[1] == 2 * 300 * 64 * 9000


def test_a_policy_uses_it(tiny_model_folder, open_backend, monkeypatch):
    taken = []
    compute = NativeHead.__call__
    monkeypatch.setattr(
        NativeHead,
        "__call__",
        lambda *given, **named: taken.append(compute(*given, **named)) or taken[-1],
    )
    pair = Pair(
        UpdateCase(kind="llama", settings={"products": "amx"}), tiny_model_folder, open_backend
    )
    pair.fast(pair.draw(1, prompts=2, group=4))
    assert taken == [True]
