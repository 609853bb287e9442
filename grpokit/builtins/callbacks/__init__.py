"""Callbacks that send a run's numbers to a tracker. Their packages are optional and imported when a run starts.

specs        what they say about themselves
tracker      what they have in common: names, samples, settings without secrets, the place in the run
tensorboard  event files in the run's folder
wandb        Weights & Biases
offline      what its offline files hold
trackio      trackio, on this machine or on a Hugging Face Space
mlflow       MLflow, wherever its tracking address points
"""
