"""Arguments and options that the commands on models and data share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name (see `cgfast models`), folder or file.")]
Data = Annotated[list[str], typer.Argument(metavar="DATA", help="Structures: Parquet, JSON, CIF, ...; files, folders, globs.")]
Threads = Annotated[int | None, typer.Option(help="Threads to compute with.")]
Ties = Annotated[
    Literal["canonical", "shell"] | None, typer.Option(help="Other rule for equally distant neighbours than the model's.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if any row failed.")]
OnDisorder = Annotated[Literal["skip", "majority", "error"], typer.Option(help="What to do with partly occupied sites.")]
TimeLimit = Annotated[float, typer.Option(help="Seconds for a CIF file that only pymatgen reads.", metavar="SECONDS")]
Column = Annotated[
    list[str] | None, typer.Option(help="Other name of a column or JSON member: id=material_id.", metavar="OURS=THEIRS")
]
Format = Annotated[str | None, typer.Option(help="Input format, if the name does not tell.")]
AtomInit = Annotated[Path | None, typer.Option(help="JSON with element features of the 2018 models.")]


def column_names(pairs: list[str] | None) -> dict[str, str] | None:
    """The mapping that `--column OURS=THEIRS` means. Raises ValueError for anything else."""
    names = {}
    for pair in pairs or ():
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            msg = f"--column: got {pair!r}, expected OURS=THEIRS, for example id=material_id"
            raise ValueError(msg)
        names[ours] = theirs
    return names or None


def default_folder(target: str, kind: str) -> Path:
    """`<target>-<kind>` in the current folder."""
    name = "".join(c if c.isalnum() or c in "_-." else "-" for c in target).strip("-.") or "cgfast"
    return Path(f"{name}-{kind}")


def given_arguments(context: typer.Context) -> list[str]:
    """What stands on the command line, in the order of the help: `DATA`, `--epochs`."""
    return [
        parameter.opts[0] if parameter.param_type_name == "option" else str(parameter.name).upper()
        for parameter in context.command.params
        if getattr(context.get_parameter_source(str(parameter.name)), "name", "") == "COMMANDLINE"
    ]


def one_or_all(inputs: list[str]) -> str | list[str]:
    """A single input as itself, so that messages name it so."""
    return inputs[0] if len(inputs) == 1 else inputs
