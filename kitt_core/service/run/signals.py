"""Ctrl-C, SIGTERM and SIGHUP during a run: the measurement ends, what was measured is stored, and nothing is lost.

Inside an `Interruptions` block, no signal raises KeyboardInterrupt where that could lose a result. The first one
cancels the measurement. While results are being stored, signals are only noted, but the second one gives up on a
store that does not answer: the run's files are written by then.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self, TypeVar

__all__ = ["Interruptions"]

T = TypeVar("T")

_SIGNALS: Final = [
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
]
Handler = Callable[[int, FrameType | None], Any]


class Interruptions:
    """A context manager that takes over SIGINT, SIGTERM and SIGHUP from Python handlers, in the main thread.

    Signals that are ignored or left to the system stay so: a background job is not ended by a Ctrl-C that is not
    meant for it.

    Attributes:
        received: How many signals were received.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Handler] = {}
        self._cancel: Callable[[], None] | None = None
        self._cancelled = False
        self._tolerated: int | None = None

    def measure(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in an event loop of its own; a signal cancels it.

        Raises:
            KeyboardInterrupt: It was cancelled without a result.
        """
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            task = loop.create_task(work)
            self._cancel = lambda: self._request(loop, task)
            try:
                return self._result(loop, task)
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None
            finally:
                self._cancel = None

    @contextmanager
    def escapable(self) -> Iterator[None]:
        """Let the second signal inside the block raise KeyboardInterrupt: nothing is lost if it ends early."""
        self._tolerated = 1
        try:
            yield
        finally:
            self._tolerated = None

    def __enter__(self) -> Self:
        try:
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    signal.signal(number, self._replacement(number))
                    self._before[number] = handler
        except ValueError:  # not the main thread, which alone may handle signals
            self._before.clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _replacement(self, number: int) -> Handler:
        if number == signal.SIGINT:
            return lambda _, __: self._note()

        def terminate(received: int, frame: FrameType | None) -> None:
            # The previous handler records the signal, then does what Ctrl-C does, which is noted here.
            before = self.received
            try:
                self._before[number](received, frame)
            except KeyboardInterrupt:
                if self.received == before:
                    self._note()
                else:
                    raise

        return terminate

    def _note(self) -> None:
        self.received += 1
        if self._cancel is not None:
            self._cancel()
        elif self._tolerated is not None:
            if not self._tolerated:
                raise KeyboardInterrupt
            self._tolerated -= 1

    def _request(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
        if self._cancelled and self.received > 1:
            # The first one has not even been processed: an engine's code is blocking the event loop.
            raise KeyboardInterrupt
        self._cancelled = True
        loop.call_soon_threadsafe(self._deliver, task)

    def _deliver(self, task: asyncio.Task[Any]) -> None:
        self._cancelled = False
        task.cancel()

    def _result(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[T]) -> T:
        while True:
            try:
                return loop.run_until_complete(task)
            except KeyboardInterrupt:
                if task.done():
                    return task.result()
                task.cancel()
