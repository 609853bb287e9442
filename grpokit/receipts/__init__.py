"""Receipts: what a recipe was measured to do, as data that can be checked.

    model    the file's content, strict, and reading it: foreign text, at most a megabyte
    values   a recipe as dotted keys: what decides a result, its hash, what differs
    marks    right and wrong, an answer a bit, and every number that follows from them
    shelf    the receipt beside a recipe
    runs     what a finished run and its saved evaluation say, or why they say nothing
    rescored whether rewards that were edited after a run score as they did
    build    a receipt out of runs
    facts    one line of what is found, and numbers in words
    verify   a receipt against the recipe, the components and the data sets that are here
    again    a receipt against an evaluation or a training run that was done again

Nothing here imports torch.
"""
