"""Structures of the Materials Project as a source: a search with the client `mp-api`, and the documents that it finds.

The client gives an answer as a whole; so that memory stays flat, it is asked for ids first and then for the documents of some
ids at a time. They come in the order of the ids.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from cgfast._optional import require
from cgfast.io.json_records import Decoder
from cgfast.io.kept import LOOK_AT
from cgfast.io.records import Record, RecordSource, failed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cgfast.io.formats import Options

__all__ = ["MaterialsProjectQuery", "MaterialsProjectSource", "value_of"]

_ID, _STRUCTURE = "material_id", "structure"
_OURS = ("fields", "all_fields", "chunk_size", "num_chunks", "self")


@dataclass(frozen=True)
class MaterialsProjectQuery:
    """What the Materials Project is asked for.

    criteria: Arguments of ``MPRester.materials.summary.search``. api_key: None for what mp-api finds by itself (the environment
    variable ``MP_API_KEY``, or its settings). chunk_size: Documents asked for at a time.
    """

    criteria: Mapping[str, Any]
    api_key: str | None = field(default=None, repr=False)
    chunk_size: int = 1000

    def __post_init__(self) -> None:
        if not any(value is not None for value in self.criteria.values()):
            message = (
                "materials_project: no criteria; expected some like elements=['Li', 'O'] (deprecated=False for everything)"
            )
            raise ValueError(message)
        if isinstance(self.chunk_size, bool) or not isinstance(self.chunk_size, int) or self.chunk_size < 1:
            message = f"chunk_size is {self.chunk_size!r}: expected a positive integer"
            raise ValueError(message)

    def open(self, options: Options) -> MaterialsProjectSource:
        """Ask for the ids."""
        return MaterialsProjectSource(self, options)

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.criteria.items())


class MaterialsProjectSource(RecordSource):
    """The materials that fit a `MaterialsProjectQuery`."""

    def __init__(self, query: MaterialsProjectQuery, options: Options) -> None:
        self.query = query
        self._rester = _rester(query.api_key)
        self._decoder = Decoder(None, options.on_disorder)
        known = inspect.signature(self._rester.materials.summary.search).parameters
        unknown = [name for name in query.criteria if name not in known or name in _OURS or name.startswith("_")]
        if unknown:
            allowed = ", ".join(name for name in known if name not in _OURS and not name.startswith("_") and name != "kwargs")
            message = f"materials_project: no criterion is called {', '.join(unknown)}: expected some of {allowed}"
            raise ValueError(message)
        self._fields = list(dict.fromkeys([_ID, _STRUCTURE, *(name.partition(".")[0] for name in options.keep)]))
        self._ids = [str(_plain(document, [_ID]).get(_ID)) for document in self._search([_ID], **query.criteria)]
        self._first: list[Record] | None = None
        super().__init__(
            "materials project",
            [],
            self._records,
            keep=options.keep,
            on_disorder=options.on_disorder,
            n_rows=len(self._ids),
            id_source=_ID,
        )

    def columns(self) -> dict[str, str]:
        """Properties that can be kept; only those that are asked for are known."""
        return super().columns() if len(self._fields) > 2 else {}

    def _properties(self) -> Iterator[Mapping[str, Any]]:
        return islice(super()._properties(), LOOK_AT)

    def _records(self) -> Iterator[Record]:
        size = self.query.chunk_size
        for start in range(0, len(self._ids), size):
            if start or self._first is None:
                chunk = self._chunk(self._ids[start : start + size])
                if not start:
                    self._first = chunk  # reading begins with it twice, for the types of columns and for the crystals
            yield from chunk if start else self._first or ()

    def _chunk(self, ids: Sequence[str]) -> list[Record]:
        documents = {}
        for document in self._search(self._fields, material_ids=list(ids), chunk_size=self.query.chunk_size):
            plain = _plain(document, self._fields)
            documents[str(plain.get(_ID))] = plain
        return [self._record(name, documents.get(name)) for name in ids]

    def _record(self, name: str, document: dict[str, Any] | None) -> Record:
        if document is None:
            return failed(name, "the Materials Project gave no document for this id")
        if document.get(_STRUCTURE) is None:
            return failed(name, "its document holds no structure")
        return self._decoder.records({**document, _ID: name}, None)[0]

    def _search(self, fields: list[str], **criteria: Any) -> Sequence[Any]:  # noqa: ANN401 - as mp-api has it
        try:
            found = self._rester.materials.summary.search(**criteria, fields=fields, all_fields=False)
        except Exception as error:  # noqa: BLE001 - mp-api passes on whatever the network and the server cause
            raise _refused(str(self.query), error) from None
        return list(found or ())


def _rester(api_key: str | None) -> Any:  # noqa: ANN401 - the package may not be there
    client = require("mp_api.client", "mp")
    try:
        return client.MPRester(api_key, use_document_model=False, mute_progress_bars=True)
    except Exception as error:  # noqa: BLE001 - as above
        raise _refused("", error) from None


def _refused(asked: str, error: Exception) -> ValueError:
    said = " ".join(re.sub(r"\x1b\[\d*m", "", str(error)).split())[:400] or type(error).__name__
    return ValueError(f"materials_project({asked}): {said}")


def _plain(document: Any, fields: Sequence[str]) -> dict[str, Any]:  # noqa: ANN401 - dicts or models, as mp-api's version has it
    """The fields of a document as objects of JSON."""
    if isinstance(document, Mapping):
        return {name: _simple(document[name]) for name in fields if name in document}
    return {name: _simple(getattr(document, name)) for name in fields if getattr(document, name, None) is not None}


def _simple(value: Any) -> Any:  # noqa: ANN401
    """A value without the classes of pymatgen, emmet and pydantic."""
    if value is None or type(value) in {str, int, float, bool}:
        return value
    if isinstance(value, Mapping):
        return {str(name): _simple(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_simple(one) for one in value]
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    inner = getattr(value, "value", None)  # of an enumeration
    return inner if isinstance(inner, str | int | float) else str(value)


def value_of(text: str) -> Any:  # noqa: ANN401 - whatever mp-api wants
    """A criterion written as text: ``1:`` and ``0:0.5`` are ranges, ``true`` a truth value, ``Li,O`` a list."""
    if re.fullmatch(r"[-+.\deE]*:[-+.\deE]*", text) and text != ":":
        low, _, high = text.partition(":")
        return (_number(low), _number(high))
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if "," in text:
        return [one for one in text.split(",") if one]
    try:
        return int(text)
    except ValueError:
        return text


def _number(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        message = f"{text!r} is no number: expected a range like '1:2.5', '1:' or ':2.5'"
        raise ValueError(message) from None
