"""Rewards by models: a judge behind an OpenAI-compatible endpoint, and a reward model in the worker.

hooks      what the plugin registers
config     the settings of ``judge``
judge      the reward ``judge``: one completion, one verdict
question   what the judge is asked: rubric, delimited data, the order how to answer
verdict    what the judge answered, read strictly
client     one request: deadline, retries, what the server says about waiting
purse      what a judge has cost, and how much more it may
store      verdicts and spending in a SQLite file that several processes share
errors     the error of a request, and text of a server made fit to be shown
usage      ``python -m grpokit_rewards_model.usage``: what the judges have cost
scorer     the reward ``reward-model`` and its settings: a sequence classifier
weights    the folder of such a model, checked before it is loaded
tokens     a conversation as tokens, without special tokens of the completion's own making
"""
