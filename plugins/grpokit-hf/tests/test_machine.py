"""What the machine has, and how threads and memory are set."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import pytest
import torch

from grpokit_hf import machine


def test_physical_cores_are_at_most_what_the_process_may_use():
    assert 1 <= machine.physical_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (None, ("a", "b", "b")),
        ("0", ("a",)),
        (" 2, 0", ("b", "a")),
        ("", ()),
        ("-1", ()),
        ("1,-1,0", ("b",)),
        ("7", ()),
        ("GPU-8d5f1e2c,GPU-9", ("a", "a")),
    ],
)
def test_hidden_gpus_do_not_count(said: str | None, left: tuple[str, ...]):
    assert machine.visible(("a", "b", "b"), said) == left
    assert machine.visible((), said) == ()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the scheduler")
def test_processes_share_the_cores_once(monkeypatch: pytest.MonkeyPatch):
    """``--processes`` says each process's part in OMP_NUM_THREADS; it is not divided again."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(90_000, 90_016)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [machine.physical_cores(count) for count in (1, 2, 3, 32)] == [16, 8, 5, 1]
    for said, shares in (("8", [8, 8, 5]), ("2", [2, 2, 2]), ("32", [32, 8, 5]), ("0", [16, 8, 5])):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert [machine.physical_cores(count) for count in (1, 2, 3)] == shares


def test_a_hidden_gpu_is_no_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine.gpu_names() == ()


def test_versions_leave_out_what_is_missing():
    found = machine.versions(("torch", "no-such-package-anywhere"))
    assert found == {"torch": torch.__version__}


def test_a_hub_that_listens_is_reachable_and_one_that_does_not_is_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        environ = {"HF_ENDPOINT": f"http://127.0.0.1:{port}"}
        assert machine.hub_reachable(environ)
        proxy = {"HTTPS_PROXY": f"http://127.0.0.1:{port}", "HF_ENDPOINT": "http://hub.invalid"}
        assert machine.hub_reachable(proxy)
        assert machine.hub_reachable(environ)  # asked once a process
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = {"HF_ENDPOINT": f"http://127.0.0.1:{server.getsockname()[1]}"}
    start = time.perf_counter()
    assert not machine.hub_reachable(closed)
    assert not machine.hub_reachable({"HF_ENDPOINT": "http://hub.invalid"})
    assert time.perf_counter() - start < 2.0


def test_threads_are_calmed_only_before_torch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    machine.calm_threads()
    assert "GOMP_SPINCOUNT" not in os.environ  # torch is loaded here: too late to matter
    code = (
        "import os; from grpokit_hf.machine import calm_threads; calm_threads();"
        "print(os.environ['GOMP_SPINCOUNT'])"
    )
    for environ, expected in (({}, "2000"), ({"GOMP_SPINCOUNT": "7"}, "7")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_memory_is_kept():
    code = "from grpokit_hf.machine import keep_memory; print(keep_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
