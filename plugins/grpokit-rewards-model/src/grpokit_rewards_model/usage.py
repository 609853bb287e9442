"""What the judges have cost, as JSON lines: ``python -m grpokit_rewards_model.usage [FILE]``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from grpokit_rewards_model.store import Store, default_file

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Prints one line for each account, endpoint and model of the file."""
    path = Path(arguments[0]) if arguments else default_file()
    if not path.is_file():
        sys.stderr.write(f"there is no file {path}; no judge has been asked\n")
        return 2
    store = Store(path)
    for line in store.lines():
        sys.stdout.write(json.dumps(asdict(line)) + "\n")
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
