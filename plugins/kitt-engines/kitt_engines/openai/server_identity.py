"""Which server it is, where it tells.

Nothing standardises this. Known servers sign their list of models (``owned_by``) or the header ``Server``, and
each tells its version at a path of its own; who does not sign is asked at the three most common ones.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from attrs import field, frozen

from kitt_engines.openai.responses import capped_body
from kitt_engines.openai.wording import Wording

__all__ = ["ServerIdentity", "identify"]

_PATIENCE: Final = 1.5
"""Seconds for all questions together."""
_LIMIT: Final = 1_048_576


@frozen
class _Probe:
    """Where a server tells its version. ``proof`` is a key that only this server's answer has."""

    path: str
    key: str = "version"
    proof: str | None = None


_PROBES: Final = {
    "vllm": _Probe("/version"),
    "sglang": _Probe("/get_server_info"),
    "llama.cpp": _Probe("/props", key="build_info"),
    "ollama": _Probe("/api/version"),
    "tgi": _Probe("/info", proof="model_id"),
}
_SIGNATURES: Final = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llama.cpp",
    "library": "ollama",
    "organization_owner": "lm-studio",
}
"""What servers write into ``owned_by``."""
_HEADERS: Final = {"llama.cpp": "llama.cpp", "ollama": "ollama"}
_COMMON: Final = ("vllm", "ollama", "tgi")
"""Who is asked if nothing is signed. vLLM's path is used by others too, so that it proves no name."""


@frozen
class ServerIdentity:
    """What the answer to ``/models`` says of the server.

    Attributes:
        header: The header ``Server``.
        entry: The model's entry in the list.
    """

    header: str = ""
    entry: Mapping[str, Any] = field(factory=dict, repr=False)

    @property
    def name(self) -> str | None:
        """The server's name, None if it does not sign."""
        owner = self.entry.get("owned_by")
        if isinstance(owner, str) and owner in _SIGNATURES:
            return _SIGNATURES[owner]
        return _HEADERS.get(self.header.partition("/")[0].strip().lower())


async def identify(
    http: aiohttp.ClientSession, base_url: str, identity: ServerIdentity, wording: Wording
) -> dict[str, Any]:
    """Return what is known of the server: ``name``, ``version``, ``header``, ``max_model_len``; never fails."""
    facts: dict[str, Any] = {}
    name, version = identity.name, None
    # A version is nowhere below /v1.
    root = base_url.removesuffix("/v1")
    asked = [name] if name is not None else list(_COMMON)
    probes = {each: _PROBES[each] for each in asked if each in _PROBES}
    answers = await asyncio.gather(*(_ask(http, root + probe.path) for probe in probes.values()))
    for (candidate, probe), answer in zip(probes.items(), answers, strict=True):
        told = answer.get(probe.key)
        if version is None and isinstance(told, str) and told and (probe.proof is None or probe.proof in answer):
            version = wording(told)
            name = name or (candidate if candidate != "vllm" else None)
    if name is not None:
        facts["name"] = name
    if version is not None:
        facts["version"] = version
    if identity.header:
        facts["header"] = wording(identity.header)
    length = identity.entry.get("max_model_len")
    if type(length) is int:
        facts["max_model_len"] = length
    return facts


async def _ask(http: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    """Return the object at ``url``; an empty one if there is none."""
    try:
        async with asyncio.timeout(_PATIENCE), http.get(url, allow_redirects=False) as response:
            if response.status != 200:
                return {}
            found = json.loads(await capped_body(response, _LIMIT))
    except (aiohttp.ClientError, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
