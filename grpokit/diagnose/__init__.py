"""What is going wrong in a run, read from its numbers. No torch.

rows       a step's numbers under one set of names, from our metrics.jsonl or TRL's log history
robust     Theil-Sen slopes and deviations from the median: one wild step changes nothing
history    every number of a run as a series, with windows and a frozen start
evidence   what a monitor hands back
broken     monitors of rewards and gradients that are no numbers, or always the same
groups     monitors of groups that teach nothing
drift      monitors of entropy, KL, clipping, the sampler, truncation, repeats
texts      monitors of what completions say: loops, ends that are missing, one answer for all
pace       monitors of time, gradients that jump, and rewards that stand still
hacking    monitors of a reward that rises for the wrong reason
findings   every finding with its meaning, its thresholds and its remedy
diagnosis  rows in, findings out: ``Diagnosis.add``
rollouts   what saved rollouts add: repeats within a group, reward against length, samples
report     findings as data: ``diagnosis.json`` and ``grpokit doctor RUN --json``
sources    where rows come from: a run's folder, a metrics.jsonl, a trainer_state.json

A monitor is a pure function of the history. It speaks when two windows of 20 rows, the second ten
rows after the first, both pass its threshold.
"""
