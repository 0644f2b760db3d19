"""The engine ``openai`` passes the conformance kit, however its server behaves within the interface."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from kitt_core.testing.engine import EngineContract
from kitt_engines.testing import RunningServer


class _OpenAIContract(EngineContract):
    plugin = "kitt_engines.plugin"
    name = "openai"
    behaviour: ClassVar[dict[str, Any]] = {}
    further: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _prepared(self, server: RunningServer) -> Iterator[None]:
        server.configure(**self.behaviour)
        type(self).options = {"base_url": server.url, **self.further}
        type(self).unusable = {"base_url": server.url, **self.further, "model": "no-such-model"}
        yield
        server.reset()


class TestChat(_OpenAIContract):
    pass


class TestCompletions(_OpenAIContract):
    behaviour: ClassVar[dict[str, Any]] = {"usage": "every", "line_end": "crlf", "api_key": "k-1"}
    further: ClassVar[dict[str, Any]] = {"api": "completions", "api_key": "k-1"}


class TestServerThatRefusesWhatIsOptional(_OpenAIContract):
    behaviour: ClassVar[dict[str, Any]] = {"refuse": ["stream_options", "seed", "ignore_eos"], "line_end": "cr"}
