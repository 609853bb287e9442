"""Run directories as people see them: lists, plots, comparisons, and one page that holds a whole run.

    listing    what `runs list` and `runs show` read: small files and the ends of large ones

Nothing here imports torch.
"""
