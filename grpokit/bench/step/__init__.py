"""One step of GRPO, many trainers: what it costs, stage by stage, on the same tokens.

    grid       lengths, group sizes, types of numbers -> cells; which contestants there are
    work       a cell -> the work file: tokens, rewards, advantages, the rows that train
    prepare    brings the model, or makes one of random weights, in a process of its own
    worker     ``python -m``: one contestant on one work file, in a process of its own
    watch      where its time goes, and its memory
    runs       runs what is not there yet, cell by cell, contestant by contestant
    memory     the plan's estimate of the same step
    results    files of the cells -> results.json: medians, ratios, whether the gradients are the same
    tables     results -> tables for the terminal, and a Markdown page
    plot       results -> a picture (needs matplotlib)

A contestant is whatever a plugin registers with ``grpokit_step_benches``. No torch here.
"""
