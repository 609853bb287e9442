"""Run directories as people see them: lists, plots, comparisons, and one page that holds a whole run.

    listing    what `runs list` and `runs show` read: small files and the ends of large ones
    series     every number of a run, and what had been spent at each step
    recipes    which runs are seeds of one recipe, and in what the others differ
    curves     ends, efficiency, and unequal lengths at equal expense
    exams      which stored evaluations there are, and the exam that most runs took
    judged     stored evaluations against each other, within questions and over seeds
    compare    all of it as one object
    canvas     matplotlib in our style
    draw       runs over each other as a picture

Nothing here imports torch.
"""
