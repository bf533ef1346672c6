"""What counts as an answer of an API, and what everything else means: one rule for all clients.

An answer is a JSON object of the kind that was asked for. An empty body, a web page, a body that was cut off, another
kind of object or a body that is nested too deep proves nothing: RetryableError, never an empty list, never a write that
was done. Refusals and the clients' exceptions become this project's errors here and nowhere else.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException, Timeout
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HTTPTimeout

from shared.values.codes import ErrorCode
from shared.values.errors import ReconcileError, RetryableError, fault
from shared.values.objects import Object
from shared.values.sharing import share_text, share_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.api_core.exceptions import GoogleAPICallError

T = TypeVar("T")

# A cluster of 10,000 needs 20 pages.
MAX_PAGES: Final = 1000
# Of what a cluster sends. A page of 500 Secrets has some 50,000 values; a value of two bytes takes 60 once it is parsed.
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 300_000
TEXTS: Final = {str}
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_CONTAINERS: Final = frozenset({dict, list})  # of parsed JSON, so no subclasses: quicker than isinstance


def unusable(what: str, why: str) -> RetryableError:
    """Return the error for an answer from which nothing may be concluded."""
    return RetryableError(f"{what}: unusable answer: {why}", ErrorCode.UNUSABLE_ANSWER)


def parsed(raw: bytes, most: int, what: str, values: int | None = None) -> Object:
    """Return the JSON object in a body of at most `most` bytes and about `values` values. Raises RetryableError."""
    if len(raw) > most:
        raise unusable(what, f"it has more than {most} bytes")
    if values is not None and raw.count(b",") > values:
        raise unusable(what, f"it has more than {values} values")
    try:
        body = json.loads(raw)
    except RecursionError:
        raise unusable(what, "it is nested too deep") from None
    except ValueError:
        raise unusable(what, f"it is not JSON: {shown(raw)}" if raw.strip() else "it is empty") from None
    if not isinstance(body, dict):
        raise unusable(what, "it is not an object")
    return body


def shown(raw: bytes) -> str:
    """Return the beginning of a body, for a message."""
    return repr(raw[:80].decode(errors="replace"))


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an answer that is not 2xx says. `by_cluster`: a Kubernetes API says it, not Google's gateway before it."""

    status: int
    reason: str
    message: str
    by_cluster: bool = False
    name: str = ""

    @classmethod
    def read(cls, status: int, raw: bytes) -> Refusal:
        """Read a refusal of a Google API (`error`), of a Kubernetes API (`Status`), or of a proxy in between."""
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError):
            return cls(status, "", raw[:200].decode(errors="replace"))
        if not isinstance(body, dict):
            return cls(status, "", "")
        by_cluster = body.get("kind") == "Status"
        error, details = body.get("error"), body.get("details")
        error = error if isinstance(error, dict) and not by_cluster else body
        reason = error.get("reason" if by_cluster else "status")
        name = details.get("name") if by_cluster and isinstance(details, dict) else ""
        message = error.get("message")
        return cls(
            status,
            reason if isinstance(reason, str) else "",
            message[:300] if isinstance(message, str) else "",
            by_cluster,
            name if isinstance(name, str) else "",
        )

    def error(self, what: str) -> ReconcileError:
        """Return this project's error for it. Only Google's canonical codes make a 400 permanent."""
        return fault(self.status, self.reason, self.message, what, by_cluster=self.by_cluster)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Convert the clients' exceptions into this project's errors: google-auth, requests, urllib3, GAPIC, gRPC, Kubernetes.

    The Kubernetes client's REST layer raises an ApiException of its own for TLS alone; it has no status then.
    """
    try:
        yield
    except ReconcileError:
        raise
    except TimeoutError as error:
        raise _not_finished(what, error) from error
    except GoogleAuthError as error:
        raise RetryableError(f"{what}: no token for our identity: {_text(error)}", ErrorCode.NO_IDENTITY) from error
    except (RequestException, HTTPError, OSError) as error:
        code = ErrorCode.TIMED_OUT if _is_timeout(error) else ErrorCode.NO_ANSWER
        raise RetryableError(f"{what}: no answer: {_text(error)}", code) from error
    except (ValueError, RecursionError, AttributeError, TypeError, LookupError) as error:
        # A client could not read the body. GAPIC takes every refusal for `{"error": {…}}` (google.api_core.exceptions).
        raise unusable(what, f"its client could not read it ({_text(error)})") from error
    except Exception as error:
        package = type(error).__module__.split(".")[:2]
        if package == ["google", "protobuf"]:
            raise unusable(what, _text(error)) from error
        if package[0] == "kubernetes":
            raise RetryableError(f"{what}: no answer: {_text(error)}", ErrorCode.NO_ANSWER) from error
        if package == ["google", "api_core"]:
            # The client that raised it has imported this. Functions that use no such client start without gRPC and protobuf.
            from google.api_core.exceptions import GoogleAPICallError, RetryError

            if isinstance(error, GoogleAPICallError):
                raise _of_call(what, error) from error
            if isinstance(error, RetryError):
                raise _not_finished(what, error) from error
        raise


def _not_finished(what: str, error: Exception) -> RetryableError:
    return RetryableError(f"{what}: not finished in time ({_text(error)})", ErrorCode.TIMED_OUT)


def _of_call(what: str, error: GoogleAPICallError) -> ReconcileError:
    """Return the error for a refusal that an official client raises.

    Over REST the exception's class knows the HTTP status alone, and the canonical code is in the body. An operation's
    error has the operation for a response, and its gRPC code (google.rpc.Code) in its class.
    """
    status, code = error.grpc_status_code.name if error.grpc_status_code else "", int(error.code or 0)
    response = getattr(error.response, "content", None)
    if isinstance(response, bytes):
        status = Refusal.read(code, response).reason or status
    return fault(code, status, error.message or "", what)


def _is_timeout(error: BaseException | None) -> bool:
    """Whether an error is, or comes from, time that was used up: urllib3 and requests wrap ours in errors of connections."""
    while error is not None:
        if isinstance(error, Timeout | HTTPTimeout | TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _text(error: BaseException) -> str:
    """Return the words of the innermost cause that has some: clients wrap it in the names of their own classes."""
    text = str(error)
    while isinstance(inner := _cause(error), BaseException):
        error, text = inner, str(inner) or text
    # The Kubernetes client writes `(0)`, `Reason: SSLError` and the words in lines of their own.
    return " ".join(text.removeprefix("(0)").split())[:300]


def _cause(error: BaseException) -> object:
    """Return what requests, urllib3 or google.auth have wrapped, or anything that is no exception."""
    wrapped = (each for each in (getattr(error, "reason", None), *error.args) if isinstance(each, BaseException))
    return next(wrapped, None)


def check_depth(body: Object, what: str) -> None:
    """Raise RetryableError when a body is nested more than MAX_DEPTH deep: code that walks it would fail."""
    level: list[Any] = [body]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise unusable(what, f"it is nested more than {MAX_DEPTH} deep")
        level = [
            inner
            for each in level
            for inner in (each.values() if type(each) is dict else each)
            if type(inner) in _CONTAINERS
        ]


def object_in(answer: Mapping[str, Any], key: str, what: str) -> Object:
    """Return an object inside an answer, empty if it is absent. Raises RetryableError for another type."""
    found = answer.get(key)
    if isinstance(found, dict):
        return found
    if found is not None:
        raise unusable(what, f"{key} is not an object")
    return {}


def text_in(answer: Mapping[str, Any], key: str, what: str) -> str:
    """Return a string inside an answer, empty if it is absent.

    Raises RetryableError for another type, and for an unpaired surrogate: JSON allows one, but no API accepts it in a
    request, so a Secret with this value could never be written.
    """
    found = answer.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise unusable(what, f"{key} is not a text")
    if not found.isascii() and _SURROGATE.search(found):
        raise unusable(what, f"{key} {found!r} has an unpaired surrogate")
    return share_text(found)


def time_in(answer: Mapping[str, Any], key: str, what: str) -> datetime | None:
    """Return an RFC 3339 time inside an answer, None if it is absent. Raises RetryableError for any other text.

    A time without a zone could not be compared.
    """
    text = text_in(answer, key, what)
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise unusable(what, f"{key} is not a time: {error}") from error
    if found.tzinfo is None:
        raise unusable(what, f"{key} {text!r} has no time zone")
    return found


def texts_in(answer: Mapping[str, Any], key: str, what: str) -> dict[str, str]:
    """Return a map of texts inside an answer, such as labels."""
    require_texts(answer, key, what)
    return share_texts(answer.get(key) or {})


def require_texts(answer: Mapping[str, Any], key: str, what: str) -> None:
    """Raise RetryableError unless the value is a map of strings."""
    if {*map(type, object_in(answer, key, what).values())} - TEXTS:
        raise unusable(what, f"{key} has a value that is not a text")


def list_in(answer: Mapping[str, Any], key: str, what: str, kind: type[T]) -> list[T]:
    """Return a list inside an answer, of objects (dict) or texts (str); proto JSON leaves an empty one out.

    Anything else proves nothing: it must not pass for an empty list.
    """
    found = answer.get(key)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, kind) for one in found):
        raise unusable(what, f"{key} is not a list of {'objects' if kind is dict else 'texts'}")
    return found


def require_list_of(answer: Mapping[str, Any], keys: frozenset[str], what: str) -> None:
    """Raise RetryableError unless a Google API's answer is such a list: an empty one is `{}`, and no other object.

    Proto JSON leaves an empty list out, and never writes null for it.
    """
    if answer and not keys & answer.keys():
        raise unusable(what, f"it has none of {', '.join(sorted(keys))}")
    if nulls := [key for key in sorted(keys) if key in answer and answer[key] is None]:
        raise unusable(what, f"{nulls[0]} is not a list: it is null")
