"""The test server: ``python -m kitt_engines.testing.server --port 0 --ttft 0.05 --gap 0.01``.

The first line that it prints is its URL. In addition to OpenAI's endpoints it has ``/control/requests``
(what it received), ``/control/state`` and ``/control/behaviour`` (a JSON object of fields to change).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
from aiohttp import web

from kitt_engines.openai.requests import PROBING_PROMPT
from kitt_engines.testing.behaviour import SERVERS, Behaviour, Fault, ServerKind, fault_for
from kitt_engines.testing.wire_format import AnswerBytes, error_body, prompt_of, refusal_body, whole_answer

__all__ = ["ScriptedServer", "main"]

_STATUSES: Final = {Fault.UNAUTHORIZED, Fault.NO_MODEL, Fault.BUSY, Fault.ERROR, Fault.UNAVAILABLE}
_FOREVER: Final = 86_400.0
_COMMENT_EVERY: Final = 0.02
_KEPT: Final = 10_000
_UNKNOWN: Final = ServerKind("nobody")


class ScriptedServer:
    """The server's state and handlers.

    Args:
        behaviour: Its initial behaviour.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._records: list[dict[str, Any]] = []
        self._probes: list[dict[str, Any]] = []
        self._count = 0
        self._in_flight = 0

    def application(self) -> web.Application:
        """Return the web application to serve."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._generate)
        app.router.add_post("/v1/completions", self._generate)
        app.router.add_post("/moved/v1/chat/completions", self._generate)
        app.router.add_get("/control/requests", self._requests)
        app.router.add_get("/control/probes", self._probing_requests)
        app.router.add_get("/control/state", self._state)
        app.router.add_post("/control/behaviour", self._change)
        for path in {kind.path for kind in SERVERS.values() if kind.path}:
            app.router.add_get(path, self._version)
        app.on_response_prepare.append(self._sign)
        return app

    async def _sign(self, _: web.Request, response: web.StreamResponse) -> None:
        if self._behaviour.header:
            response.headers["Server"] = self._behaviour.header

    async def _requests(self, _: web.Request) -> web.Response:
        return web.json_response(self._records)

    async def _probing_requests(self, _: web.Request) -> web.Response:
        return web.json_response(self._probes)

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response({"requests": self._count, "in_flight": self._in_flight})

    async def _change(self, request: web.Request) -> web.Response:
        try:
            self._behaviour = self._behaviour.changed(await request.json())
        except (TypeError, ValueError) as error:
            return web.json_response(error_body(str(error), 400), status=400)
        self._count = 0
        self._records = []
        self._probes = []
        return web.json_response({})

    async def _models(self, request: web.Request) -> web.Response:
        refused = self._unauthorized(request)
        if refused is not None:
            return refused
        if self._behaviour.no_model_list:
            return web.json_response(error_body("not found", 404), status=404)
        if self._behaviour.list_answer or self._behaviour.list_status != 200:
            return web.Response(
                text=self._behaviour.list_answer,
                status=self._behaviour.list_status,
                content_type="application/json",
            )
        owner = self._behaviour.owned_by or SERVERS.get(self._behaviour.identity, _UNKNOWN).owned_by
        data = [
            {"id": name, "object": "model", "created": 1, "owned_by": owner, "max_model_len": 4096}
            for name in self._behaviour.models
        ]
        return web.json_response({"object": "list", "data": data})

    async def _version(self, request: web.Request) -> web.Response:
        kind = SERVERS.get(self._behaviour.identity, _UNKNOWN)
        if request.path != kind.path:
            return web.json_response(error_body("not found", 404), status=404)
        return web.json_response({kind.key: self._behaviour.version, **kind.further})

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization", "")
        if not self._behaviour.api_key or given == f"Bearer {self._behaviour.api_key}":
            return None
        # Real servers quote the key; a client must not show it.
        return web.json_response(error_body(f"Incorrect API key provided: {given[7:]}", 401), status=401)

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        arrived = asyncio.get_running_loop().time()
        behaviour = self._behaviour
        body = json.loads(await request.read())
        probing = prompt_of(body) == PROBING_PROMPT  # a script numbers the requests that are measured
        self._count += not probing
        number = 0 if probing else self._count
        record = self._record(request, number, body)
        self._in_flight += 1
        try:
            if behaviour.redirect and request.path.startswith("/v1/"):
                headers = {"Location": behaviour.redirect}
                return web.Response(status=behaviour.redirect_status, headers=headers)
            response = await self._answer(request, body, behaviour, number, arrived)
            record["outcome"] = "answered"
            return response
        finally:
            self._in_flight -= 1

    def _record(self, request: web.Request, number: int, body: Any) -> dict[str, Any]:
        headers = {name: value for name, value in request.headers.items() if name.lower() != "authorization"}
        record = {
            "number": number,
            "path": request.path,
            "headers": headers,
            "has_key": "Authorization" in request.headers,
            "body": body,
            "outcome": "broken off",
        }
        kept = self._records if number else self._probes
        if self._behaviour.record and len(kept) < _KEPT:
            kept.append(record)
        return record

    async def _answer(
        self, request: web.Request, body: Mapping[str, Any], behaviour: Behaviour, number: int, arrived: float
    ) -> web.StreamResponse:
        fault = fault_for(behaviour, number, prompt_of(body))
        for refused in (self._unauthorized(request), _refused(behaviour, body), _failed(behaviour, fault)):
            if refused is not None:  # in older versions of aiohttp an empty response is falsy
                return refused
        if fault is Fault.NEVER:
            await asyncio.sleep(_FOREVER)
        if fault is Fault.RESET:
            _reset(request)
            return web.Response()
        chat = request.path.endswith("/chat/completions")
        if fault is Fault.NOT_STREAMED or not body.get("stream"):
            await _until(arrived + behaviour.ttft)
            return web.json_response(whole_answer(behaviour, body, chat=chat))
        return await _stream(request, behaviour, body, number=number, chat=chat, arrived=arrived, fault=fault)


def _refused(behaviour: Behaviour, body: Mapping[str, Any]) -> web.Response | None:
    for name in behaviour.refuse:
        if name in body:
            status, said = refusal_body(behaviour, name)
            return web.json_response(said, status=status)
    if body.get("model") not in behaviour.models:
        message = f"The model `{body.get('model')}` does not exist."
        return web.json_response(error_body(message, 404), status=404)
    return None


def _failed(behaviour: Behaviour, fault: Fault | None) -> web.Response | None:
    if fault is Fault.WEB_PAGE:
        return web.Response(text="<html><title>Welcome</title></html>", content_type="text/html")
    if fault is Fault.NOT_STREAMED_ERROR:
        return web.json_response(error_body("out of memory", 500))
    if fault not in _STATUSES:
        return None
    status = int(fault)
    headers = {"Retry-After": f"{behaviour.retry_after:g}"} if fault in {Fault.BUSY, Fault.UNAVAILABLE} else {}
    return web.json_response(error_body(f"asked to answer {status}", status), status=status, headers=headers)


async def _stream(
    request: web.Request,
    behaviour: Behaviour,
    body: Mapping[str, Any],
    *,
    number: int,
    chat: bool,
    arrived: float,
    fault: Fault | None,
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": behaviour.content_type, "Cache-Control": "no-cache"})
    await response.prepare(request)
    if behaviour.body:
        await _send_chunks(response, [part.encode() for part in behaviour.body], behaviour, arrived, b"")
        return response
    answer = AnswerBytes.of(behaviour, body, number=number, chat=chat)
    if fault in {Fault.EMPTY, Fault.DONE_ONLY}:
        if fault is Fault.DONE_ONLY:
            await response.write(b"data: [DONE]\n\n")
        return response
    if answer.opening:
        await response.write(answer.opening)
    chunks = answer.chunks if fault is None else answer.chunks[: behaviour.fault_after]
    await _send_chunks(response, chunks, behaviour, arrived, b"" if fault else answer.closing)
    if fault is Fault.MID_ENDLESS:
        while True:
            await response.write(answer.chunks[0])
            await asyncio.sleep(0)
    if fault is not None:
        await _fail_in_mid_stream(request, response, fault)
    elif behaviour.linger:
        await asyncio.sleep(behaviour.linger)
    return response


async def _send_chunks(
    response: web.StreamResponse, chunks: Sequence[bytes], behaviour: Behaviour, arrived: float, closing: bytes
) -> None:
    clock = asyncio.get_running_loop().time
    first = arrived + behaviour.ttft
    sent = 0
    while sent < len(chunks):
        await _until(first + sent * behaviour.gap)
        due = len(chunks)
        if behaviour.gap:
            due = min(due, max(sent + 1, int((clock() - first) / behaviour.gap) + 1))
        ready = chunks[sent] if due == sent + 1 else b"".join(chunks[sent:due])
        sent = due
        await response.write(ready + closing if sent == len(chunks) else ready)


async def _fail_in_mid_stream(request: web.Request, response: web.StreamResponse, fault: Fault) -> None:
    if fault is Fault.MID_ERROR:
        await response.write(b"data: " + json.dumps(error_body("out of memory", 500)).encode() + b"\n\n")
    elif fault is Fault.MID_500:
        await response.write(b"Internal Server Error\n")
    elif fault is Fault.MID_MALFORMED:
        await response.write(b'data: {"choices": [{"delta\n\n')
    elif fault is Fault.MID_RESET:
        _reset(request)
    elif fault is Fault.MID_SILENCE:
        await asyncio.sleep(_FOREVER)
    elif fault is Fault.MID_COMMENTS:
        while True:
            await asyncio.sleep(_COMMENT_EVERY)
            await response.write(b": still here\n\n")


async def _until(moment: float) -> None:
    missing = moment - asyncio.get_running_loop().time()
    if missing > 0:
        await asyncio.sleep(missing)


def _reset(request: web.Request) -> None:
    """Close the connection in such a way that the client sees a reset."""
    transport = request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


async def _serve(behaviour: Behaviour, host: str, port: int, *, until_input_ends: bool) -> None:
    runner = web.AppRunner(
        ScriptedServer(behaviour).application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=4096)
        await site.start()
        bound = runner.addresses[0]
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        if until_input_ends:
            loop.add_reader(sys.stdin.fileno(), stop.set)
        sys.stdout.write(f"http://{shown}:{bound[1]}/v1\n")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await runner.cleanup()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kitt_engines.testing.server",
        description="An OpenAI-compatible server without a model: it sends words at set times.",
        epilog=f"Faults: {', '.join(Fault)}.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on [127.0.0.1]")
    parser.add_argument("--port", type=int, default=8000, help="the port to listen on, 0 for any [8000]")
    parser.add_argument("--until-input-ends", action="store_true", help="stop when standard input ends")
    attrs.resolve_types(Behaviour)
    for each in attrs.fields(Behaviour):
        kind: Any = each.type
        flag, text = f"--{each.name.replace('_', '-')}", each.metadata["help"]
        if kind is bool:
            action = argparse.BooleanOptionalAction if each.default else "store_true"
            parser.add_argument(flag, action=action, help=text, default=each.default)
        elif kind is int or kind is float or kind is str:
            parser.add_argument(flag, type=kind, default=each.default, help=f"{text} [{each.default}]")
        else:
            parser.add_argument(flag, action="append", help=text)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM."""
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    host, port, until_input_ends = given.pop("host"), given.pop("port"), given.pop("until_input_ends")
    try:
        behaviour = Behaviour(**{name: value for name, value in given.items() if value is not None})
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(behaviour, host, port, until_input_ends=until_input_ends))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
