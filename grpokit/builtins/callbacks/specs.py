"""What core's callbacks say about themselves."""

from __future__ import annotations

from grpokit.api import CallbackSpec

__all__ = ["SPECS"]

_HERE = "grpokit.builtins.callbacks"

SPECS = (
    CallbackSpec(
        name="tensorboard",
        summary="Writes TensorBoard event files into the run's folder.",
        target=f"{_HERE}.tensorboard:TensorBoard",
        config=f"{_HERE}.tensorboard:TensorBoardConfig",
        preflight=f"{_HERE}.tensorboard:preflight",
    ),
    CallbackSpec(
        name="wandb",
        summary="Logs to Weights & Biases; offline where no key is configured.",
        target=f"{_HERE}.wandb:Wandb",
        config=f"{_HERE}.wandb:WandbConfig",
        preflight=f"{_HERE}.wandb:preflight",
    ),
    CallbackSpec(
        name="trackio",
        summary="Logs to trackio: a local database, or a Hugging Face Space if you name one.",
        target=f"{_HERE}.trackio:Trackio",
        config=f"{_HERE}.trackio:TrackioConfig",
        preflight=f"{_HERE}.trackio:preflight",
    ),
    CallbackSpec(
        name="mlflow",
        summary="Logs to MLflow, at the tracking address that MLflow itself would use.",
        target=f"{_HERE}.mlflow:Mlflow",
        config=f"{_HERE}.mlflow:MlflowConfig",
        preflight=f"{_HERE}.mlflow:preflight",
    ),
)
