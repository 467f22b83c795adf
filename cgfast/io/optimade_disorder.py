"""Disorder in OPTIMADE tables: what stands at sites whose species is no plain element.

OPTIMADE names species in ``species_at_sites`` and says in ``species`` (a list of structs, or JSON text of one) what they
are made of. Nearly all rows are plain: a vectorised look finds the few that are not, and only these are read one by one.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cgfast import elements
from cgfast.io import arrow_lists, cif

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Settled", "is_features", "is_species", "settle", "settle_table", "suspects"]

_NO_ATOM = "vacancy"
_NO = False  # what a null in a mask means


class Settled(NamedTuple):
    """An ordered row in place of a disordered one."""

    symbols: list[str]
    kept: list[int]  # which of its sites are left
    mixed: bool  # a site was shared by species, or partly empty


def is_species(kind: Any) -> bool:  # noqa: ANN401 - an Arrow type
    """Whether a column of this type can be OPTIMADE's ``species``."""
    import pyarrow.types as t

    if t.is_string(kind) or t.is_large_string(kind):
        return True
    if not arrow_lists.is_list(kind) or not t.is_struct(kind.value_type):
        return False
    fields = {one.name: one.type for one in kind.value_type}
    lists = [fields.get("chemical_symbols"), fields.get("concentration")]
    return "name" in fields and all(one is not None and arrow_lists.is_list(one) for one in lists)


def is_features(kind: Any) -> bool:  # noqa: ANN401
    """Whether a column of this type can be OPTIMADE's ``structure_features``."""
    import pyarrow.types as t

    inner = kind.value_type if arrow_lists.is_list(kind) else kind
    return bool(t.is_string(inner) or t.is_large_string(inner))


def suspects(species: Any, features: Any) -> NDArray[np.int64]:  # noqa: ANN401 - Arrow arrays or None
    """Rows that may be disordered, rising: flagged so, or with a species other than a full site of its own name."""
    found = [np.empty(0, np.int64)]
    if features is not None:
        found.append(_flagged(features))
    if species is not None:
        found.append(_mixed_text(species) if not arrow_lists.is_list(species.type) else _mixed_structs(species))
    return np.unique(np.concatenate(found))


def _flagged(features: Any) -> NDArray[np.int64]:  # noqa: ANN401
    import pyarrow.compute as pc

    if not arrow_lists.is_list(features.type):
        return _where(pc.match_substring(features, "disorder"))
    counts, items = arrow_lists.unnest(features)
    return arrow_lists.owners(counts)[_where(pc.equal(items, "disorder"))]


def _mixed_structs(species: Any) -> NDArray[np.int64]:  # noqa: ANN401
    import pyarrow.compute as pc

    counts, items = arrow_lists.unnest(species)
    fields = dict(zip([one.name for one in items.type], items.flatten(), strict=True))
    n_symbols, symbols = arrow_lists.unnest(fields["chemical_symbols"])
    n_parts, parts = arrow_lists.unnest(fields["concentration"])
    mixed = (n_symbols != 1) | (n_parts != 1)
    plain = np.flatnonzero(~mixed)
    symbols = symbols.take(np.flatnonzero(n_symbols[arrow_lists.owners(n_symbols)] == 1)) if mixed.any() else symbols
    parts = parts.take(np.flatnonzero(n_parts[arrow_lists.owners(n_parts)] == 1)) if mixed.any() else parts
    # now both hold one item for each entry of length 1; compare where both have length 1
    named = _spread(n_symbols == 1, pc.fill_null(symbols, "").to_numpy(zero_copy_only=False))
    filled = _spread(n_parts == 1, parts.to_numpy(zero_copy_only=False).astype(np.float64))
    names = pc.fill_null(fields["name"], "").to_numpy(zero_copy_only=False)
    mixed[plain] = (named[plain] != names[plain]) | ~(filled[plain].astype(np.float64) >= cif.MIN_FULL_OCCUPANCY)
    if "attached" in fields and arrow_lists.is_list(fields["attached"].type):
        mixed |= pc.fill_null(pc.list_value_length(fields["attached"]), 0).to_numpy(zero_copy_only=False) > 0
    rows: NDArray[np.int64] = arrow_lists.owners(counts)[mixed]
    return rows


