"""One task, many algorithms: who learns it, how fast, and at what price.

    contestants  `grpo`, `grpo:epsilon_high=0.28` or a recipe's algorithm -> overrides of the recipe
    matrix       contestants x seeds -> checked recipes, each with its run directory
    runs         trains and evaluates what is not there yet
    results      run directories -> results.json
    tables       results -> rows for the terminal, and a Markdown table
    plot         results -> a picture (needs matplotlib)
    cppo/        GRPO against CPPO at equal questions, in the same way
    step/        what one step costs, here and in other trainers: another bench, with files of its own

A run of the bench is a run of the engine like any other. What is reported is read back from the run
directories, so an interrupted bench goes on where it stopped.
"""
