"""The engine: one run from its first step to its last, and again after a kill.

    session     builds every heavy object of a run, new or resumed
    progress    what a run has done and what comes next; the feed of both kinds of backend
    loop        one step: generate, score, advantages, select; then its update is taken note of
    halves      what passes between the halves of a step
    ahead       the first round of the next step, drawn while this one trains
    merge       rounds of a step put together, and groups picked out of them
    totals      what a run has used so far
    ranks       the processes that share a run
    order       which rows of the data set make up which step
    metrics     the numbers of one step
    failures    what rewards failed on, the first of each kind
    record      metrics.jsonl and rollouts.jsonl, cut back exactly on resume
    checkpoint  atomic, hashed checkpoints; the newest that verifies
    publish     the trained policy of a complete run
    rundir      the run directory, its lock and its identity
    signals     SIGINT and SIGTERM as a flag that is polled
    observer    what a run tells the terminal and callbacks
    probe       one rollout of the untrained model, for `grpokit plan --probe`

Nothing here imports torch but `ranks`, and that only where several processes meet: tensors come and go
through the backend and the algorithm, which the session resolves by name.
"""
