"""A Kubernetes API through Connect Gateway, by the official client's own REST layer: thin verbs, no decisions.

Its typed API classes and its `ApiClient` bring models and pydantic, which cost a cold start (docs/decisions/0003) and are not
needed for these kinds.
Every write carries a precondition; there is no server-side apply: a stale writer must lose.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import urllib3
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request as TokenRequest
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.client.rest import RESTClientObject

from shared.values.codes import ErrorCode
from shared.values.errors import ConflictError, RefusedError, RetryableError, fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.auth.credentials import Credentials

Object = dict[str, Any]

TIMEOUT_SECONDS = (5, 20)
PAGE = 500


class Gateway:
    """Makes calls to clusters by their gateway URL. One connection pool and one token serve them all."""

    def __init__(self, credentials: Credentials) -> None:
        configuration = Configuration()
        configuration.retries = False  # redelivery is what retries
        self._client = RESTClientObject(configuration)
        self._credentials = credentials

    @property
    def identity(self) -> str:
        """Our own e-mail, as the clusters see it."""
        return str(getattr(self._credentials, "service_account_email", "") or "")

    def get(self, url: str, collection: str, name: str) -> Object | None:
        """Return an object; None only when the cluster itself says that this very object is not there.

        A 404 that is not a `Status` naming the object is the gateway's own: its agent is lost, or it does not know the
        membership (yet).
        """
        status, answer = self._call("GET", f"{url}/{collection}/{quote(name, safe='')}", f"reading {name} at {url}")
        if status == 404 and answer.get("kind") == "Status" and (answer.get("details") or {}).get("name") == name:
            return None
        return self._checked(status, answer, f"reading {name} at {url}")

    def list(self, url: str, collection: str, selector: str) -> Iterator[Object]:
        """Give all objects that the label selector selects, page by page: a page is let go before the next is read."""
        token = ""
        while True:
            query = urlencode({"labelSelector": selector, "limit": PAGE} | ({"continue": token} if token else {}))
            what = f"listing {collection} at {url}"
            status, answer = self._call("GET", f"{url}/{collection}?{query}", what)
            page = self._checked(status, answer, what)
            yield from page.get("items") or []
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return

    def create(self, url: str, collection: str, manifest: Object) -> Object:
        """Create an object. Raises ConflictError when one of that name is there."""
        what = f"creating {(manifest.get('metadata') or {}).get('name', manifest['kind'])} at {url}"
        return self._checked(*self._call("POST", f"{url}/{collection}", what, manifest), what)

    def patch(self, url: str, collection: str, name: str, patch: Object) -> Object:
        """Change an object by a merge patch that carries the `resourceVersion` it was made from."""
        what = f"changing {name} at {url}"
        path = f"{url}/{collection}/{quote(name, safe='')}"
        return self._checked(*self._call("PATCH", path, what, patch, "application/merge-patch+json"), what)

    def delete(self, url: str, collection: str, name: str, version: Object) -> bool:
        """Delete the object of this uid and `resourceVersion`; False when it is gone already."""
        what = f"deleting {name} at {url}"
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": version}
        status, answer = self._call("DELETE", f"{url}/{collection}/{quote(name, safe='')}", what, options)
        if status == 404 and answer.get("kind") == "Status" and (answer.get("details") or {}).get("name") == name:
            return False
        self._checked(status, answer, what)
        return True

    def _call(
        self, method: str, url: str, what: str, body: Object | None = None, content: str = "application/json"
    ) -> tuple[int, Object]:
        try:
            if not self._credentials.valid:
                self._credentials.refresh(TokenRequest())
            headers = {"Authorization": f"Bearer {self._credentials.token}", "Accept": "application/json"}
            if body is not None:
                headers["Content-Type"] = content
            response = self._client.request(method, url, headers, body, _request_timeout=TIMEOUT_SECONDS)
            raw = response.read()
        except (urllib3.exceptions.HTTPError, ApiException, GoogleAuthError) as error:
            raise RetryableError(f"{what}: no answer: {error}", ErrorCode.NO_ANSWER) from error
        try:
            answer = json.loads(raw or b"{}")
        except ValueError:
            answer = {"message": raw[:200].decode(errors="replace")}
        return response.status, answer if isinstance(answer, dict) else {}

    def _checked(self, status: int, answer: Object, what: str) -> Object:
        """Return the answer of a call that went well; raise what its refusal means. Secret data is never in a message."""
        if 200 <= status < 300:
            return answer
        by_cluster = answer.get("kind") == "Status"
        told = answer if by_cluster else answer.get("error") or answer
        message = str(told.get("message", ""))[:300] if isinstance(told, dict) else ""
        reason = str(told.get("reason") or told.get("status") or "") if isinstance(told, dict) else ""
        if status == 409:
            raise ConflictError(f"{what}: 409 {reason} {message}", status=status)
        if status == 403 and by_cluster:
            raise RefusedError(f"{what}: the cluster refuses {self.identity}: {message}", status=status)
        if status == 404 and not by_cluster:
            raise RetryableError(
                f"{what}: the gateway does not reach the cluster (404 {message}): its agent may be lost",
                ErrorCode.UNREACHABLE,
                status,
            )
        raise fault(status, "" if by_cluster else reason, message, what)
