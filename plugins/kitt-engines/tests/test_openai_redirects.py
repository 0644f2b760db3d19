"""Redirections: to another path of the same server once, to another server never."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kitt_core.engine import EngineSession, GenerationRequest
from kitt_core.errors import EngineError
from kitt_engines.testing import RunningServer

With = Callable[..., Any]
MOVED = "/moved/v1/chat/completions"


async def twice(session: EngineSession) -> tuple[list[str], Any]:
    for _ in range(2):
        assert len([chunk async for chunk in session.stream(GenerationRequest("hello", 4)) if chunk.text]) == 4
    return [*session.notices()], session.describe()["redirected_to"]


@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("whole", [True, False])
def test_the_same_server_is_followed_once_and_the_run_says_so(
    with_session: With, server: RunningServer, status: int, whole: bool
) -> None:
    server.configure(redirect=server.root + MOVED if whole else MOVED, redirect_status=status)
    notices, target = with_session(twice)
    assert target == server.root + MOVED
    assert notices == [f"the server redirects requests; they go to {target}"]
    assert [received["path"] for received in server.probes()] == ["/v1/chat/completions", MOVED]
    assert [received["path"] for received in server.requests()] == [MOVED, MOVED]


def test_a_redirection_in_the_middle_is_followed_too(with_session: With, server: RunningServer) -> None:
    async def later(session: EngineSession) -> Any:
        server.configure(redirect=MOVED)
        return await twice(session)

    assert with_session(later)[1] == server.root + MOVED
    assert [received["path"] for received in server.requests()] == ["/v1/chat/completions", MOVED, MOVED]


@pytest.mark.parametrize(
    ("target", "status", "shown"),
    [
        (
            "https://other.example/v1/chat/completions",
            307,
            "redirects to https://other.example/v1/chat/completions",
        ),
        ("//other.example/x", 308, "redirects to //other.example/x, which is another server"),
        ("/v1/completions", 307, "/v1/completions with HTTP 307, which is not followed"),
        (MOVED, 302, "/moved/v1/chat/completions with HTTP 302, which is not followed"),
        ("http://[", 307, "redirects to http://["),
    ],
    ids=["other", "no scheme", "again", "302", "broken"],
)
def test_what_is_not_followed_is_refused_with_the_address(
    with_session: With, server: RunningServer, target: str, status: int, shown: str
) -> None:
    server.configure(redirect=target, redirect_status=status)
    with pytest.raises(EngineError) as caught:
        with_session(twice)
    assert shown in caught.value.message
    assert "--base-url" in str(caught.value.hint)
    assert server.requests() == []


def test_the_key_goes_to_no_other_server(with_session: With, server: RunningServer) -> None:
    with RunningServer() as other:
        server.configure(redirect=other.url + "/chat/completions", api_key="k")
        with pytest.raises(EngineError, match="another server"):
            with_session(twice, api_key="k")
        assert other.probes() + other.requests() == []
