"""GRPO against CPPO at equal questions: the paper's tables 1, 2 and 5, on a task that fits the machine.

    settings  rates -> what is compared, each with the steps that see equally many questions
    paper     the figures of arXiv 2503.22342
    results   the numbers of ``results.json``: ratios of time, and what was forwarded
    tables    results -> rows for the terminal, and Markdown
    plot      results -> a picture (needs matplotlib)

Runs, seeds and intervals are those of ``grpokit bench algorithms``.
"""
