"""Our rewards in other trainers. Each installed reward has a dotted path there, plugins' too.

names       dotted names: `math/boxed` is `math_boxed`, and `boxed` where only one plugin has it
rows        data set rows as flat columns and back, without loss
rewards     the rewards of a recipe, scored together, with deadlines and an error budget
together    questions of several threads at the same time, scored as one batch
talk        text and messages of prompts and completions
models      folders of catalogued models
trl         TRL: `grpokit.interop.trl.math_boxed`, and `functions(rewards)`
verl        verl: `pkg://grpokit.interop.verl` with a reward's name, and `compute_score(rewards)`
axolotl     axolotl: TRL's functions, and a transform of data sets
verifiers   verifiers: `grpokit.interop.verifiers:math_boxed`, and `score(rewards)`
openrlhf    OpenRLHF: `reward_func(rewards)` for a file that it loads
files       the file or the line that names one reward in another trainer
"""
