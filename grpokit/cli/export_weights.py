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


Run = Annotated[
    str, typer.Argument(help="A run, or a checkpoint of one; `last` is the newest run.")
]
Merged = Annotated[
    bool, typer.Option("--merged", help="A whole model folder: base and adapter in one.")
]
Adapter = Annotated[bool, typer.Option("--adapter", help="The adapter alone, for PEFT.")]
Gguf = Annotated[
    bool, typer.Option("--gguf", help="One file for programs of the llama.cpp family.")
]
Out = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="A new folder; RUN/export/... otherwise.")
]
Step = Annotated[
    str | None,
    typer.Option(
        "--step", "--checkpoint", metavar="STEP", help="A step, `best`, `newest` or `final`."
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        metavar="TYPE", help="With --merged: bfloat16, float16 or float32; the base's otherwise."
    ),
]
Quantize = Annotated[
    str | None,
    typer.Option(metavar="TYPE", help="With --gguf: f32, f16 (default), bf16 or q8_0."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the folder if there is one.")]
Push = Annotated[
    str | None,
    typer.Option(
        metavar="REPO",
        help="Also upload it to this model repository of the hub, private if it is new.",
    ),
]
Public = Annotated[
    bool, typer.Option("--public", help="With --push: everybody may see a new repository.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def export_weights(
    run: Run,
    merged: Merged = False,
    adapter: Adapter = False,
    gguf: Gguf = False,
    out: Out = None,
    step: Step = None,
    dtype: Dtype = None,
    quantize: Quantize = None,
    force: Force = False,
    push: Push = None,
    public: Public = False,
    as_json: Json = False,
) -> None:
    """Write the weights of a run for others, and prove that they are what was trained.

    What was written is read back from the disk with plain transformers, PEFT or a GGUF reader. On
    questions of the recipe it must say what the trained model says, and something else than the base
    model; otherwise nothing is written. The folder gets a model card with measured results.
    """
    form = _form(merged=merged, adapter=adapter, gguf=gguf)
    _check_options(form, dtype=dtype, quantize=quantize, push=push, public=public)
    from grpokit.export.push import check_push, push_folder

    if push is not None:
        check_push(push)
    done = _exported(run, step, form, kind=dtype or quantize or "", out=out, force=force, repo=push)
    if not as_json:
        _show(done)
    address = push_folder(done.folder, push, public=public, say=render.warn) if push else None
    if as_json:
        render.print_json({**done.as_dict(), "pushed": address})
    elif address:
        render.say(f"uploaded to {address}")


def _exported(
    run: str, step: str | None, form: Form, *, repo: str | None, **options: Any
) -> Exported:
    """Finds the run and writes; Ctrl-C ends it between two stages."""
    from grpokit.cli.eval_target import find_policy
    from grpokit.engine.signals import StopFlag
    from grpokit.export.weights import export_run
    from grpokit.registry.catalog import Catalog

    folder, home = find_policy(run, step)
    with StopFlag() as flag:
        return export_run(
            home,
            folder,
            form,
            Catalog.load(),
            repo=repo or "",
            say=render.warn,
            poll=flag.poll,
            **options,
        )


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
        "--public": given["public"] and given["push"] is None and "is for --push",
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
