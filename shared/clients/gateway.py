"""A Kubernetes API through Connect Gateway, by the official client's own REST layer: thin verbs, no decisions.

Its typed API classes and its `ApiClient` bring models and pydantic, which cost a cold start (docs/decisions/0003) and are not
needed for these kinds.
Every write carries a precondition; there is no server-side apply: a stale writer must lose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode, urlsplit

from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject

from shared.clients import answers, deadline
from shared.clients.answers import MAX_PAGES, MAX_VALUES, Refusal, unusable
from shared.clients.request_budget import RequestBudget
from shared.clients.transport import CONNECT_SECONDS, answer_seconds, bound, token_request
from shared.values.codes import ErrorCode
from shared.values.errors import RefusedError, RetryableError
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.auth.credentials import Credentials

PAGE: Final = 500
APPLICATIONS_PAGE: Final = 100  # an Application with its status has up to some 100 kB
# A Kubernetes object has at most 1.5 MiB in etcd. A member cluster may belong to anybody: what it sends is not kept whole.
OBJECT_BYTES: Final = 4 * 2**20
PAGE_BYTES: Final = 16 * 2**20
NOT_SERVED: Final = b"404 page not found"  # an API server's answer for a group that it does not serve: no Status
INSTALLED_KINDS: Final = ("Application",)  # defined by a CustomResourceDefinition
KINDS: Final = {
    "secrets": "Secret",
    "clusterrolebindings": "ClusterRoleBinding",
    "clusterroles": "ClusterRole",
    "subjectaccessreviews": "SubjectAccessReview",
    "applications": "Application",
}


class Gateway:
    """Makes calls to clusters by their gateway URL. One token serves them all, and one connection pool each host."""

    def __init__(self, credentials: Credentials, budget: RequestBudget | None = None) -> None:
        self._credentials = credentials
        self._budget = budget or RequestBudget(0)
        self._tokens = token_request()
        self._clients: dict[str, RESTClientObject] = {}

    @property
    def identity(self) -> str:
        """Our own e-mail, as the clusters see it."""
        return str(getattr(self._credentials, "service_account_email", "") or "")

    def get(self, url: str, collection: str, name: str) -> Object | None:
        """Return an object; None only if the cluster itself answers that this object does not exist.

        A 404 that is not a `Status` naming the object is the gateway's own: its agent is lost, or it does not know the
        membership (yet).
        """
        what = f"reading {name} at {url}"
        status, raw = self._call("GET", f"{url}/{collection}/{quote(name, safe='')}", what)
        deadline.note_read()
        if self._is_missing(status, raw, name):
            return None
        return self._object(status, raw, collection, name, what)

    def list(self, url: str, collection: str, selector: str) -> Iterator[Object]:
        """Yield all objects that the label selector selects; only one page is in memory at a time."""
        what = f"listing {collection} at {url}"
        tokens: set[str] = set()
        token = ""
        limit = APPLICATIONS_PAGE if _kind(collection) == "Application" else PAGE
        while len(tokens) < MAX_PAGES:
            query = urlencode({"labelSelector": selector, "limit": limit} | ({"continue": token} if token else {}))
            status, raw = self._call("GET", f"{url}/{collection}?{query}", what, most=PAGE_BYTES)
            deadline.note_read()
            if status == 404 and raw.strip() == NOT_SERVED and _kind(collection) in INSTALLED_KINDS:
                raise RetryableError(f"{what}: their kind is not installed", ErrorCode.NOT_FOUND, 404)
            page = self._answer(status, raw, what, PAGE_BYTES)
            kind, items = f"{_kind(collection)}List", page.get("items")
            if page.get("kind") != kind or not isinstance(items, list):
                raise unusable(what, f"it is not a {kind}: its kind is {str(page.get('kind'))[:40]!r}")
            for item in items:
                _require_metadata(item, what)
                # Who wrote which field: half of an answer, and nobody reads it.
                item["metadata"].pop("managedFields", None)
            answers.check_depth(page, what)
            yield from items
            token = answers.text_in(answers.object_in(page, "metadata", what), "continue", what)
            if not token:
                return
            if token in tokens:
                break
            tokens.add(token)
        raise unusable(what, "its pages do not end")

    def create(self, url: str, collection: str, manifest: Object) -> Object:
        """Create an object. Raises ConflictError if one of that name exists."""
        name = (manifest.get("metadata") or {}).get("name", "")
        what = f"creating {name or manifest['kind']} at {url}"
        return self._object(*self._call("POST", f"{url}/{collection}", what, manifest), collection, name, what)

    def patch(self, url: str, collection: str, name: str, patch: Object) -> Object:
        """Apply a merge patch that contains the `resourceVersion` that was read."""
        what = f"changing {name} at {url}"
        path = f"{url}/{collection}/{quote(name, safe='')}"
        return self._object(*self._call("PATCH", path, what, patch), collection, name, what)

    def delete(self, url: str, collection: str, name: str, version: Object) -> bool:
        """Delete the object of this uid and `resourceVersion`; False when it is gone already.

        Raises RetryableError when the step's last read is too old, or when the answer does not say that it is done: an
        object that finalizers keep is answered with the object, and stays.
        """
        what = f"deleting {name} at {url}"
        deadline.require_fresh_read(what)
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": version}
        status, raw = self._call("DELETE", f"{url}/{collection}/{quote(name, safe='')}", what, options)
        if self._is_missing(status, raw, name):
            return False
        answer = self._checked(status, raw, what)
        if answer.get("kind") != "Status" or answer.get("status") != "Success":
            self._require(answer, collection, name, what)
            if finalizers := answers.list_in(answer["metadata"], "finalizers", what, str):
                raise RetryableError(
                    f"{what}: it is being deleted, and finalizers keep it ({', '.join(finalizers)[:200]}): let their"
                    " controllers finish, or remove the finalizers",
                    ErrorCode.KEPT_BY_FINALIZERS,
                )
        return True

    def _client(self, url: str) -> RESTClientObject:
        """Return the client for a host: which proxy it uses (HTTPS_PROXY, NO_PROXY) is decided for each."""
        parts = urlsplit(url)
        host = f"{parts.scheme}://{parts.netloc}"
        if host not in self._clients:
            configuration = Configuration(host=host)
            configuration.retries = False  # redelivery is what retries
            client = RESTClientObject(configuration)
            bound(client.pool_manager)
            self._clients[host] = client
        return self._clients[host]

    def _call(
        self, method: str, url: str, what: str, body: Object | None = None, *, most: int = OBJECT_BYTES
    ) -> tuple[int, bytes]:
        """Return status and body of an answer. A 401 is asked again once, with a new token."""
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
        with answers.translated(what):
            answer = self._send(method, url, headers, body, most)
            if answer[0] != 401:
                return answer
            self._credentials.refresh(self._tokens)
            return self._send(method, url, headers, body, most)

    def _send(
        self, method: str, url: str, headers: dict[str, str], body: Object | None, most: int
    ) -> tuple[int, bytes]:
        self._credentials.before_request(self._tokens, method, url, headers)
        timeout = (CONNECT_SECONDS, answer_seconds())
        self._budget.spend()
        deadline.note_gateway_request()
        answer = self._client(url).request(method, url, headers, body, _request_timeout=timeout).response
        try:
            status, raw = answer.status, answer.read(most + 1)
        finally:
            answer.close()  # leaves a connection alone whose answer was read to its end
        if status == 429 and not Refusal.read(status, raw).by_cluster:
            self._budget.exhaust()
        return status, raw

    def _is_missing(self, status: int, raw: bytes, name: str) -> bool:
        if status != 404:
            return False
        refusal = Refusal.read(status, raw)
        return refusal.by_cluster and refusal.name == name

    def _object(self, status: int, raw: bytes, collection: str, name: str, what: str) -> Object:
        answer = self._checked(status, raw, what)
        self._require(answer, collection, name, what)
        return answer

    def _require(self, answer: Object, collection: str, name: str, what: str) -> None:
        """Raise RetryableError unless the answer is an object of the collection's kind, and of this name."""
        if answer.get("kind") != _kind(collection):
            raise unusable(what, f"it is not a {_kind(collection)}: its kind is {str(answer.get('kind'))[:40]!r}")
        if name:
            _require_metadata(answer, what)
            if answer["metadata"]["name"] != name:
                raise unusable(what, f"it is about {answer['metadata']['name'][:80]!r}")
        _require_fields(answer, what)

    def _checked(self, status: int, raw: bytes, what: str) -> Object:
        answer = self._answer(status, raw, what, OBJECT_BYTES)
        answers.check_depth(answer, what)
        return answer

    def _answer(self, status: int, raw: bytes, what: str, most: int) -> Object:
        """Return the answer of a call that went well; raise what its refusal means. Secret data is never in a message."""
        if 200 <= status < 300:
            return answers.parsed(raw, most, what, MAX_VALUES)
        refusal = Refusal.read(status, raw)
        if status == 403 and refusal.by_cluster:
            raise RefusedError(f"{what}: the cluster refuses {self.identity}: {refusal.message}", status=403)
        if status == 404 and not refusal.by_cluster:
            raise RetryableError(
                f"{what}: the gateway does not reach the cluster (404 {refusal.message}): its agent may be lost",
                ErrorCode.UNREACHABLE,
                404,
            )
        raise refusal.error(what)


