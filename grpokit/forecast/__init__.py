"""What a recipe will meet before it trains: how often the model solves its questions.

dead        the chance that a group's totals are all equal, from more samples than a group has
predict     the share of dead groups in a run's first steps, with an interval
sample      the questions, their completions and scores; a few steps that are thrown away
probe       everything that is said of a recipe before it trains
verdict     will it learn, and if not, why not and which key to change
difficulty  the pass rate of every row, in a file that `dataset.difficulty` reads
"""
