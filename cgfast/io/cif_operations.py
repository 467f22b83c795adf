"""Symmetry operations of a CIF block: those in the file, else those of its space group, else the identity."""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING, Any

from cgfast.io import cif_symmetry, cif_values
from cgfast.io.cif_values import Refused, Unusable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["operations"]

_MAX_OPERATIONS = 384
_OPERATION_TAGS = (
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv.pos_as_xyz",
)
_HALL_TAGS = ("_space_group_name_Hall", "_symmetry_space_group_name_Hall", "_space_group.name_Hall")
_NAME_TAGS = (
    "_space_group_name_H-M_alt",
    "_symmetry_space_group_name_H-M",
    "_space_group.name_H-M_alt",
    "_symmetry.space_group_name_H-M",
)
_NUMBER_TAGS = ("_space_group_IT_number", "_symmetry_Int_Tables_number", "_space_group.IT_number")


def operations(block: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # noqa: ANN401 - gemmi's objects
    """Rotations (M, 3, 3) and translations (M, 3). They are remembered: not to be written into.

    Raises:
        Refused: They cannot be read, or the space group is not known.
        Unusable: There are too many.
    """
    listed = _listed(cif_values.values(block, *_OPERATION_TAGS))
    if len(listed) > _MAX_OPERATIONS:
        reason = f"{len(listed)} symmetry operations: expected at most {_MAX_OPERATIONS}"
        raise Unusable(reason)
    try:
        return _parsed(listed or tuple(_group_operations(block)))
    except ValueError as error:
        raise Refused(str(error)) from None


def _listed(written: list[str]) -> tuple[str, ...]:
    import gemmi

    return tuple(text for text in map(gemmi.cif.as_string, written) if text)


@functools.lru_cache(maxsize=256)
def _parsed(texts: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The files of a folder have few different lists of operations, and parsing one takes longer than all the rest of a CIF."""
    return cif_symmetry.parse_operations(texts)


def _group_operations(block: Any) -> list[str]:  # noqa: ANN401
    import gemmi

    hall, name, number = (cif_values.first_text(block, tags) for tags in (_HALL_TAGS, _NAME_TAGS, _NUMBER_TAGS))
    if hall:
        try:
            return [op.triplet() for op in gemmi.symops_from_hall(hall)]
        except (RuntimeError, ValueError):
            pass  # the Hermann-Mauguin name may still be right
    group = None
    if name:
        alpha, gamma = (
            cif_values.number(cif_values.first_text(block, (f"_cell_angle_{k}",)) or "?") for k in ("alpha", "gamma")
        )
        if math.isfinite(alpha) and math.isfinite(gamma):  # they tell hexagonal from rhombohedral axes
            group = gemmi.find_spacegroup_by_name(name, alpha, gamma)
        else:
            group = gemmi.find_spacegroup_by_name(name)
    if group is None and re.fullmatch(r"\d{1,3}", number) and 1 <= int(number) <= 230:
        group = gemmi.find_spacegroup_by_number(int(number))
    if group is not None:
        return [op.triplet() for op in group.operations()]
    if hall or name or number:
        reason = f"no symmetry operations, and the space group {hall or name or number!r} is not known"
        raise Refused(reason)
    if cif_values.values(block, "_space_group_symop_magn_operation.xyz", "_space_group_symop_magn_operation_xyz"):
        reason = "only magnetic symmetry operations"
        raise Refused(reason)
    return ["x,y,z"]