def _kind(collection: str) -> str:
    return KINDS[collection.rpartition("/")[2]]


def _require_metadata(item: object, what: str) -> None:
    """Raise RetryableError unless an object says which one it is, in which version, with texts for labels."""
    metadata = item.get("metadata") if isinstance(item, dict) else None
    metadata = metadata if isinstance(metadata, dict) else {}
    identity = metadata.get("name"), metadata.get("uid"), metadata.get("resourceVersion")
    if not all(identity) or {*map(type, identity)} != answers.TEXTS:
        raise unusable(what, "an object comes without name, uid or resourceVersion")
    for key in ("labels", "annotations"):
        answers.require_texts(metadata, key, what)


def _require_fields(answer: Object, what: str) -> None:
    """Raise RetryableError where a field that the steps read is of another type than Kubernetes gives it."""
    answers.object_in(answer, "roleRef", what)
    verdict = answers.object_in(answer, "status", what).get("allowed")
    if answer["kind"] == "SubjectAccessReview" and not isinstance(verdict, bool):
        raise unusable(what, "it does not say whether the access is allowed")
    answers.list_in(answer, "subjects", what, dict)
    for rule in answers.list_in(answer, "rules", what, dict):
        for key in ("apiGroups", "resources", "resourceNames", "verbs"):
            answers.list_in(rule, key, what, str)
