"""``python -m grpokit``."""

from grpokit.cli.main import run

if __name__ == "__main__":
    run()
