"""The machine: a driver's tool that answers, one that does not, and hubs of every kind."""

import http.server
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from dists import grpokit
from grpokit.doctor.machine import ask_hub, find_gpus, look_at_machine

LISTED = "NVIDIA H200, 580.95.05, 143771, 140000, 9.0\nNVIDIA T4, 580.95.05, 15360, 100, 7.5\n"
TOOL = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$1" in
  --query-gpu*) cat {folder}/listed ;;
  *) echo "| NVIDIA-SMI 580.95.05   Driver Version: 580.95.05   CUDA Version: 13.0 |" ;;
esac
"""


@pytest.fixture
def tool(tmp_path):
    """A program named nvidia-smi; what it lists stands in a file."""

    def write(listed):
        (tmp_path / "listed").write_text(listed)
        path = tmp_path / "nvidia-smi"
        path.write_text(TOOL.format(folder=tmp_path))
        path.chmod(0o755)
        return {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}

    return write


def test_gpus_are_what_the_drivers_tool_lists(tool, tmp_path):
    gpus, said, cuda = find_gpus(tool(LISTED))
    assert [gpu.name for gpu in gpus] == ["NVIDIA H200", "NVIDIA T4"]
    assert gpus[0].memory == 143771 * 2**20
    assert gpus[0].free == 140000 * 2**20
    assert (gpus[1].driver, gpus[1].capability) == ("580.95.05", "7.5")
    assert (said, cuda) == ("", "13.0")
    assert "-i" not in (tmp_path / "asked").read_text()


def test_only_visible_gpus_are_asked_for(tool, tmp_path):
    environ = tool(LISTED.splitlines()[1])
    gpus, _, _ = find_gpus({**environ, "CUDA_VISIBLE_DEVICES": "1"})
    assert [gpu.name for gpu in gpus] == ["NVIDIA T4"]
    assert "-i 1" in (tmp_path / "asked").read_text()


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch\n", "version mismatch"),
        ("", "no answer"),
        ("NVIDIA H200, 580, [N/A], 3, 9.0\n", "[N/A]"),
    ],
)
def test_a_tool_that_lists_nothing_is_quoted(tool, listed, said):
    gpus, told, cuda = find_gpus(tool(listed))
    assert gpus == ()
    assert said in told
    assert cuda == ""


def test_no_tool_and_hidden_gpus_are_told_apart(tool, tmp_path):
    assert "no NVIDIA driver" in find_gpus({"PATH": str(tmp_path)})[1]
    assert "CUDA_VISIBLE_DEVICES" in find_gpus({**tool(LISTED), "CUDA_VISIBLE_DEVICES": ""})[1]


def test_a_gpu_that_windows_lends_is_a_gpu(tmp_path, monkeypatch):
    """WSL 2 has neither /proc/driver/nvidia nor /dev/nvidia0."""
    from grpokit.versions import installed

    lent = tmp_path / "libcuda.so.1"
    monkeypatch.setattr(installed, "NVIDIA", tmp_path / "none")
    monkeypatch.setattr(installed, "SIGNS", (lent,))
    assert not installed.gpu_is_here({})
    lent.touch()
    assert installed.gpu_is_here({})
    assert not installed.gpu_is_here({"CUDA_VISIBLE_DEVICES": "-1"})


@pytest.fixture
def hub():
    """A web server on this machine; the path says what it answers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(int(self.path.strip("/") or 200))
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "reachable"), [("200", True), ("401", True), ("503", False)])
def test_a_hub_that_answers(hub, status, reachable):
    found = ask_hub({"HF_ENDPOINT": f"{hub}/{status}"})
    assert (found.reachable, found.detail) == (reachable, f"HTTP {status}")


def test_a_password_in_the_address_is_not_shown():
    found = ask_hub({"HF_ENDPOINT": "https://me:hf_secret@hub.example/x", "HF_HUB_OFFLINE": "1"})
    assert found.endpoint == "https://hub.example/x"


def test_a_hub_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = ask_hub({"HF_ENDPOINT": f"http://127.0.0.1:{port}"})
    assert found.reachable is False
    assert "refused" in found.detail


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_hub_that_does_not_speak_http():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"220 mail.example ready\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        found = ask_hub({"HF_ENDPOINT": f"http://127.0.0.1:{server.getsockname()[1]}"})
        thread.join()
    assert found.reachable is False
    assert "220 mail.example" in found.detail


def test_a_hub_that_says_nothing_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        found = ask_hub({"HF_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}, seconds=0.3)
    assert found.reachable is False
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_is_honoured(name, hub):
    found = ask_hub({"HF_ENDPOINT": hub, name: "1"})
    assert found.reachable is None
    assert name in found.detail


@pytest.mark.parametrize("endpoint", ["file:///etc/passwd", "nonsense", "http://[bad"])
def test_an_endpoint_that_is_no_address(endpoint):
    assert ask_hub({"HF_ENDPOINT": endpoint}).reachable is False


def test_the_machine_as_a_whole(tmp_path):
    environ = {
        "PATH": str(tmp_path),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "GRPOKIT_CACHE": str(tmp_path / "cache"),
    }
    found = look_at_machine(environ)
    assert found.cores >= 1
    assert found.memory_free
    assert found.memory >= found.memory_free
    folders = {disk.use: disk.path for disk in found.disks}
    assert folders["hub cache"] == str(tmp_path / "hf" / "hub")
    assert folders["catalogued models"] == str(tmp_path / "cache" / "models")
    assert Path(folders["runs"]).name == "runs"
    assert all(disk.free for disk in found.disks)


@pytest.mark.parametrize(
    ("text", "build"),
    [
        ("cuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n", "cuda 13.0"),
        ("cuda: Optional[str] = None\nhip: Optional[str] = None\n", "cpu"),
        ("cuda = None\nhip = '7.0.1'\n", "rocm 7.0.1"),
        ('debug = False\ncuda: str | None = "12.8"\n', "cuda 12.8"),
        (None, "unknown"),
    ],
)
def test_what_torch_is_built_for_is_read_and_not_imported(tmp_path, text, build):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch/__init__.py").write_text("raise ImportError('imported')")
    if text is not None:
        (tmp_path / "torch/version.py").write_text(text)
    code = "from grpokit.versions.installed import torch_build; print(torch_build())"
    done = grpokit(path=tmp_path, code=code)
    assert done.stdout == f"{build}\n", done.stderr
