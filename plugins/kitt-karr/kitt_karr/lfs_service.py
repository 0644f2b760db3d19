"""The LFS service of a web server: its batch API and the adapter ``basic``, as git-lfs specifies both.

Contents are streamed both ways. Proxies, certificates and headers are what git's configuration says of them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast
from urllib.parse import urljoin, urlsplit, urlunsplit

from kitt_core.errors import KittError
from kitt_core.redaction import without_secrets
from kitt_karr.credentials import Credentials, find_credentials, of_url
from kitt_karr.lfs import LargeFiles, Pointer
from kitt_karr.refusals import RemoteError, remote_errors
from kitt_karr.remote import Remote
from kitt_karr.repository import Repository

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3 import BaseHTTPResponse

__all__ = ["LfsService", "NoLfsServiceError", "service_url"]

_TYPE: Final = "application/vnd.git-lfs+json"
_AT_ONCE: Final = 100
_BLOCK: Final = 1 << 20
_RETRIES: Final = 3
_MOST_ANSWER: Final = 16 << 20
_PATIENCE_SECONDS: Final = 300.0
_NO_SERVICE: Final = frozenset({404, 405, 410, 501})
_WEB: Final = ("http", "https")


class NoLfsServiceError(KittError):
    """The remote has no place for LFS contents; the message says why."""

    exit_code = 1


def service_url(repository: Repository, remote: Remote) -> str | None:
    """Return where the remote's LFS service is: configured, or beside a repository on the web."""
    configured = repository.setting("lfs", "url")
    if remote.name is not None:
        configured = repository.setting(f"remote.{remote.name}", "lfsurl") or configured
    if configured is not None:
        return configured if urlsplit(configured).scheme in _WEB else None
    parts = urlsplit(remote.push_url)
    if parts.scheme not in _WEB:
        return None
    path = parts.path.rstrip("/")
    suffix = "/info/lfs" if path.endswith(".git") else ".git/info/lfs"
    return urlunsplit((parts.scheme, parts.netloc, path + suffix, "", ""))


