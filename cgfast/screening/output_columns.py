"""The columns that a job computes: their names, units, and which of them rows are ranked by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgfast.screening.columns import prediction_columns, value_columns
from cgfast.screening.job import empty_table
from cgfast.screening.selection.hull import HULL_COLUMN, HULL_UNIT, Hull

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pyarrow as pa

    from cgfast.io import Reader
    from cgfast.models import PropertyModel
    from cgfast.screening.crystals_reader import CrystalsReader
    from cgfast.screening.job import Job


class OutputColumns:
    """What `models` predict, and the energy above hull if a `hull` (see Hull) is given.

    names: of all prediction columns. values: those that are no deviation. numbers: `names` and that of the hull. units: of
    `numbers`. Raises ValueError for a hull that cannot be had.
    """

    def __init__(self, models: Sequence[PropertyModel], hull: str | os.PathLike[str] | None) -> None:
        self.names = prediction_columns(models)
        self.values = value_columns(models, self.names)
        self.hull = None if hull is None else Hull(hull, self.names)
        self.units = dict(zip(self.names, (column.unit for model in models for column in model.columns), strict=True))
        if self.hull is not None:
            self.units[HULL_COLUMN] = HULL_UNIT
        self.numbers = list(self.units)

    def ranked(self, job: Job, reader: Reader | CrystalsReader) -> str | None:
        """The column that `top` and `best_of` go by; None without them. Raises ValueError if there is no such column."""
        if job.top is None and job.best_of is None:
            return None
        known = hasattr(reader, "kept_schema")  # not so in a reader of one's own making
        return job.top_column(self.numbers, self.values, reader.kept_schema if known else None, kept_is_known=known)

    def schema(self, reader: Reader | CrystalsReader) -> pa.Schema | None:
        """That of the output; None for a reader of one's own making, which does not say what it keeps."""
        return empty_table(self.names, reader.kept_schema, self.hull).schema if hasattr(reader, "kept_schema") else None
