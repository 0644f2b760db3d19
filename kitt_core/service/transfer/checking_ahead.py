"""Documents checked by other processes while an import writes the ones before them.

The importing process finds the candidates, gives them away in portions and takes what comes back in the same
order, so that it does and reports the same as alone. Each worker has one portion, and gets the next when it has
returned that one: so the two never wait for each other to read. Workers are new processes rather than forks: they
inherit neither the store's connection nor a thread's lock.
"""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from kitt_core.errors import KittError
from kitt_core.plugins.records import ImportCandidate
from kitt_core.runs.checking import CheckedDocument
from kitt_core.service.transfer.worker import MOST_BYTES, OUT_OF_MEMORY, Answer, receive, send, unpacked

__all__ = ["Checked", "Workers"]

logger = logging.getLogger(__name__)

_MOST_IN_PORTION: Final = 100
_PROGRAM: Final = (
    "import sys; sys.path[:] = sys.argv[1:]; from kitt_core.service.transfer.worker import serve; serve()"
)

Checked = tuple[ImportCandidate, CheckedDocument | KittError | None]
"""A candidate with its checked document, why it can't be had, or None if it is still to be read and checked."""


class _Portion:
    """Candidates that are given away together."""

    def __init__(self) -> None:
        self.candidates: list[ImportCandidate] = []
        self.requests: list[bytes] = []
        self._size = 0

    def add(self, candidate: ImportCandidate, request: bytes) -> None:
        self.candidates.append(candidate)
        self.requests.append(request)
        self._size += len(request)

    @property
    def is_full(self) -> bool:
        return len(self.candidates) >= _MOST_IN_PORTION or self._size >= MOST_BYTES

    def unchecked(self) -> Iterator[Checked]:
        for candidate in self.candidates:
            yield candidate, None


class Workers:
    """A context manager; at its end no worker is left.

    Args:
        jobs: How many workers there are at most.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._idle: list[_Worker] = []
        self._busy: deque[tuple[_Worker, _Portion]] = deque()
        self._all: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._all:
            worker.end()

    def start(self) -> None:
        """Start the workers, without waiting until they can work."""
        while len(self._all) < self._jobs and (worker := self._new_worker()) is not None:
            self._idle.append(worker)

    def check(self, candidates: Iterable[ImportCandidate]) -> Iterator[Checked]:
        """Yield the candidates in their order; most have been checked by a worker.

        Args:
            candidates: Found as they are needed: at most one portion for each worker, and one more, are ahead of
                what was yielded.
        """
        portion = _Portion()
        for candidate in candidates:
            request = _request(candidate) if self._jobs else None
            if request is None:
                yield from self._finish(portion)
                portion = _Portion()
                yield candidate, None
                continue
            portion.add(candidate, request)
            if portion.is_full:
                yield from self._give(portion)
                portion = _Portion()
        yield from self._finish(portion)

    def _give(self, portion: _Portion) -> Iterator[Checked]:
        """Give a portion to a worker; if none is free, yield what the one that was first asked has checked."""
        if self._busy and len(self._busy) >= self._jobs:
            yield from self._taken(portion)
        elif (worker := self._idle.pop() if self._idle else self._new_worker()) is not None:
            worker.send(portion)
            self._busy.append((worker, portion))
        else:
            yield from self._finish(portion)

    def _finish(self, portion: _Portion) -> Iterator[Checked]:
        """Yield what is being checked, and the portion after it."""
        if self._busy and self._jobs and portion.candidates:
            yield from self._give(portion)
            portion = _Portion()
        while self._busy:
            yield from self._taken(None)
        yield from portion.unchecked()

    def _taken(self, following: _Portion | None) -> Iterator[Checked]:
        """Yield the oldest portion as it was checked; its worker gets the following one before that is used."""
        worker, portion = self._busy.popleft()
        waiting = portion.candidates
        while waiting:
            answers = worker.receive()
            if answers is None:
                yield from self._lost(worker, waiting)
                break
            given, waiting = waiting[: len(answers)], waiting[len(answers) :]
            if not waiting and following is not None:
                worker.send(following)
                self._busy.append((worker, following))
                following = None
            elif not waiting:
                self._idle.append(worker)
            for candidate, answer in zip(given, answers, strict=True):
                yield candidate, None if answer is None else unpacked(answer)
        if following is not None:
            yield from self._give(following)

    def _lost(self, worker: _Worker, waiting: list[ImportCandidate]) -> Iterator[Checked]:
        code = worker.end()
        self._all.remove(worker)
        error = None
        if worker.has_started:
            how = "ran out of memory" if code == OUT_OF_MEMORY else f"ended with {_ending(code)}"
            error = KittError(
                f"the process that was to check it {how}",
                hint="import it again; with --jobs 1 there is no such process",
            )
        else:
            self._work_alone(_ending(code))
        for candidate in waiting:
            yield candidate, error

    def _new_worker(self) -> _Worker | None:
        if not self._jobs:
            return None
        try:
            self._all.append(_Worker())
        except OSError as error:
            self._work_alone(error.strerror or str(error))
            return None
        return self._all[-1]

    def _work_alone(self, reason: str) -> None:
        logger.warning("a process that checks documents cannot be started (%s); this one checks all", reason)
        self._jobs = 0


class _Worker:
    """A process that runs `kitt_core.service.transfer.worker`.

    Attributes:
        has_started: Whether it has sent anything yet.
    """

    def __init__(self) -> None:
        if not sys.executable or getattr(sys, "frozen", False):
            raise OSError("this program is not a Python interpreter")
        self.has_started = False
        # In a session of its own it gets no Ctrl-C: this process ends it, or its input ends with this process.
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, "-c", _PROGRAM, *map(str, sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def send(self, portion: _Portion) -> None:
        with suppress(OSError):  # it has ended, as its answer will show
            send(self._requests, portion.requests)

    def receive(self) -> list[Answer] | None:
        """Return some answers, in the order of the candidates; None if the process has ended."""
        if not self.has_started:
            self.has_started = receive(self._answers) is not None
        return receive(self._answers) if self.has_started else None

    def end(self) -> int:
        """End the process and return how it ended."""
        with suppress(OSError):
            self._requests.close()
        self._process.kill()
        self._answers.close()
        return self._process.wait()


def _request(candidate: ImportCandidate) -> bytes | None:
    """Return what a worker needs; None if the document is to be read here."""
    if not candidate.portable:
        return None
    try:
        request = pickle.dumps(candidate.read)
    except Exception:  # noqa: BLE001 - not so portable after all; reading it here is always possible
        return None
    return request if len(request) <= MOST_BYTES else None


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
