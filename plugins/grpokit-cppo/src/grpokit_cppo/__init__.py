"""CPPO: train only on the completions that teach most (arXiv 2503.22342).

hooks           what the plugin registers
config          settings of the parts and of the algorithm `cppo`; no torch
prune           which completions stay: rank, quota, scope, ties; no torch either
allocate        further questions for the places that pruning frees; no torch
algorithm       GRPO's composition with this selection
answers         where the authors look for answers, in one pass over the text
rewards         their rewards on GSM8K
math_accuracy   their reward on MATH, by the verifier of grpokit-math
recipes/        recipes that users get by installing the plugin
"""
