"""``grpokit export RUN``: the weights of a run as a model folder, an adapter or a GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grpokit.cli import render
from grpokit.errors import RecipeError

if TYPE_CHECKING:
    from grpokit.export.weights import Exported
    from grpokit.spec.export import Form

__all__ = ["export_weights"]


def export_weights(
    run: Annotated[
        str, typer.Argument(help="A run, or a checkpoint of one; `last` is the newest run.")
    ],
    merged: Annotated[
        bool, typer.Option("--merged", help="A whole model folder: base and adapter in one.")
    ] = False,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="The adapter alone, for PEFT.")
    ] = False,
    gguf: Annotated[
        bool, typer.Option("--gguf", help="One file for programs of the llama.cpp family.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A new folder; RUN/export/... otherwise.")
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(
            "--step", "--checkpoint", metavar="STEP", help="A step, `best`, `newest` or `final`."
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="With --merged: bfloat16, float16 or float32; the base's otherwise.",
        ),
    ] = None,
    quantize: Annotated[
        str | None,
        typer.Option(metavar="TYPE", help="With --gguf: f32, f16 (default), bf16 or q8_0."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the folder if there is one.")
    ] = False,
    push: Annotated[
        str | None,
        typer.Option(metavar="REPO", help="Also upload it to this model repository of the hub."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="With --push: make a new repository private.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write the weights of a run for others, and prove that they are what was trained.

    What was written is read back from the disk with plain transformers, PEFT or a GGUF reader. On
    questions of the recipe it must say what the trained model says, and something else than the base
    model; otherwise nothing is written. The folder gets a model card with measured results.
    """
    form = _form(merged=merged, adapter=adapter, gguf=gguf)
    _check_options(form, dtype=dtype, quantize=quantize, push=push, private=private)
    from grpokit.cli.eval_target import find_policy
    from grpokit.engine.signals import StopFlag
    from grpokit.export.push import check_push, push_folder
    from grpokit.export.weights import export_run
    from grpokit.registry.catalog import Catalog

    folder, home = find_policy(run, step)
    if push is not None:
        check_push(push)
    with StopFlag() as flag:
        done = export_run(
            home,
            folder,
            form,
            Catalog.load(),
            kind=dtype or quantize or "",
            out=out,
            force=force,
            repo=push or "",
            say=render.warn,
            poll=flag.poll,
        )
    if not as_json:
        _show(done)
    address = push_folder(done.folder, push, private=private, say=render.warn) if push else None
    if as_json:
        render.print_json({**done.as_dict(), "pushed": address})
    elif address:
        render.say(f"uploaded to {address}")


def _form(*, merged: bool, adapter: bool, gguf: bool) -> Form:
    chosen: list[Form] = []
    if merged:
        chosen.append("merged")
    if adapter:
        chosen.append("adapter")
    if gguf:
        chosen.append("gguf")
    if len(chosen) != 1:
        raise RecipeError(
            "name one form" if not chosen else f"--{' and --'.join(chosen)} exclude each other",
            place="grpokit export",
            remedy="use --merged, --adapter or --gguf",
        )
    return chosen[0]


def _check_options(form: Form, **given: Any) -> None:
    wrong = {
        "--dtype": given["dtype"] is not None and form != "merged" and "is for --merged",
        "--quantize": given["quantize"] is not None and form != "gguf" and "is for --gguf",
        "--private": given["private"] and given["push"] is None and "is for --push",
    }
    for option, fact in wrong.items():
        if fact:
            raise RecipeError(
                f"{option} {fact}", place="grpokit export", remedy=f"leave {option} out"
            )


def _show(done: Exported) -> None:
    for line in done.result.proof.get("lines", ()):
        render.say(line)
    for note in done.result.proof.get("notes", ()):
        render.warn(f"note: {note}", "yellow")
    render.say()
    render.table([">bytes", "file"], [(f"{size:,}", name) for name, size in done.files])
    render.say(f"\nwritten to {done.folder}")