def _spread(where: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[Any]:
    out = np.full(len(where), None, dtype=object)
    out[where] = values
    return out


def _mixed_text(species: Any) -> NDArray[np.int64]:  # noqa: ANN401
    """Rows of JSON text with a species that is not plain. Entries repeat from row to row: each is parsed once."""
    import pyarrow.compute as pc

    listed = pc.fill_null(pc.match_substring_regex(species, r"^\s*\["), _NO)
    rows = np.flatnonzero(listed.to_numpy(zero_copy_only=False))
    counts, entries = arrow_lists.unnest(pc.split_pattern_regex(species.filter(listed), r"\}\s*,\s*\{"))
    entries = entries.dictionary_encode()
    mixed = np.array([not _is_plain(text) for text in entries.dictionary.to_pylist()], dtype=bool)
    if not len(mixed):
        return np.empty(0, np.int64)
    index = entries.indices.to_numpy(zero_copy_only=False)
    found: NDArray[np.int64] = rows[arrow_lists.owners(counts)[mixed[index]]]
    return found


def _is_plain(text: str) -> bool:
    try:
        (one,) = _entries("[{" + text.strip().removeprefix("[").removesuffix("]").strip().strip("{}") + "}]")
        return not one or (one["chemical_symbols"] == [one["name"]] and _full(one) and not one.get("attached"))
    except (ValueError, KeyError, TypeError):
        return False  # whatever it is, the row is looked at as a whole


def _full(one: dict[str, Any]) -> bool:
    (part,) = one["concentration"]
    return float(part) >= cif.MIN_FULL_OCCUPANCY


def _where(mask: Any) -> NDArray[np.int64]:  # noqa: ANN401
    import pyarrow.compute as pc

    return np.flatnonzero(pc.fill_null(mask, _NO).to_numpy(zero_copy_only=False))


def _entries(species: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - a value of the column
    value = json.loads(species) if isinstance(species, str) else species
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        message = "no list of species"
        raise ValueError(message)
    return value


def settle(names: list[str | None], species: Any, *, flagged: bool, on_disorder: str) -> Settled:  # noqa: ANN401
    """What stands at the sites ``names`` of one row.

    Args:
        names: ``species_at_sites``.
        species: The row's value of the column ``species``; None if there is none.
        flagged: Whether ``structure_features`` says "disorder".
        on_disorder: See `cgfast.io.read`; "error" is the caller's to raise.

    Raises:
        cif.Unusable: Disorder that is not to be settled, or cannot be.
    """
    try:
        known = {str(one["name"]): one for one in _entries(species)} if species is not None else {}
    except (ValueError, KeyError, TypeError):
        reason = "species cannot be read: expected a list of entries with name, chemical_symbols, concentration"
        raise cif.Unusable(reason) from None
    if flagged and not all(name in known for name in names):
        reason = "structure_features says disorder, and species does not say of which sites"
        raise cif.Unusable(reason, disorder=on_disorder != "majority")
    symbols, kept = [], []
    mixed = False
    for k, name in enumerate(names):
        if name is None or name not in known:
            symbols.append(name or "")  # judged with all other rows
            kept.append(k)
            continue
        if any(known[name].get("attached") or []):
            reason = f"species {name} has atoms attached that have no positions"
            raise cif.Unusable(reason)
        contents = _contents(name, known[name])
        z = cif.settle(f"of species {name}", contents, on_disorder)
        mixed = mixed or cif.is_mixed(contents)
        if z:
            symbols.append(elements.SYMBOLS[z])
            kept.append(k)
    if not kept:
        reason = "no atoms are left: no site is occupied"
        raise cif.Unusable(reason)
    return Settled(symbols, kept, mixed)


def _contents(name: str, one: dict[str, Any]) -> dict[int, float]:
    symbols, parts = one.get("chemical_symbols"), one.get("concentration")
    fits = isinstance(symbols, list) and isinstance(parts, list) and len(symbols) == len(parts)
    if not symbols or not fits or not all(isinstance(x, int | float) and math.isfinite(x) and x >= 0 for x in parts or ()):
        reason = f"species {name} has chemical_symbols {symbols} and concentration {parts}: expected a number for each symbol"
        raise cif.Unusable(reason[:300])
    contents: dict[int, float] = {}
    for symbol, part in zip(symbols, parts or (), strict=True):
        if symbol == _NO_ATOM:
            continue
        z = elements.atomic_number(symbol) if isinstance(symbol, str) else 0
        if not z:
            reason = f"species {name} holds {str(symbol)[:40]!r}, which is no element"
            raise cif.Unusable(reason)
        contents[z] = contents.get(z, 0.0) + float(part)
    return contents


def settle_table(
    table: Any,  # noqa: ANN401
    names: dict[str, str],
    ids: NDArray[np.str_],
    on_disorder: str,
) -> tuple[Any, dict[int, str], set[int]]:
    """The table with ordered sites in place of disordered ones, the rows where that cannot be, with reasons, and the rows
    where the majority decided.

    ``names`` gives the table's name of each OPTIMADE column that is there, ``ids`` its rows' ids.

    Raises:
        ValueError: A row is disordered and ``on_disorder`` is "error".
    """
    columns = [arrow_lists.column(table, names[name]) if name in names else None for name in ("species", "structure_features")]
    species, features = columns
    rows = suspects(species, features)
    if not rows.size:
        return table, {}, set()
    symbols = arrow_lists.column(table, names["species_at_sites"])
    flagged = set(suspects(None, features).tolist())
    bad: dict[int, str] = {}
    changed: dict[int, Settled] = {}
    mixed: set[int] = set()
    for k in rows.tolist():
        before = symbols[k].as_py()
        if before is None:
            continue  # told with all other rows
        try:
            entries = None if species is None else species[k].as_py()
            settled = settle(before, entries, flagged=k in flagged, on_disorder=on_disorder)
        except cif.Unusable as error:
            if error.disorder and on_disorder == "error":
                message = f"{ids[k]}: {error} (on_disorder='error')"
                raise ValueError(message) from None
            bad[k] = str(error)
            continue
        if settled.mixed:
            mixed.add(k)
        if settled.symbols != before:
            changed[k] = settled
    return _replace_sites(table, names, changed), bad, mixed


def _replace_sites(table: Any, names: dict[str, str], changed: dict[int, Settled]) -> Any:  # noqa: ANN401
    import pyarrow as pa

    if not changed:
        return table
    symbols = table.column(names["species_at_sites"]).to_pylist()
    positions = table.column(names["cartesian_site_positions"]).to_pylist()
    for k, settled in changed.items():
        # a number of positions that does not fit is told with all other rows
        if positions[k] is not None and len(positions[k]) == len(symbols[k]):
            positions[k] = [positions[k][site] for site in settled.kept]
            symbols[k] = settled.symbols
    vectors = pa.list_(pa.list_(pa.float64()))
    for name, values, kind in (
        ("species_at_sites", symbols, pa.list_(pa.string())),
        ("cartesian_site_positions", positions, vectors),
    ):
        table = table.set_column(table.column_names.index(names[name]), names[name], pa.array(values, kind))
    return table
