"""What every plugin promises, and cases.yaml."""

from __future__ import annotations

from grpokit.testing import check_plugin


def test_the_plugin():
    check_plugin("rewards-intrinsic")
