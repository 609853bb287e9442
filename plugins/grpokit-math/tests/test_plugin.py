"""The plugin is in order."""

from grpokit.testing import check_plugin


def test_the_plugin_is_in_order():
    check_plugin("math")
