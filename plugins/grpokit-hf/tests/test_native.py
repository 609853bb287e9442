"""Tokens in C: what torch computes, and torch where there is no compiler."""

from __future__ import annotations

import logging
import platform
import shutil
import stat
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from grpokit.api import Prompt, Rollout, Sampling
from grpokit_hf.backend import HfBackend
from grpokit_hf.native import build
from grpokit_hf.nn import native
from grpokit_hf.nn.caches import SharedKeys
from grpokit_hf.nn.decode import Decoder
from grpokit_hf.nn.native import ROWS, Native
from grpokit_hf.nn.products import torch_linear
from grpokit_hf.nn.token import TokenStep
from packed_pairs import compare, scattered
from stirred import opened

KNOWN = ("llama", "qwen2", "qwen3", "mistral")
WIDE = {"hidden_size": 64, "intermediate_size": 96}
"""Four heads of 16, which a vector holds."""
EXACT, HALF = 1e-5, 0.03

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="there is no C compiler"
)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What a test finds out about compilers is forgotten."""
    yield
    build.library.cache_clear()


class Batch:
    """A sampling batch of ``rows`` rows, some tokens behind three prompts of unequal lengths."""

    def __init__(self, backend: HfBackend, rows: int, tokens: int = 5, seed: int = 0) -> None:
        with backend.policy.sampling():
            step, decoder = backend.policy.step, backend.policy.decoder()
        assert step is not None
        assert step.native is not None
        self.step, self.native, self.rows, self.tokens = step, step.native, rows, tokens
        self.decoder: Decoder = decoder
        generator = torch.Generator().manual_seed(seed)
        self.prompts = [
            torch.randint(3, 20, (n,), generator=generator).tolist() for n in (7, 2, 19)
        ]
        self.owners = [row % 3 for row in range(rows)]
        self.ids_TD1 = torch.randint(3, 20, (tokens, rows, 1), generator=generator)

    @torch.inference_mode()
    def cache(self) -> SharedKeys:
        cache = self.decoder._cache(self.prompts)
        assert isinstance(cache, SharedKeys)
        self.decoder._run(*cache.first(), cache)
        cache.spread(self.owners, self.tokens)
        return cache

    @torch.inference_mode()
    def run(self, way: TokenStep | Native, pick: Tensor | None = None) -> Tensor:
        """hidden_TDH of all tokens; with ``pick``, of those rows alone."""
        cache, found = self.cache(), []
        if pick is not None:
            cache.keep(pick.tolist(), pick)
        for place, ids_D1 in enumerate(self.ids_TD1):
            ids = ids_D1 if pick is None else ids_D1[pick]
            positions_D1 = (cache.lengths + place)[:, None]
            settings = {"head": False} if isinstance(way, Native) else {}
            found.append(way(ids, positions_D1, cache, **settings).view(len(ids), -1))
        return torch.stack(found)


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found.float() - wanted.float()).norm() / wanted.float().norm())


@pytest.mark.parametrize("rows", [1, 5, 16, 17, 40, 50, ROWS])
@pytest.mark.parametrize("kind", KNOWN)
def test_hidden_states_are_those_of_torch(kind: str, rows: int, folders, open_backend):
    batch = Batch(opened(open_backend, folders(kind, **WIDE)), rows)
    assert apart(batch.run(batch.native), batch.run(batch.step)) < EXACT


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86 processors")
@pytest.mark.parametrize("processor", ["x86-64", "x86-64-v3", "x86-64-v4"])
def test_other_processors(processor: str, folders, open_backend, tmp_path, monkeypatch):
    """Vectors of 16 and 32 bytes, and of 64 without the instructions that newer processors have."""
    if processor == "x86-64-v4" and not torch.backends.cpu.get_cpu_capability().startswith(
        "AVX512"
    ):
        pytest.skip("this processor has no AVX-512")
    flags = [f"-march={processor}" if flag == "-march=native" else flag for flag in build.FLAGS]
    monkeypatch.setattr(build, "FLAGS", flags)
    monkeypatch.setenv("GRPOKIT_CACHE", str(tmp_path))
    build.fingerprint.cache_clear()
    build.library.cache_clear()
    folder = folders("qwen3", **WIDE)
    for dtype, limit in (("float32", EXACT), ("bfloat16", HALF)):
        backend = opened(open_backend, folder, dtype=dtype)
        for rows in (5, 40):
            batch = Batch(backend, rows)
            assert apart(batch.run(batch.native), batch.run(batch.step)) < limit
    assert len(list(tmp_path.glob("native/*.so"))) == 1
    compare(scattered(3), (6, 2), torch_linear, native=True)
    build.fingerprint.cache_clear()


@pytest.mark.parametrize("rows", [3, 16, 50])
@pytest.mark.parametrize("kind", KNOWN)
def test_bfloat16_differs_by_rounding(kind: str, rows: int, folders, open_backend):
    """Both are compared with float32, from which the one is no further than the other."""
    folder = folders(kind, **WIDE)
    exact = Batch(opened(open_backend, folder), rows)
    batch = Batch(opened(open_backend, folder, dtype="bfloat16"), rows)
    wanted = exact.run(exact.step)
    ours, theirs = (apart(batch.run(way), wanted) for way in (batch.native, batch.step))
    assert ours < max(1.3 * theirs, HALF / 3)
    assert ours < HALF


@pytest.mark.parametrize("more", [{"num_key_value_heads": 1}, {"num_key_value_heads": 4}], ids=str)
@pytest.mark.parametrize("hidden", [64, 192])
def test_other_shapes(more: dict[str, int], hidden: int, folders, open_backend):
    """Heads of 48 numbers; products with a rest, of whole tiles and of none."""
    folder = folders("qwen2", hidden_size=hidden, intermediate_size=160, **more)
    for dtype, limit in (("float32", EXACT), ("bfloat16", HALF)):
        batch = Batch(opened(open_backend, folder, dtype=dtype), 9)
        assert apart(batch.run(batch.native), batch.run(batch.step)) < limit


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_row_does_not_depend_on_the_others(dtype: str, folders, open_backend):
    batch = Batch(opened(open_backend, folders("llama", **WIDE), dtype=dtype), 40)
    pick = torch.tensor([2, 3, 11, 39])
    assert torch.equal(batch.run(batch.native, pick), batch.run(batch.native)[:, pick])


def test_threads_change_nothing(folders, open_backend):
    batch = Batch(opened(open_backend, folders("llama", **WIDE)), 20)
    before = torch.get_num_threads()
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(batch.run(batch.native))
    torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_many_own_tokens(folders, open_backend):
    batch = Batch(opened(open_backend, folders("llama", **WIDE)), 4, tokens=70)
    assert apart(batch.run(batch.native), batch.run(batch.step)) < EXACT


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("lora", "dtype", "gap"),
    [(True, "float32", 2e-5), (False, "float32", 2e-5), (True, "bfloat16", 0.2)],
)
def test_completions_are_the_same(
    lora: bool, tied: bool, dtype: str, gap: float, folders, open_backend, make_prompts, monkeypatch
):
    folder = folders("qwen2", tie_word_embeddings=tied, **WIDE)
    calls: list[bool] = []
    real = Native.__call__

    def counted(self: Native, *args: Any, head: bool) -> Tensor:
        calls.append(head)
        return real(self, *args, head=head)

    monkeypatch.setattr(Native, "__call__", counted)
    sampling = Sampling(group=4, max_tokens=14, temperature=1.0, seed=5)
    given = {"lora": lora, "dtype": dtype, "products": "torch"}
    ours = opened(open_backend, folder, **given).generate(make_prompts(), sampling)
    assert calls == [False] + [True] * 13
    slow = opened(open_backend, folder, **given, native=False)
    theirs = slow.generate(make_prompts(), sampling)
    assert len(calls) == 14
    pairs = [(a, b) for a, b in zip(flat(ours), flat(theirs), strict=True) if a[0] == b[0]]
    assert len(pairs) > (0 if dtype == "float32" else 4)
    assert dtype == "bfloat16" or len(pairs) == len(flat(ours))
    for (_, a), (_, b) in pairs:
        assert a == pytest.approx(b, abs=gap)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_first_batch_is_drawn_as_all_later_ones_are(
    dtype: str, folders, open_backend, make_prompts
):
    """Else a run that is resumed would draw other numbers than one that goes on."""
    backend = opened(open_backend, folders("llama", **WIDE), dtype=dtype)
    first, again = (drawn(backend, make_prompts()) for _ in range(2))
    assert first == again


def flat(rollout: Rollout) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    return [(c.token_ids, c.logprobs or ()) for group in rollout.completions for c in group]


def drawn(backend: HfBackend, prompts: list[Prompt], rows: int = 4) -> list[Any]:
    return flat(backend.generate(prompts, Sampling(group=rows, max_tokens=6, temperature=1.0)))


def test_more_rows_than_it_takes_go_through_torch(folders, open_backend, make_prompts):
    folder, rows = folders("llama", **WIDE), ROWS
    ours = drawn(opened(open_backend, folder, tree=False), make_prompts(), rows)
    theirs = drawn(opened(open_backend, folder, tree=False, native=False), make_prompts(), rows)
    assert [a for a, _ in ours] == [a for a, _ in theirs]


def test_numbers_that_are_not_finite_are_not_hidden(folders, open_backend):
    backend = opened(open_backend, folders("llama", **WIDE))
    backend.policy.base.get_decoder().layers[0].mlp.down_proj.base_layer.weight.data[3] = torch.nan
    batch = Batch(backend, 5)
    assert bool(batch.run(batch.native).isnan().any(dim=-1).all())


def test_code_that_is_wrong_is_noticed_and_not_used(
    folders, open_backend, make_prompts, monkeypatch, caplog
):
    folder = folders("llama", **WIDE)
    right = drawn(opened(open_backend, folder, native=False), make_prompts())
    backend = opened(open_backend, folder)
    real = Native.__call__
    monkeypatch.setattr(Native, "__call__", lambda *args, **more: 1.5 * real(*args, **more))
    with caplog.at_level(logging.WARNING, logger="grpokit.hf"):
        found = drawn(backend, make_prompts())
        again = drawn(backend, make_prompts())
    told = [record.message.split(":")[0] for record in caplog.records]
    assert told == ["tokens are sampled without grpokit's C code"]
    assert [a for a, _ in found] == [a for a, _ in again] == [a for a, _ in right]


def test_heads_it_cannot_compute_and_shapes_it_has_not(folders, open_backend):
    backend = opened(open_backend, folders("llama"))  # heads of 8
    with backend.policy.sampling():
        assert backend.policy.step is not None
        assert backend.policy.step.native is None
    backend = opened(open_backend, folders("llama", **WIDE))
    backend.policy.base.config.final_logit_softcapping = 30.0
    with backend.policy.sampling():
        assert backend.policy.step is not None
        assert backend.policy.step.native is not None
        assert backend.policy.step.native.head is None


def test_without_a_compiler_torch_computes(
    folders, open_backend, make_prompts, monkeypatch, caplog
):
    folder = folders("llama", **WIDE)
    right = drawn(opened(open_backend, folder, native=False), make_prompts())
    monkeypatch.setenv("CC", "no-such-compiler")
    build.library.cache_clear()
    with caplog.at_level(logging.INFO, logger="grpokit.hf"):
        assert drawn(opened(open_backend, folder), make_prompts()) == right
    assert "no C compiler: no-such-compiler" in caplog.text


def test_it_is_compiled_once(tmp_path):
    environ = {"GRPOKIT_CACHE": str(tmp_path), "PATH": build.os.environ["PATH"]}
    path = build.build(environ)
    before = path.stat().st_mtime_ns
    assert build.build(environ) == path
    assert path.stat().st_mtime_ns == before
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_compiler_that_fails_leaves_nothing(tmp_path):
    tool = tmp_path / "broken"
    tool.write_text("#!/bin/sh\necho 'token.c:1: no luck' >&2\nexit 1\n")
    tool.chmod(0o700)
    with pytest.raises(build.NoLibraryError, match=r"failed: token\.c:1: no luck"):
        build.build({"GRPOKIT_CACHE": str(tmp_path), "CC": str(tool)})
    assert list((tmp_path / "native").iterdir()) == []


def test_a_folder_that_others_write_to_is_not_trusted(tmp_path):
    (tmp_path / "native").mkdir()
    (tmp_path / "native").chmod(0o777)
    with pytest.raises(build.NoLibraryError, match="others may write"):
        build.build({"GRPOKIT_CACHE": str(tmp_path), "PATH": build.os.environ["PATH"]})


def test_the_tables_are_as_long_as_the_code_thinks():
    """Every field has 64 bits, so C pads nothing."""
    code = build.library()
    assert code is not None
    sizes = [code.grpokit_size(place) for place in range(3)]
    assert sizes == [
        native.ctypes.sizeof(table) for table in (native.CStack, native.CLayer, native.CCall)
    ]
