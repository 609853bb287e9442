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
    evaluated  pictures of checkpoints and of costs
    page       one HTML file of a run or several: `runs report`. It is made of
      reading    everything but the rollouts, as far as it can be read
      rollouts   the rollouts a step at a time: packed for the browser, and counted
      plots, pictures, points, charts  which numbers make which picture; averages, bins, ticks; SVG
      sections, results, browser     words and tables; evaluations; the controls of the browser
      markup     HTML that is safe by construction
      assets/    the page's one script and one style

Nothing here imports torch.
"""
