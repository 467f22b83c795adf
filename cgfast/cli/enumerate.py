"""`cgfast enumerate`."""

# ruff: noqa: FBT002 - the arguments of a command are its options, as typer has it

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from cgfast.cli.errors import sentences


def enumerate_(
    prototype: Annotated[
        str, typer.Argument(metavar="PROTOTYPE", help="rocksalt, perovskite, ...; AFLOW label or mineral; structure file.")
    ],
    more_sites: Annotated[
        list[str] | None, typer.Argument(metavar="[SITE=SET]...", help="As --sites.", show_default=False)
    ] = None,
    sites: Annotated[
        list[str] | None,
        typer.Option("--sites", "-s", help="Elements, formulas, sets (metals, ...) for a letter: A=Na,K.", metavar="SITE=SET"),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Candidates: .parquet.", show_default=False)] = None,
    volumes: Annotated[str, typer.Option(help="Factors on the estimated volume: 0.9,1.0,1.1.", metavar="V,V,...")] = "1.0",
    repeats: Annotated[bool, typer.Option("--repeats", help="Also one element on several letters.")] = False,
    charge_neutral: Annotated[
        bool, typer.Option("--charge-neutral", help="Only what common oxidation states balance.")
    ] = False,
) -> None:
    """Put elements on the sites of PROTOTYPE, as a table to screen.

    Without --out: the letters of the prototype, or how many candidates --sites make.

    Exit codes: 0 done, 2 bad input, 3 unexpected error.
    """
    with sentences():
        from cgfast.enumeration import enumerate_crystals
        from cgfast.enumeration.prototype_source import open_prototype

        found = open_prototype(prototype)
        given = _sites([*(sites or ()), *(more_sites or ())])
        if out is None and not given:
            for letter, members in found.sites.items():
                own = f", {letter} in the prototype's crystal" if letter in found.elements else ""
                typer.echo(f"{letter}: {len(members)} site{'s' * (len(members) > 1)}{own}")
            return
        candidates = enumerate_crystals(found, given, volumes=_numbers(volumes), repeats=repeats, charge_neutral=charge_neutral)
        if out is None:
            typer.echo(f"{candidates.count().account}; --out FILE.parquet writes them")
            return
        result = candidates.write(out)
        typer.echo(f"wrote {result.out} ({result.seconds:.1f} s)")
        typer.echo(result.account)


def _sites(pairs: list[str]) -> dict[str, str]:
    """Letter -> what may stand there. Blanks divide pairs, too."""
    sites: dict[str, str] = {}
    for pair in " ".join(pairs).split():
        letter, equals, values = pair.partition("=")
        if not (letter and equals and values) or letter in sites:
            why = "is given twice" if letter in sites else "expected LETTER=SET, for example A=Na,K"
            msg = f"--sites: got {pair!r}: {why}"
            raise ValueError(msg)
        sites[letter] = values
    return sites


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        msg = f"--volumes: got {text!r}, expected numbers with commas between them, for example 0.9,1.0,1.1"
        raise ValueError(msg) from None
