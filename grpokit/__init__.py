"""grpokit: train a language model with GRPO-style reinforcement learning from one recipe file.

The map, from the bottom up (a module may import only what stands above it in this list):

    errors      what can go wrong, with exit codes
    spec        pure data: the flow of one step, component specs, recipe and plan models
    hooks       the functions a plugin may implement
    versions    which versions run together, as data
    registry    finding components: entry points, catalog, "module:attribute" resolution
    scoring     calling rewards: ask by name, deadline, error budget (no torch)
    algorithms  pure tensor functions, one file an axis, and the named compositions
    compose     recipe text -> checked Recipe -> Plan (no torch)
    engine      session, step loop, records, checkpoints (the door to torch)
    evaluate    sampling a checkpoint; intervals and paired tests
    doctor      what is installed, what can run here, what does not fit
    diagnose    what is going wrong in a run, from its numbers
    report      run directories: lists, plots, comparisons, one page
    forecast    how often the model solves a recipe's questions before it trains
    smoke       any recipe with a tiny random model
    interop     grpokit's rewards as other trainers call them
    export      recipes and weights for others
    scaffold    packages of plugins: written from templates, and checked
    bench       one task for many algorithms, compared
    cli         the commands

Beside the layers: ``builtins`` are core's own components, registered through the public hooks,
and ``api`` is the one module that plugins import.
"""

__version__ = "0.1.0"
