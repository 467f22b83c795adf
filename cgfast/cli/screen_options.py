"""The options of `cgfast screen`, in the groups that its help shows them in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RUNS = "Long runs"
SHOWN = "What is shown"
SELECTED = "What is selected"
INPUT = "Input"
COMPUTING = "Computing"
CLUSTER = "Beyond one machine"

Inputs = Annotated[list[str], typer.Argument(metavar="INPUT", help="Parquet, JSON, CIF, ...; files, folders, globs.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", "-m", help="Name (see `cgfast models`) or file; may be repeated.", show_default="cgfast/formation-energy"
    ),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Predictions: .parquet or .csv.")]
Keep = Annotated[list[str] | None, typer.Option(help="Input column to carry over; may be repeated.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if any row failed.")]

Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with an interrupted run of the same command.", rich_help_panel=RUNS)
]
Restart = Annotated[bool, typer.Option("--restart", help="Throw the rows of an interrupted run away.", rich_help_panel=RUNS)]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N", help="Only part I of N, into OUT-IofN.parquet; slurm: as the job array says.", rich_help_panel=RUNS
    ),
]
Limit = Annotated[int | None, typer.Option(metavar="N", help="Only the first N rows of the input.", rich_help_panel=RUNS)]

Top = Annotated[int | None, typer.Option(help="Show the N rows with the lowest value.", metavar="N", rich_help_panel=SHOWN)]
By = Annotated[
    str | None,
    typer.Option(help="Column that --top, --best-of and --report go by.", metavar="COLUMN", rich_help_panel=SHOWN),
]
Descending = Annotated[
    bool, typer.Option("--descending", help="--top, --best-of, --report: highest first.", rich_help_panel=SHOWN)
]
Report = Annotated[
    Path | None, typer.Option(help="Report on the finished job, one .html file.", metavar="FILE", rich_help_panel=SHOWN)
]

Where = Annotated[
    str | None,
    typer.Option(help="Only rows with this: 'band_gap_eV > 1'.", metavar="CONDITION", rich_help_panel=SELECTED),
]
BestOf = Annotated[
    str | None,
    typer.Option(
        help="Of neighbouring rows with one value here only the best --by.", metavar="COLUMN", rich_help_panel=SELECTED
    ),
]
Hull = Annotated[
    Path | None,
    typer.Option(help="Computed entries (JSON): adds the energy above hull.", metavar="ENTRIES", rich_help_panel=SELECTED),
]

OnDisorder = Annotated[
    Literal["skip", "majority", "error"],
    typer.Option(help="What to do with partly occupied sites.", rich_help_panel=INPUT),
]
OnIsolated = Annotated[
    Literal["flag", "skip", "error"],
    typer.Option(help="What to do with atoms without a neighbour inside the cutoff.", rich_help_panel=INPUT),
]
OnOverlap = Annotated[
    Literal["flag", "skip", "error"],
    typer.Option(help="What to do with atoms less than 0.5 Å apart.", rich_help_panel=INPUT),
]
OnUnknownElement = Annotated[
    Literal["flag", "skip", "error"],
    typer.Option(help="What to do with elements that no model was trained on.", rich_help_panel=INPUT),
]
TimeLimit = Annotated[
    float,
    typer.Option(help="Seconds for a CIF file that only pymatgen reads.", metavar="SECONDS", rich_help_panel=INPUT),
]
Column = Annotated[
    list[str] | None,
    typer.Option(help="Other name of a column or JSON member: id=material_id.", metavar="OURS=THEIRS", rich_help_panel=INPUT),
]
Format = Annotated[str | None, typer.Option(help="Input format, if the name does not tell.", rich_help_panel=INPUT)]

Device = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:1, or auto: cuda if it can be.", metavar="DEVICE", rich_help_panel=COMPUTING)
]
BatchAtoms = Annotated[
    int | None, typer.Option(help="Atoms per batch of graphs [8192; cuda: 262144].", rich_help_panel=COMPUTING)
]
Threads = Annotated[int | None, typer.Option(help="Threads to compute with.", rich_help_panel=COMPUTING)]
Ties = Annotated[
    Literal["canonical", "shell"] | None,
    typer.Option(help="Rule for equally distant neighbours, in place of the model's.", rich_help_panel=COMPUTING),
]
AtomInit = Annotated[
    Path | None, typer.Option(help="JSON with element features of the 2018 models.", rich_help_panel=COMPUTING)
]

Engine = Annotated[
    Literal["local", "ray"], typer.Option(help="Who computes: this process, or a Ray cluster.", rich_help_panel=CLUSTER)
]
Address = Annotated[
    str | None,
    typer.Option(
        help="The Ray cluster; else RAY_ADDRESS, else one on this machine.", metavar="ADDRESS", rich_help_panel=CLUSTER
    ),
]
NumWorkers = Annotated[
    int | None, typer.Option(help="Ray workers; else as many as there is room for.", metavar="N", rich_help_panel=CLUSTER)
]
GpusPerWorker = Annotated[
    float, typer.Option(help="GPUs for each Ray worker, which then computes there.", metavar="N", rich_help_panel=CLUSTER)
]
