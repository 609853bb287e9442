"""Core's own components. They use nothing but ``grpokit.api``, like a stranger's plugin.

hooks        registers everything below
algorithms   the specs of the named algorithms and their parts
rewards      exact, number, contains, format, length
datasets     inline, jsonl, arithmetic
callbacks    tensorboard, wandb, trackio, mlflow
"""
