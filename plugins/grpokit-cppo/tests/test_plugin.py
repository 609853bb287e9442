"""The plugin is in order, and its cases hold."""

import pytest

from grpokit.testing import check_plugin


def test_the_plugin_is_in_order_and_its_cases_hold():
    pytest.importorskip("grpokit_math", reason="needs grpokit-cppo[math]")
    check_plugin("cppo")
