"""Rollouts with vLLM: the policy is sampled by another engine than the one that trains it.

config.py       what a recipe may set under ``backend.with.vllm``
preflight.py    what can be known before torch or vLLM is imported
choices.py      what follows from a recipe: adapter or weights, types, log-probs
start.py        from a recipe to a running sampler
rollouts.py     sampling with fresh weights, and one restart
sync.py         trained weights on their way into the engine
scratch.py      the folder through which they go, and those of killed runs
canary.py       whether the engine computes with the weights that it was given
requests.py     our way to sample -> vLLM's parameters; vLLM's answer -> a drawn completion
sampler.py      the protocol of the two engines, and the death of one
engine.py       vLLM in a process of this run
host.py         that process
environment.py  and its environment
server.py       ``vllm serve``, here or on another machine
"""
