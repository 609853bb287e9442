"""Run directories as people see them: lists, plots, comparisons, and one page that holds a whole run.

    listing    what `runs list` and `runs show` read: small files and the ends of large ones
    page       one HTML file of a run or several: `runs report`. It is made of
      reading    everything but the rollouts, as far as it can be read
      rollouts   the rollouts a step at a time: packed for the browser, and counted
      plots, curves, points, charts  which numbers make which picture; averages, bins, ticks; SVG
      sections, results, browser     words and tables; evaluations; the controls of the browser
      markup     HTML that is safe by construction
      assets/    the page's one script and one style

Nothing here imports torch.
"""
