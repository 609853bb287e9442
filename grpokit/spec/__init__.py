"""Pure data: what flows through a step, what a component is, what a recipe and a plan say.

flow        Prompt, Rollout, Scores, Advantages, Selection, LossInputs, LossOutputs, StepRecord
components  DatasetSpec, RewardSpec, AlgorithmSpec, BackendSpec, ModelSpec, ... and their ids
config      the strict base of every configuration model
recipe      the recipe as pydantic models; their descriptions are the reference
plan        what a checked recipe will do: components with versions, arithmetic, memory, findings
contracts   the protocols that components implement
memory      what a backend says about memory: packed weights, shards, an engine's share
stepwork    what a contestant of `grpokit bench step` is given, and what it tells
sampling    from a recipe to how completions are drawn
pids        whether a process that left its number in a file name is still there
"""
