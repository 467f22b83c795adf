"""Properties that are worked out only when someone asks for them: most readings keep none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cgfast.io.json_records import IDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ID_NAMES", "Later", "id_among"]

ID_NAMES = (*IDS, "sid")
"""Properties that serve as id, the first that is there."""


class Later(Mapping[str, Any]):
    """A mapping that calls ``make`` for its contents when it is first looked at."""

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self._make = make
        self._made: Mapping[str, Any] | None = None

    @property
    def _contents(self) -> Mapping[str, Any]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - properties are of any type
        return self._contents[name]

    def __contains__(self, name: object) -> bool:
        return name in self._contents

    def __iter__(self) -> Iterator[str]:
        return iter(self._contents)

    def __len__(self) -> int:
        return len(self._contents)


def id_among(properties: Mapping[str, Any]) -> str | None:
    """The id that the properties of a structure hold: text or an integer; None if there is none."""
    for name in ID_NAMES:
        value = properties.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    return None