class LfsService:
    """One service.

    Args:
        url: Its address.
        remote: The repository that it belongs to.
        repository: This side: git's configuration is read there.
    """

    def __init__(self, url: str, remote: Remote, repository: Repository) -> None:
        from dulwich.client import default_urllib3_manager

        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
        self._url = urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))
        self._asking = remote.push_url if urlsplit(remote.push_url).scheme in _WEB else url
        self._shown = without_secrets(self._url)
        self._remote = remote
        self._repository = repository
        self._credentials: Credentials | None = of_url(url) or of_url(self._asking)
        with remote_errors(self._shown):
            config = repository.repo.get_config_stack()
            self._pool = default_urllib3_manager(config, base_url=self._url, timeout=_PATIENCE_SECONDS)

    def send(
        self, pointers: Sequence[Pointer], here: LargeFiles, report: Callable[[int, int], None]
    ) -> tuple[int, list[Pointer]]:
        """Copy what the server lacks; return how many, and those that neither side has.

        Raises:
            NoLfsServiceError: There is no service at this address.
            RemoteError: It cannot be reached, or refuses.
        """
        done, nowhere = 0, []
        for number, (pointer, answer) in enumerate(self._answers("upload", pointers)):
            report(number, len(pointers))
            actions = answer.get("actions") or {}
            if "upload" not in actions:  # it has the content
                self._refuse_error(pointer, answer)
            elif not here.holds(pointer):
                nowhere.append(pointer)
            else:
                self._upload(pointer, here, actions)
                done += 1
        return done, nowhere

    def fetch(
        self, pointers: Sequence[Pointer], here: LargeFiles, report: Callable[[int, int], None]
    ) -> tuple[int, list[Pointer]]:
        """Copy what the server has; return how many, and those that it lacks.

        Raises:
            NoLfsServiceError: There is no service at this address.
            RemoteError: It cannot be reached, or refuses.
        """
        done, nowhere = 0, []
        for number, (pointer, answer) in enumerate(self._answers("download", pointers)):
            report(number, len(pointers))
            action = (answer.get("actions") or {}).get("download")
            if action is None:
                nowhere.append(pointer)
            else:
                self._download(pointer, here, action)
                done += 1
        return done, nowhere

    # The batch API.

    def _answers(self, operation: str, pointers: Sequence[Pointer]) -> Iterator[tuple[Pointer, Mapping[str, Any]]]:
        for start in range(0, len(pointers), _AT_ONCE):
            wanted = {pointer.oid: pointer for pointer in pointers[start : start + _AT_ONCE]}
            answered = self._batch(operation, list(wanted.values()))
            for oid, pointer in wanted.items():
                if oid not in answered:
                    raise RemoteError(f"{self._shown} says nothing of LFS object {oid[:12]}", hint="try again")
                yield pointer, answered[oid]

    def _batch(self, operation: str, pointers: Sequence[Pointer]) -> dict[str, Mapping[str, Any]]:
        body = {
            "operation": operation,
            "transfers": ["basic"],
            "ref": {"name": self._remote.branch},
            "objects": [{"oid": pointer.oid, "size": pointer.size} for pointer in pointers],
            "hash_algo": "sha256",
        }
        headers = {"Accept": _TYPE, "Content-Type": _TYPE}
        with self._request("POST", f"{self._url}/objects/batch", headers, json.dumps(body).encode()) as response:
            if response.status in _NO_SERVICE:
                raise NoLfsServiceError(f"{self._shown} is no LFS service (HTTP {response.status})")
            self._refuse_status(response, f"the list of LFS objects to {operation}")
            with remote_errors(self._shown):
                answer = json.loads(response.read(_MOST_ANSWER))
        found = answer.get("objects") if isinstance(answer, dict) else None
        if not isinstance(found, list):
            raise NoLfsServiceError(f"{self._shown} does not answer as an LFS service")
        return {str(entry.get("oid")): entry for entry in found if isinstance(entry, dict)}

    def _refuse_error(self, pointer: Pointer, answer: Mapping[str, Any]) -> None:
        error = answer.get("error")
        if isinstance(error, dict):
            reason = error.get("message") or error.get("code")
            raise RemoteError(
                f"{self._shown} refuses LFS object {pointer.oid[:12]}: {reason}",
                hint="who runs it decides what it takes; no branch was moved",
            )

    # Contents.

    def _upload(self, pointer: Pointer, here: LargeFiles, actions: Mapping[str, Any]) -> None:
        href, headers = self._action(actions["upload"])
        given = {name.lower() for name in headers}
        if "content-type" not in given:
            headers["Content-Type"] = "application/octet-stream"
        if "transfer-encoding" not in given:
            headers["Content-Length"] = str(pointer.size)
        with remote_errors(self._shown), here.path(pointer).open("rb") as file:
            response = self._request("PUT", href, headers, file)
        with response:
            self._refuse_status(response, f"LFS object {pointer.oid[:12]}")
        if "verify" in actions:
            href, headers = self._action(actions["verify"])
            body = json.dumps({"oid": pointer.oid, "size": pointer.size}).encode()
            asked = {"Accept": _TYPE, "Content-Type": _TYPE} | headers
            with self._request("POST", href, asked, body) as response:
                self._refuse_status(response, f"LFS object {pointer.oid[:12]}, which it does not find again")

    def _download(self, pointer: Pointer, here: LargeFiles, action: Mapping[str, Any]) -> None:
        href, headers = self._action(action)
        with self._request("GET", href, headers, None) as response, remote_errors(self._shown):
            self._refuse_status(response, f"LFS object {pointer.oid[:12]}")
            stream = cast("BinaryIO", io.BufferedReader(response, _BLOCK))
            stored = here.add(stream.read(_BLOCK), stream, max(pointer.size, 1))
        if stored != pointer:
            raise RemoteError(
                f"{self._shown} sent other bytes for LFS object {pointer.oid[:12]} than were asked for",
                hint="try again; `git lfs fsck` on the server says whether its copy is damaged",
            )

    def _action(self, action: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        href = urljoin(f"{self._url}/", str(action.get("href") or ""))
        if urlsplit(href).scheme not in _WEB:
            raise RemoteError(f"{self._shown} names an address for LFS objects that is not on the web")
        given = action.get("header")
        return href, {str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {}

    # HTTP.

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | BinaryIO | None
    ) -> BaseHTTPResponse:
        with remote_errors(self._shown):
            response = self._once(method, url, headers, body)
            if response.status == 401 and isinstance(body, bytes):
                found = find_credentials(self._asking, self._repository.directory)
                if found is not None and found != self._credentials:
                    response.close()
                    self._credentials = found
                    response = self._once(method, url, headers, body)
        return response

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | BinaryIO | None
    ) -> BaseHTTPResponse:
        from urllib3.util import Retry, make_headers

        sent = {**self._pool.headers, **headers}
        # A name and its password go to the server that they are for, and nowhere else.
        same = urlsplit(url)[:2] == urlsplit(self._url)[:2]
        if self._credentials is not None and same and "authorization" not in {name.lower() for name in headers}:
            known = self._credentials
            sent |= make_headers(basic_auth=f"{known.username}:{known.password}")
        # A file that was read once cannot be sent again.
        repeatable = body is None or isinstance(body, bytes)
        retries = Retry(_RETRIES, raise_on_redirect=False) if repeatable else False
        return self._pool.request(method, url, headers=sent, body=body, preload_content=False, retries=retries)

    def _refuse_status(self, response: BaseHTTPResponse, what: str) -> None:
        if response.status == 401:
            raise RemoteError(
                f"{self._shown} asks for a name and a password, and none that is known here is right (HTTP 401)",
                hint="git's ways are open: a credential helper, ~/.git-credentials, `https://NAME:TOKEN@…`",
            )
        if not 200 <= response.status < 300:
            raise RemoteError(
                f"{self._shown} refused {what} (HTTP {response.status})",
                hint="who runs it decides what it takes; no branch was moved",
            )

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()
