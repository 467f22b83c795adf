"""Read ahead in a thread, so that reading overlaps computing."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

# How often a blocked reader looks whether its consumer has left.
_POLL_SECONDS = 0.1
# How long a leaving consumer waits for the reader to finish its item; a longer one ends by itself later.
_JOIN_SECONDS = 5.0


class _End(NamedTuple):
    """The last thing in the queue: the reader is done, or died of `error`."""

    error: BaseException | None


class _Reader(threading.Thread, Generic[T]):
    """Puts items into a small box, until they end or `stop` is set."""

    def __init__(self, items: Iterable[T], ahead: int) -> None:
        super().__init__(name="cgfast-reader", daemon=True)
        self.box: queue.Queue[T | _End] = queue.Queue(maxsize=ahead)
        self.stop = threading.Event()
        self._items = items

    def run(self) -> None:
        """Read; whatever goes wrong is the last thing in the box."""
        error: BaseException | None = None
        try:
            iterator = iter(self._items)
            for item in iterator:
                self._put(item)
                if self.stop.is_set():
                    break
            if isinstance(iterator, Generator):
                iterator.close()
        except BaseException as caught:  # noqa: BLE001 - handed to the consumer, which raises it
            error = caught
        self._put(_End(error))

    def _put(self, item: T | _End) -> None:
        while not self.stop.is_set():
            try:
                self.box.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return


def prefetch(items: Iterable[T], *, ahead: int = 2) -> Generator[T, None, None]:
    """Yield `items` in order while a thread reads at most `ahead` of them in advance.

    An exception raised by `items` is raised here, after the items before it. Closing the generator stops the
    thread after the item it is reading. Memory: `ahead` + 2 items.
    """
    reader = _Reader(items, ahead)
    reader.start()
    try:
        while True:
            item = reader.box.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        reader.stop.set()
        reader.join(timeout=_JOIN_SECONDS)
