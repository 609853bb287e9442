"""Rewards of other trainers in a recipe: ``trl:pkg.mod.fn``, ``verl:file.py``, ``verifiers:pkg``.

reference      what such a name means: a scheme, a module or a file, an attribute
sniff          the function's parameters, read from its source and not by importing it
defined        whether a file defines the name, read from its source too
entry          the catalog's entry, its hash, and what would be imported
settings       what may stand under ``with:``
adapt          from a reference to a reward: imports it, once somebody agreed
signature      parameters of functions, and what the reward before one asks for
trl            functions of TRL
verl           functions of verl
verifiers      functions and tasksets of verifiers
reasoning_gym  tasks of Reasoning Gym
"""
