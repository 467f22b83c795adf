"""One JSON object as records: which kind of structure it is, what its id is, what its properties are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cgfast.io import cif, json_ase, json_jarvis, json_optimade, json_pymatgen
from cgfast.io.batch import printable
from cgfast.io.json_cut import loads
from cgfast.io.kept import lookup
from cgfast.io.records import Record, failed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["COLUMNS", "IDS", "STRUCTURE_FIELDS", "Decoder", "describe_keys", "looks_like_record"]

COLUMNS = ("id", "structure")
STRUCTURE_FIELDS = (
    "structure",
    "atoms",
    "computed_structure_entry",
    "initial_structure",
    "relaxed_structure",
    "final_structure",
    "opt_structure",
)
"""Members that hold a structure: the first that is there counts."""
IDS = ("entry_id", "material_id", "mat_id", "jid", "immutable_id", "structure_id", "id", "task_id", "mp_id", "_id")
_NO_PROPERTIES = frozenset({*STRUCTURE_FIELDS, "@module", "@class", "@version", "composition", "data", "attributes"})
_CLASSES = frozenset({"Structure", "IStructure", "ComputedStructureEntry", "Molecule", "IMolecule"})
_WRONG = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError)


def looks_like_record(value: Any, fields: Sequence[str] = STRUCTURE_FIELDS) -> bool:  # noqa: ANN401
    """Whether this is an object with a structure in it, as far as its names tell."""
    if not isinstance(value, dict):
        return False
    if json_pymatgen.is_structure(value) or json_jarvis.is_atoms(value) or json_optimade.is_entry(value):
        return True
    if json_ase.is_atoms(value) or value.get("@class") in _CLASSES:
        return True
    for field in fields:
        inner = lookup(value, field)
        if isinstance(inner, str) and inner.lstrip().startswith("{"):
            return True
        if isinstance(inner, dict) and (not inner or looks_like_record(inner, ("structure",))):
            return True
    return False


def describe_keys(value: Any) -> str:  # noqa: ANN401
    """What came, in a few words."""
    if isinstance(value, dict):
        names = ", ".join(str(name)[:40] for name in list(value)[:8])
        return f"an object with the keys {names}" if value else "an empty object"
    if isinstance(value, list):
        return f"a list of {len(value)} values" if value else "an empty list"
    return "null" if value is None else f"{str(value)[:40]!r}"


class Decoder:
    """Makes records of parsed objects.

    ``columns`` names the members that hold the ``id`` and the ``structure`` (also inside others: ``output.structure``).
    """

    def __init__(self, columns: Mapping[str, str] | None, on_disorder: str) -> None:
        given = dict(columns or {})
        unknown = sorted(set(given) - set(COLUMNS))
        if unknown:
            message = f"columns has the keys {unknown}: expected some of {list(COLUMNS)} with JSON"
            raise ValueError(message)
        self.fields: tuple[str, ...] = (given["structure"],) if "structure" in given else STRUCTURE_FIELDS
        self._id = given.get("id")
        self._on_disorder = on_disorder

    def records(self, value: Any, key: str | None) -> list[Record]:  # noqa: ANN401 - any JSON
        """The records of one value of the container, at least one.

        A mapping of mappings (MPtrj: material -> frame -> structure) gives a record for each inner one.
        ``key``: what the container calls it, None in a list.
        """
        if isinstance(value, dict) and value and not looks_like_record(value, self.fields):
            inner = list(value.items())
            if any(looks_like_record(one, self.fields) for _, one in inner):
                return [self._one(one, _joined(key, name)) for name, one in inner]
        return [self._one(value, key)]

    def _one(self, value: Any, key: str | None) -> Record:  # noqa: ANN401
        if not isinstance(value, dict):
            return failed(key, f"is {describe_keys(value)}: expected an object with a structure")
        name = key
        try:
            name = self._name(value, key)
            record = self._structure(value)
        except cif.Unusable as error:
            if error.disorder and self._on_disorder == "error":
                message = f"{printable(str(name))}: {error} (on_disorder='error')"
                raise ValueError(message) from None
            return failed(name, str(error))
        except _WRONG as error:
            return failed(name, f"its structure cannot be read: {_sentence(error)}")
        if record is None:
            return failed(name, f"holds no structure that is known, but {describe_keys(value)}")
        return record._replace(id=name)

    def describe(self, value: Any, key: str | None, label: str | None) -> tuple[str, str]:  # noqa: ANN401
        """In words: where the ids of records like this one come from, and of what kind they are."""
        if isinstance(value, dict) and value and not looks_like_record(value, self.fields):
            inner = next((one for one in value.values() if looks_like_record(one, self.fields)), None)
            if inner is not None:
                return "inner key", self._kind(inner)
        return self._id_source(value, key, label), self._kind(value)

    def _id_source(self, value: Any, key: str | None, label: str | None) -> str:  # noqa: ANN401
        if self._id is not None:
            return self._id
        if key is not None:
            return "key"
        for prefix, inside in (("", value), ("data.", value.get("data") if isinstance(value, dict) else None)):
            if isinstance(inside, dict):
                found = [one for one in IDS if _is_name(inside.get(one))]
                if found:
                    return prefix + found[0]
        return "index or file name" if label is not None else "row number"

    def _kind(self, value: Any) -> str:  # noqa: ANN401
        if not isinstance(value, dict):
            return ""
        if json_pymatgen.is_structure(value):
            return "pymatgen structures"
        if json_optimade.is_entry(value):
            return "OPTIMADE structures"
        if json_jarvis.is_atoms(value):
            return "JARVIS atoms"
        if json_ase.is_atoms(value):
            return "ASE atoms"
        for field in self.fields:
            inner = lookup(value, field)
            if isinstance(inner, str):
                return f"{field} as text"
            if isinstance(inner, dict):
                return f"{field}: {self._kind(inner)}"
        return ""

    def _name(self, value: dict[str, Any], key: str | None) -> Any:  # noqa: ANN401
        if self._id is not None:
            found = lookup(value, self._id)
            return found if _is_name(found) else key
        if key is not None:
            return key
        for inside in (value, value.get("data")):
            if isinstance(inside, dict):
                for one in IDS:
                    if one in inside and _is_name(inside[one]):
                        return inside[one]
        return None

    def _structure(self, value: dict[str, Any]) -> Record | None:
        if json_pymatgen.is_structure(value):
            return json_pymatgen.structure(value)
        if json_optimade.is_entry(value):
            return json_optimade.structure(value, self._on_disorder)
        if json_jarvis.is_atoms(value):
            return json_jarvis.atoms(value)
        if json_ase.is_atoms(value):
            return json_ase.atoms(value)
        for field in self.fields:
            inner = value[field] if field in value else lookup(value, field)
            if isinstance(inner, str):
                inner = loads(inner.encode("utf-8", "surrogatepass"))
            if not isinstance(inner, dict):
                continue
            record = self._inner(inner)
            if record is not None:
                return record._replace(properties=_properties(value, record, jarvis=field == "atoms"))
        return None

    def _inner(self, value: dict[str, Any]) -> Record | None:
        """The structure in a member: itself, or that of an entry (``computed_structure_entry``)."""
        if json_pymatgen.is_structure(value):
            return json_pymatgen.structure(value)
        if json_jarvis.is_atoms(value):
            return json_jarvis.atoms(value)
        if json_optimade.is_entry(value):
            return json_optimade.structure(value, self._on_disorder)
        if json_ase.is_atoms(value):
            return json_ase.atoms(value)
        inner = value.get("structure")
        if isinstance(inner, dict) and json_pymatgen.is_structure(inner):
            record = json_pymatgen.structure(inner)
            return record._replace(properties=_properties(value, record))
        return None


def _properties(value: dict[str, Any], record: Record, *, jarvis: bool = False) -> dict[str, Any]:
    """Members beside the structure, then those of ``data``, then the structure's own; the first of a name counts."""
    own = {name: one for name, one in value.items() if name not in _NO_PROPERTIES}
    data = value.get("data")
    if isinstance(data, dict):
        own = {**data, **own}
    if jarvis:
        own = json_jarvis.without_na(own)
    return {**record.properties, **own} if record.properties else own


def _is_name(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, str | int) and not isinstance(value, bool) and value != ""


def _joined(outer: str | None, inner: str) -> str:
    """An id of an inner mapping: its own key where that tells the outer one, as in MPtrj."""
    return inner if outer is None or inner.startswith(outer) else f"{outer}:{inner}"


def _sentence(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"{str(error.args[0])[:60]!r} is missing"
    text = " ".join(str(error).split())[:200]
    return text or type(error).__name__
