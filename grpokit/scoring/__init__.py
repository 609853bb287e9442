"""Calling rewards: by name, in a process that can be killed, and never with a made-up 0.0.

signature   what a reward asks for, and which columns a data set lacks
values      what a reward may return, and what counts as a failure
call        one reward function, called on rows, groups or whole batches
wire        what trainer and worker say to each other, as JSON lines
worker      the process in which one reward runs
memory      how much memory a worker may take
process     the trainer's end of a worker: spawn, talk, kill
strays      processes that left a worker's session
facts       what rewards know from the policy: asked for, measured, handed over
lane        one reward's share of a step: what is answered, lost or still to do
early       scoring that begins while completions are still drawn
scorer      all rewards of a recipe: scores, weights and the total
tables      what they said, by prompt and sample; refusals: why they cannot be called on these rows
totals      which totals of a group are equal
budget      how many failures a run bears
repeats     how much a text repeats itself
rank        Kendall's tau-b and Spearman's rho of counted pairs
"""
