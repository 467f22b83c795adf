"""Reading ahead keeps order, bounds memory, passes errors on, and ends its thread."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from cgfast.screening.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Iterator


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cgfast-reader"]


def test_order_and_nothing_lost() -> None:
    assert list(prefetch(range(1000))) == list(range(1000))
    assert readers() == []


def test_reads_ahead_but_not_far() -> None:
    taken = []

    def source() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    items = prefetch(source(), ahead=2)
    assert next(items) == 0
    time.sleep(0.3)
    # One with the consumer, two waiting, one in the reader's hand.
    assert 3 <= len(taken) <= 4
    items.close()
    assert readers() == []
    assert len(taken) <= 5


def test_an_error_comes_after_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        message = "the disk is gone"
        raise OSError(message)

    items = prefetch(source())
    assert next(items) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)
    assert readers() == []


def test_leaving_early_closes_the_source() -> None:
    closed = threading.Event()

    def source() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.set()

    items = prefetch(source())
    next(items)
    items.close()
    assert closed.wait(5.0)
