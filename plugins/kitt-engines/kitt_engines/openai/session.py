"""The session of the engine ``openai``: requests out, chunks in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import aiohttp

from kitt_core.engine import Chunk, EngineSession, GenerationRequest
from kitt_core.errors import EngineError, EngineLostError
from kitt_engines.openai.client_tokenizer import ClientTokenizer
from kitt_engines.openai.connections import ConnectionReuse, capped_body, redirection, timeouts
from kitt_engines.openai.failures import Failures, Sanitizer, is_connection_failure, message_in
from kitt_engines.openai.notices import BROKEN_CONNECTION, Notices
from kitt_engines.openai.options import OpenAIOptions
from kitt_engines.openai.probing import find_fields
from kitt_engines.openai.requests import RequestBodies, pause_seconds
from kitt_engines.openai.stream import Answer

__all__ = ["OpenAISession"]

_PATHS: Final = {"chat": "/chat/completions", "completions": "/completions"}
_RETRIES: Final = 2
_BUSY: Final = (429, 503)
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_SAME_REQUEST: Final = (307, 308)
"""The redirects that promise to take the same request elsewhere."""
_STARTING: Final = (502, 503, 504)
_POLL: Final = 1.0
_BODY_LIMIT: Final = 65_536
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"
_NOT_A_STREAM: Final = (b"", b"{", b"[", b'"', b"<")
"""How an object, a text or a web page begins; empty if there was nothing."""

_log = logging.getLogger(__name__)


class OpenAISession(EngineSession):
    """A session with a server that was found to have the model.

    Args:
        http: The HTTP client; closed with the session.
        options: The engine's options.
        model: The model's name.
        server: What is known about the server.
        failures: Turns failures into errors.
        tokenizer: Counts the tokens where the server does not.
    """

    concurrent = True
    remote = True

    def __init__(
        self,
        http: aiohttp.ClientSession,
        options: OpenAIOptions,
        model: str,
        *,
        server: Mapping[str, Any],
        failures: Failures,
        tokenizer: ClientTokenizer | None = None,
    ) -> None:
        self.model = model
        self._http = http
        self._options = options
        self._url = options.base_url + _PATHS[options.api]
        self._server = dict(server)
        self.inference_engine = server.get("name")
        self._failures = failures
        self._tokenizer = tokenizer
        self._sanitize: Sanitizer = failures.sanitize
        self._bodies = RequestBodies(options, model)
        self._reuse = ConnectionReuse()
        self._notices = Notices()
        self._signs_of_life = 0
        self._redirected_to: str | None = None

    async def prepare(self) -> None:
        """Find out which fields the server takes and where it wants the requests; no part of any measurement.

        Raises:
            EngineError: The server sends the requests to another server.
        """
        await find_fields(self._post_patiently, self._bodies)

    async def stream(self, request: GenerationRequest) -> AsyncIterator[Chunk]:
        """Send the request; yield a chunk for each event with text and a last one with the token counts.

        The request is sent again, at most twice and only before any part of an answer has arrived, after a
        connection failure and when the server says that it is busy (429, 503). That time is part of the request,
        whose chunks say how often it was sent again.

        Raises:
            EngineError: The request failed.
            EngineLostError: The server can no longer be reached.
        """
        response, retries = await self._send(request)
        reusable = False
        try:
            pending = await self._check_stream(response)
            answer = Answer(self._sanitize, request.max_tokens)
            clock = asyncio.get_running_loop().time
            last_event, events = clock(), 0
            texts: list[str] = []
            while not answer.complete:
                received = pending or await self._receive(response)
                pending = b""
                own_time = True
                for text, reasoning, _ in answer.feed(received) if received else answer.finish():
                    yield Chunk(text=text, reasoning=reasoning, own_time=own_time, retries=retries)
                    own_time = False
                    if self._tokenizer is not None:
                        texts.append(text)
                if answer.events > events:
                    last_event, events = clock(), answer.events
                elif clock() - last_event > self._options.read_timeout:
                    # Comments can keep a connection alive forever, but are not an answer.
                    raise self._failures.of_connection(TimeoutError())
            late = bytearray()
            reusable = await self._reuse.possible(response, late)
            for _ in (*answer.feed(bytes(late)), *answer.finish()):
                pass  # nothing but token counts and errors is expected there
            answer.check_content()
            usage = answer.usage
            if usage is None and self._tokenizer is not None:
                usage = await self._tokenizer.count(request.prompt, "".join(texts))
            if usage is not None:
                yield Chunk(text="", usage=usage)
            self._notices.answered(request, answer)
        finally:
            # A connection on which more may arrive must not serve the next request.
            if reusable:
                response.release()
            else:
                response.close()

    def describe(self) -> Mapping[str, Any]:
        """Return what was measured, and what happened to requests that affects the figures."""
        return {
            "name": "openai",
            "version": version("kitt-engines"),
            "base_url": self._options.base_url,
            "api": self._options.api,
            "streaming": True,
            "server": self._server,
            "temperature": self._options.temperature,
            "extra_body": self._options.extra,
            "tokenizer": None if self._tokenizer is None else self._tokenizer.identity,
            "refused_fields": sorted(self._bodies.refused),
            "redirected_to": self._redirected_to,
            "token_counts_from": self._notices.count_places,
            "answers_ended_early": self._notices.ended_early,
            "retries": self._notices.retries,
            "http_client": f"aiohttp {aiohttp.__version__}",
        }

    def notices(self) -> Sequence[str]:
        """Return what has happened since the last call that affects the figures, one line each."""
        lasting = list(self._bodies.notices)
        if self._redirected_to is not None:
            lasting.append(f"the server redirects requests; they go to {self._redirected_to}")
        return self._notices.take(lasting)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _send(self, request: GenerationRequest) -> tuple[aiohttp.ClientResponse, int]:
        """Return the response, and how often the request was sent before it was answered."""
        without: frozenset[str] = frozenset()
        reasons: list[str] = []
        refusals = 0
        signs_of_life = self._signs_of_life
        while True:
            body = self._bodies.make(request, without=without)
            try:
                response = await self._post(body)
            except (aiohttp.ClientError, OSError) as error:
                if len(reasons) == _RETRIES or not is_connection_failure(error):
                    raise self._failed(error, signs_of_life) from error
                # No wait the first time: the server may just have closed a connection that was kept open.
                await self._pause(len(reasons))
                reasons.append(BROKEN_CONNECTION)
                continue
            self._signs_of_life += 1
            if response.status == 200:
                self._accept(body, without, reasons)
                return response, len(reasons) + refusals
            said = await self._refusal(response)
            if dispensable := self._dispensable(response.status, said, body) - without:
                without |= dispensable
                refusals += 1
                continue
            if response.status not in _BUSY or len(reasons) == _RETRIES:
                raise self._failures.of_status(response.status, said)
            reasons.append(str(response.status))
            await self._pause(len(reasons), response.headers.get("Retry-After"))

    async def _post(self, body: dict[str, Any], patience: float = 0.0) -> aiohttp.ClientResponse:
        """Send ``body``; to where the server redirects it, if that is the same server."""
        silence = max(self._options.read_timeout, patience)
        while True:
            url = self._url
            async with asyncio.timeout(self._options.connect_timeout + silence):  # trickling headers are silence
                response = await self._http.post(
                    url,
                    data=self._bodies.encode(body),
                    allow_redirects=False,
                    timeout=timeouts(self._options.connect_timeout, silence),
                )
            if response.status not in _REDIRECTS:
                return response
            response.close()
            if url == self._url:  # no other request has been redirected in the meantime
                self._follow(response)

    def _follow(self, response: aiohttp.ClientResponse) -> None:
        target = redirection(response)
        known = self._redirected_to is not None
        if target is None or known or response.status not in _SAME_REQUEST:
            raise self._failures.of_redirection(response, target)
        self._url = target
        self._redirected_to = self._sanitize(target)
        _log.warning("the server redirects requests; they go to %s", self._redirected_to)

    async def _post_patiently(self, body: dict[str, Any]) -> aiohttp.ClientResponse:
        """Send ``body`` again while the server is starting, for as long as the user lets it."""
        clock = asyncio.get_running_loop().time
        patience = self._options.wait_for_server
        end = clock() + patience
        while True:
            try:
                response = await self._post(body, patience)
            except (aiohttp.ClientError, OSError):
                if clock() >= end:
                    raise
            else:
                if response.status not in _STARTING or clock() >= end:
                    return response
                response.close()
            await asyncio.sleep(_POLL)

    def _accept(self, body: dict[str, Any], without: frozenset[str], reasons: list[str]) -> None:
        self._bodies.accept(body, without)
        if reasons:
            self._notices.retried(reasons)
        if without:
            self._notices.fields_refused(without)

    def _failed(self, error: BaseException, signs_of_life: int) -> EngineError:
        """Return what ``error`` means: a server that has answered any request in the meantime is not lost."""
        found = self._failures.of_connection(error)
        if isinstance(found, EngineLostError) and self._signs_of_life != signs_of_life:
            return EngineError(found.message, hint=found.hint)
        return found

    async def _refusal(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            return await capped_body(response, _BODY_LIMIT)
        except (aiohttp.ClientError, OSError):  # the status says more than the lost body would
            return b""

    def _dispensable(self, status: int, said: bytes, body: dict[str, Any]) -> frozenset[str]:
        return self._bodies.dispensable(status, message_in(said), body)

    async def _pause(self, times: int, retry_after: str | None = None) -> None:
        self._notices.retries += 1
        await asyncio.sleep(pause_seconds(times, retry_after))

    async def _check_stream(self, response: aiohttp.ClientResponse) -> bytes:
        """Return what was read to see whether it is a stream: where the label says it is not, the bytes decide."""
        kind = response.content_type
        if kind not in {"application/json", "text/html"}:
            return b""
        received = b""
        while not received.strip(_BLANK) and len(received) < _BODY_LIMIT:
            part = await self._receive(response)
            if not part:
                break
            received += part
        if received.strip(_BLANK)[:1] not in _NOT_A_STREAM:
            return received
        try:
            said = received + await capped_body(response, _BODY_LIMIT)
        except (aiohttp.ClientError, OSError) as error:
            raise self._failures.of_connection(error, answered=True) from error
        if kind == "text/html":
            raise EngineError(
                "the server answers with a web page", hint="check --base-url; it usually ends in /v1"
            )
        if b'"choices"' in said:
            raise EngineError(
                "the server does not stream: the whole answer arrives at once, so no token can be timed"
            )
        raise EngineError(f"the server does not answer with a stream: {self._sanitize(message_in(said))}")

    async def _receive(self, response: aiohttp.ClientResponse) -> bytes:
        try:
            received = await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise self._failures.of_connection(error, answered=True) from error
        if received:
            self._signs_of_life += 1
        return received
