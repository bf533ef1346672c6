"""Google's REST APIs and a cluster's Kubernetes API, by the operator's session: answers, refusals, pages.

`ops doctor` sends POSTs that change nothing: IAM policies, log entries and access reviews. Its writes to a cluster are dry runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from google.auth.exceptions import GoogleAuthError
from requests.exceptions import RequestException

from ops.doctor import commands
from ops.doctor.findings import Read, Unread
from ops.doctor.observed import Bindings, at
from ops.terminal import one_line
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from google.auth.transport.requests import AuthorizedSession

    T = TypeVar("T")

TIMEOUT_SECONDS: Final = 20
PAGES: Final = 50
MESSAGE: Final = 300


class RefusedError(Exception):
    """An API's refusal. `status` is 0 where there was no answer; `disabled` names an API that is not enabled.

    Without `what` the message is whole: it says itself what was read, and what was answered.
    """

    def __init__(self, what: str, status: int, message: str, disabled: str = "", permission: str = "") -> None:
        text = one_line(message, MESSAGE)
        super().__init__(f"{what}: {status or 'no answer'} {text}".strip() if what else text)
        self.status = status
        self.disabled = disabled
        self.permission = permission


class Api:
    """Google's APIs. An endpoint is Google's own, or CLOUDSDK_API_ENDPOINT_OVERRIDES_<API>, as for gcloud."""

    def __init__(
        self, session: AuthorizedSession, environment: Mapping[str, str], seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._session = session
        self._environment = environment
        self._seconds = seconds  # for each call

    def get(self, api: str, path: str, **query: Any) -> Object:
        """Return the answer to a GET. Raises RefusedError."""
        suffix = f"?{urlencode(query, doseq=True)}" if query else ""
        return self._object("GET", api, f"{path}{suffix}", None)

    def find(self, api: str, path: str) -> Object | None:
        """Return the answer to a GET, None for a 404. Raises RefusedError."""
        try:
            return self.get(api, path)
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def post(self, api: str, path: str, body: Object) -> Object:
        """Return the answer to a POST. Raises RefusedError."""
        return self._object("POST", api, path, body)

    def pages(self, api: str, path: str, key: str, **query: Any) -> list[Object]:
        """Return the objects of all pages. Raises RefusedError, also where a page is not a list of objects."""
        items: list[Object] = []
        token = ""
        for _ in range(PAGES):
            answer = self.get(api, path, **query, **({"pageToken": token} if token else {}))
            page = answer.get(key, [])
            if not isinstance(page, list) or not all(isinstance(one, dict) for one in page):
                raise RefusedError(f"{api} {path}", 200, f"{key} is not a list of objects")
            items += page
            token = str(answer.get("nextPageToken") or "")
            if not token:
                return items
        raise RefusedError(f"{api} {path}", 200, f"more than {PAGES} pages")

    def entries(self, query: Object) -> list[Object]:
        """Return the log entries of one page. Raises RefusedError."""
        found: list[Object] = self.post("logging", "v2/entries:list", query).get("entries") or []
        return found

    def policy(self, api: str, path: str, *, post: bool) -> Bindings:
        """Return the bindings of an IAM policy. Raises RefusedError."""
        body = {"options": {"requestedPolicyVersion": 3}}
        answer = self.post(api, f"{path}:getIamPolicy", body) if post else self.get(api, f"{path}:getIamPolicy")
        found = answer.get("bindings") or []
        return tuple(one for one in found if isinstance(one, dict))

    def _endpoint(self, api: str) -> str:
        override = self._environment.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}", "")
        if not override and api == "pubsub" and (emulator := self._environment.get("PUBSUB_EMULATOR_HOST")):
            override = f"http://{emulator}"
        return (override or f"https://{api}.googleapis.com").rstrip("/")

    def _object(self, method: str, api: str, path: str, body: Object | None) -> Object:
        what = f"{api} {path.partition('?')[0]}"
        url = f"{self._endpoint(api)}/{path}"
        status, answer = call(self._session, method, url, what, body, seconds=self._seconds)
        if status != 200 or not isinstance(answer, dict):
            raise refusal(what, status, answer)
        return answer


class Kubernetes:
    """One cluster's Kubernetes API, through Connect Gateway."""

    def __init__(self, session: AuthorizedSession, url: str) -> None:
        self._session = session
        self._url = url

    def get(self, path: str, name: str = "") -> Object | None:
        """Return an object or a list; None only where the cluster itself says that the object `name` does not exist."""
        what = f"reading {path}"
        status, answer = call(self._session, "GET", f"{self._url}/{path}", what, None)
        if status == 404 and name and at(answer, "kind") == "Status" and at(answer, "details", "name") == name:
            return None
        if status != 200 or not isinstance(answer, dict):
            raise refusal(what, status, answer)
        return answer

    def items(self, path: str) -> tuple[Object, ...]:
        """Return the objects of a list. Raises RefusedError."""
        found = (self.get(path) or {}).get("items")
        if not isinstance(found, list):
            raise RefusedError(f"reading {path}", 200, "items is not a list")
        return tuple(one for one in found if isinstance(one, dict))

    def review(self, kind: str, spec: Object, impersonate: str = "") -> Object:
        """Return the status of an access review, which is never stored. Raises RefusedError."""
        group = "authentication" if kind == "SelfSubjectReview" else "authorization"
        body = {"apiVersion": f"{group}.k8s.io/v1", "kind": kind, **({"spec": spec} if spec else {})}
        path = f"apis/{group}.k8s.io/v1/{kind.lower()}s"
        status, answer = call(
            self._session, "POST", f"{self._url}/{path}", f"asking a {kind}", body, _impersonating(impersonate)
        )
        if status not in {200, 201} or not isinstance(answer, dict):
            raise refusal(f"asking a {kind}", status, answer)
        found: Object = answer.get("status") or {}
        return found

    def dry_run(self, method: str, path: str, body: Object, impersonate: str) -> tuple[int, str]:
        """Return the status and message of a dry-run write."""
        headers = _impersonating(impersonate)
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        what = f"trying {path}"
        status, answer = call(self._session, method, f"{self._url}/{path}?dryRun=All", what, body, headers)
        if status == 0 or status >= 500 or at(answer, "kind") is None:
            raise refusal(what, status, answer)
        return status, str(at(answer, "message") or "")


