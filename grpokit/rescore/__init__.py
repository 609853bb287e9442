"""The saved rollouts of a run under other rewards.

    saved      rollouts.jsonl, a step at a time, as the rewards saw it
    columns    what rollouts.jsonl does not keep, from the run's data set
    advantage  advantages without torch, and which formula gives those that were saved
    compare    what is counted of old and new scores, a group at a time
    rescore    the command's work: score again, compare, write
    gates      limits that a comparison must keep

Nothing here imports torch.
"""
