"""CPPO: train only on the completions that teach most (arXiv 2503.22342).

hooks      what the plugin registers
config     settings of the part `prune` and of the algorithm `cppo`; no torch
prune      which completions stay: rank, quota, scope, ties; no torch either
algorithm  GRPO's composition with this selection
recipes/   recipes that users get by installing the plugin
"""
