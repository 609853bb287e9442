"""An environment as an author has it: grpokit and its runtime, and nothing of this repository's own."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

from warm import warm


class Fresh:
    """A virtual environment that reads the installed packages, less the example plugin.

    The packages stand in a folder of links outside of it, so pip takes none of them for its own: it
    installs into the environment alone. Nothing comes from an index, but what a wheel says that it
    needs must be there: pip refuses it otherwise.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "env" / "bin"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True)
        farm = folder / "packages"
        farm.mkdir()
        for item in Path(sysconfig.get_path("purelib")).iterdir():
            if "example_reward" not in item.name:
                (farm / item.name).symlink_to(item)
        (site,) = (folder / "env" / "lib").glob("python3*/site-packages")
        (site / "_dev.pth").write_text(f"import site; site.addsitedir({str(farm)!r})\n")
        for name, code in {
            "grpokit": "from grpokit.cli.main import run; run()",
            "pytest": "import pytest; raise SystemExit(pytest.console_main())",
            "pip": "import runpy; runpy.run_module('pip', run_name='__main__')",
        }.items():
            script = self.bin / name
            script.write_text(f"#!{self.bin / 'python'}\n{code}\n")
            script.chmod(0o755)
        self.cache = warm(folder / "cache")

    @property
    def environ(self) -> Mapping[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("GRPOKIT_", "PIP_", "PYTEST_")) and key != "PYTHONPATH"
        }
        return kept | {
            "PATH": os.pathsep.join([str(self.bin), os.environ["PATH"]]),
            "GRPOKIT_CACHE": str(self.cache),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "100",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip: the option of this name, so "no" is what 0 says
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def run(self, command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """A line of a shell, with both streams in ``stdout``."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=cwd,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )

    def ok(self, command: str, cwd: Path) -> str:
        done = self.run(command, cwd)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    return Fresh(tmp_path_factory.mktemp("fresh"))