def attempt(read: Callable[[], T], member: str) -> Read[T]:
    """Return the answer, or why it could not be read; `member` is the operator in IAM's form, for the command that helps."""
    try:
        return read()
    except RefusedError as error:
        if error.disabled:
            project, _, api = error.disabled.partition("/")
            return Unread(str(error), commands.enable(api, project))
        if error.status in {401, 403}:
            return Unread(str(error), _reading_grant(str(error), member), denied=True)
        return Unread(str(error))


def call(  # noqa: PLR0917 - what an HTTP call is made of
    session: AuthorizedSession,
    method: str,
    url: str,
    what: str,
    body: Object | None,
    headers: Mapping[str, str] | None = None,
    seconds: float = TIMEOUT_SECONDS,
) -> tuple[int, Any]:
    """Make one call; the body of the answer is JSON, or else its text. Raises RefusedError without an answer."""
    try:
        response = session.request(method, url, json=body, headers=dict(headers or {}), timeout=seconds)
    except (RequestException, GoogleAuthError) as error:
        raise RefusedError(what, 0, f"from {urlsplit(url).netloc} ({type(error).__name__})") from error
    try:
        return response.status_code, response.json()
    except (ValueError, RecursionError):
        return response.status_code, str(response.text)[:MESSAGE]


def refusal(what: str, status: int, answer: Any) -> RefusedError:
    """Return the refusal that an answer says, Google's or Kubernetes'."""
    if isinstance(answer, str):
        return RefusedError(what, status, answer)
    error = at(answer, "error")
    error = error if isinstance(error, dict) else answer
    details = at(error, "details")
    for detail in details if isinstance(details, list) else []:
        if at(detail, "reason") == "SERVICE_DISABLED":
            consumer = str(at(detail, "metadata", "consumer") or "").removeprefix("projects/")
            return RefusedError(
                what, status, str(at(error, "message")), f"{consumer}/{at(detail, 'metadata', 'service')}"
            )
    return RefusedError(what, status, str(at(error, "message") or ""))


def _impersonating(user: str) -> dict[str, str]:
    return {"Impersonate-User": user} if user else {}


def _reading_grant(text: str, member: str) -> str:
    """Return the command that lets the operator read: IAM policies have a role of their own."""
    project = text.partition("projects/")[2].partition("/")[0].partition(":")[0].partition(" ")[0] or "PROJECT"
    role = "roles/iam.securityReviewer" if "getIamPolicy" in text or "/roles/" in text else "roles/viewer"
    what = text.partition(": ")[0]
    kubernetes = " at https://" in what or "projects/" not in what
    if kubernetes and what.startswith(
        ("reading ", "listing ", "asking ", "trying ")
    ):  # the cluster's or the gateway's refusal
        return "gcloud container fleet memberships generate-gateway-rbac --help"
    return commands.grant("projects", project, member or "user:EMAIL", role)
