"""The plugin is in order, and costs nothing until it is used."""

import subprocess
import sys

from grpokit.testing import check_plugin


def test_the_plugin_is_in_order():
    check_plugin("reasoning-gym")


def test_the_library_is_imported_with_the_first_task_only():
    code = """
import sys
from grpokit.registry.catalog import Catalog
from grpokit.registry.resolve import config_model, resolve
catalog = Catalog.load()
for kind, name in (("dataset", "tasks"), ("reward", "score")):
    entry = catalog.find(kind, f"reasoning-gym/{name}")
    config_model(entry), resolve(entry.spec.target)
assert not {"reasoning_gym", "sympy", "numpy", "torch"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
