"""`--push` against a server on this machine that speaks what the hub's client needs for small files."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from grpokit.errors import PreflightError, RecipeError
from grpokit.export.push import check_push

TOKEN = "hf_onlyatest"
PUSH = """
import sys
from pathlib import Path
from grpokit.errors import GrpokitError
from grpokit.export.push import check_push, push_folder
try:
    check_push(sys.argv[2])
    print(push_folder(Path(sys.argv[1]), sys.argv[2], public=sys.argv[3] == "yes", say=print))
except GrpokitError as error:
    print(error)
    sys.exit(int(error.exit_code))
"""


class Hub(ThreadingHTTPServer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refuse = 0
        self.created: list[dict[str, object]] = []
        self.files: dict[str, bytes] = {}
        self.calls: list[tuple[str, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.calls.append((self.path, self.headers.get("Authorization", "")))
        if self.server.refuse:
            token = self.headers.get("Authorization")  # no server should tell it again
            self.answer({"error": f"{token} may not write here"}, self.server.refuse)
        elif self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self.answer({"url": f"{self.server.address}/me/sums"})
        elif self.path == "/api/validate-yaml":
            yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            self.answer({"errors": [], "warnings": []})
        elif self.path == "/api/models/me/sums/preupload/main":
            names = [each["path"] for each in json.loads(body)["files"]]
            modes = [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]
            self.answer({"files": modes})
        elif self.path == "/api/models/me/sums/commit/main":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.server.files[value["path"]] = base64.b64decode(value["content"])
            oid = "0" * 40
            self.answer(
                {"commitUrl": f"{self.server.address}/me/sums/commit/{oid}", "commitOid": oid}
            )
        else:
            self.answer({"error": self.path}, 404)

    do_GET = do_POST

    def answer(self, data: object, code: int = 200) -> None:
        text = json.dumps(data).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    (made / "README.md").write_text("---\ntags: [grpokit]\n---\n# sums\n")
    (made / "model.safetensors").write_bytes(bytes(range(256)))
    return made


def push(folder: Path, hub: str, *, public: bool = False, **more: str) -> tuple[int, str]:
    """The client reads its settings when it is imported: a process of its own."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environ |= {
        "HF_ENDPOINT": hub,
        "HF_TOKEN": TOKEN,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(folder.parent / "home"),
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", PUSH, str(folder), "me/sums", "yes" if public else "no"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def test_every_file_arrives(folder: Path, hub: Hub) -> None:
    code, said = push(folder, hub.address)
    assert code == 0, said
    assert hub.files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert hub.created[0]["name"] == "sums"
    assert hub.created[0]["organization"] == "me"
    assert hub.created[0].get("private") or hub.created[0].get("visibility") == "private"
    writes = {token for path, token in hub.calls if path.endswith(("/create", "/main"))}
    assert writes == {f"Bearer {TOKEN}"}
    assert "           256  model.safetensors" in said
    assert said.splitlines()[-1] == f"{hub.address}/me/sums"


def test_a_new_repository_is_public_if_that_is_said(folder: Path, hub: Hub) -> None:
    assert push(folder, hub.address, public=True)[0] == 0
    assert hub.created[0].get("private") in (None, False)
    assert hub.created[0].get("visibility") in (None, "public")


def test_a_refusal_names_what_to_do(folder: Path, hub: Hub) -> None:
    hub.refuse = 403
    code, said = push(folder, hub.address)
    assert code == 6
    assert "the upload to me/sums failed" in said
    assert re.search(r"hf upload me/sums \S+ \. --private`", said)
    assert TOKEN not in said
    assert "*** may not write here" in said
    assert (folder / "model.safetensors").is_file()


def test_no_network(folder: Path) -> None:
    code, said = push(folder, "http://127.0.0.1:9")
    assert code == 6
    assert "the folder stands" in said


def test_no_token(folder: Path, hub: Hub) -> None:
    code, said = push(folder, hub.address, HF_TOKEN="")
    assert code == 3
    assert "hf auth login" in said
    assert hub.calls == []


def test_offline_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PreflightError, match="HF_HUB_OFFLINE"):
        check_push("me/sums")


@pytest.mark.parametrize(
    "name",
    ["sums", "a/b/c", "../x/y", "me/", "https://h/me/sums", "me/a--b", "me/a..b", "me/sums.git"],
)
def test_what_is_no_repository(name: str) -> None:
    with pytest.raises(RecipeError, match="owner/name"):
        check_push(name)
