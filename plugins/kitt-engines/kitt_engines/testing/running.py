"""The test server as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from types import TracebackType
from typing import Any, Final, Self
from urllib.request import ProxyHandler, Request, build_opener

import attrs

from kitt_engines.testing.behaviour import Behaviour

__all__ = ["RunningServer"]

_PATIENCE: Final = 180.0  # seconds, for a busy machine


class RunningServer:
    """A test server that runs as long as the context; it also ends with this process, however that ends.

    Args:
        behaviour: What it does at first.

    Attributes:
        behaviour: What it did at first.
        url: Its base URL, with ``/v1``.
        process: The process.
    """

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.url = ""
        self.process: subprocess.Popen[str] | None = None
        self._opener = build_opener(ProxyHandler({}))

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kitt_engines.testing.server", "--port", "0", "--until-input-ends"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # A server that says nothing is ended, so that the read ends too.
        watch = threading.Timer(_PATIENCE, self.process.kill)
        watch.start()
        try:
            line = self.process.stdout.readline() if self.process.stdout else ""
        finally:
            watch.cancel()
        if not line:
            self.stop()
            raise RuntimeError("the test server did not start; what it wrote to standard error says why")
        self.url = line.strip()
        self.configure(**attrs.asdict(self.behaviour))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def root(self) -> str:
        """Its URL without ``/v1``."""
        return self.url.removesuffix("/v1")

    def configure(self, **changes: Any) -> None:
        """Change fields of its `Behaviour`; requests are counted from 1 again, and the records are empty."""
        self._call("/control/behaviour", changes)

    def reset(self) -> None:
        """Make it behave as at first."""
        self.configure(**attrs.asdict(self.behaviour))

    def requests(self) -> list[dict[str, Any]]:
        """Return what it was asked: ``number path headers has_key body outcome``."""
        found: list[dict[str, Any]] = self._call("/control/requests")
        return found

    def state(self) -> dict[str, int]:
        """Return how many ``requests`` have come and how many are ``in_flight``."""
        found: dict[str, int] = self._call("/control/state")
        return found

    def stop(self) -> None:
        """End the process; may be called twice."""
        if self.process is None:
            return
        self.process.kill()
        # Closes the pipes as well.
        self.process.communicate()

    def _call(self, path: str, changes: dict[str, Any] | None = None) -> Any:
        data = None if changes is None else json.dumps(changes).encode()
        request = Request(self.root + path, data=data, headers={"Content-Type": "application/json"})  # noqa: S310 - our own server
        with self._opener.open(request, timeout=_PATIENCE) as response:
            return json.load(response)
