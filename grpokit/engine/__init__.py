"""The engine: one run from its first step to its last, and again after a kill.

    session     builds every heavy object of a run, new or resumed; runs the steps
    loop        one step: generate, score, advantages, select, update, record
    order       which rows of the data set make up which step
    metrics     the numbers of one step
    record      metrics.jsonl and rollouts.jsonl, cut back exactly on resume
    checkpoint  atomic, hashed checkpoints; the newest that verifies
    rundir      the run directory, its lock and its identity
    signals     SIGINT and SIGTERM as a flag that is polled
    observer    what a run tells the terminal and callbacks
    probe       one rollout of the untrained model, for `grpokit plan --probe`

Nothing here imports torch: tensors come and go through the backend and the algorithm, which the
session resolves by name.
"""
