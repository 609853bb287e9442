"""Any recipe with a tiny random model on a CPU: do its parts fit together, from data to export?

    run_smoke(name, changes, catalog, folder, ...) -> Smoke

small    the recipe with what a CPU cannot run replaced, and what takes long cut
gold     right and wrong answers as completions, because a random model never earns a reward
loop     puts them among the model's own completions
facts    what the run's files say: gradients, rewards that never differ, weights bit by bit
run      the stages in order
"""

from __future__ import annotations

from grpokit.smoke.run import Smoke, run_smoke

__all__ = ["Smoke", "run_smoke"]
