"""The client of a running local cloud, for other processes: tests, the demo and the commands of `python -m local`."""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from local import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Json = dict[str, Any]
T = TypeVar("T")
PATIENCE = 100.0  # seconds until a wait gives up, on a machine that does much besides
SHORTEST_PAUSE, LONGEST_PAUSE = 0.03, 0.15  # seconds between two tries, more of them in a long wait
FLEET, REGION = "demo-fleet", "europe-west1"


class ControlError(RuntimeError):
    """The cloud refused or failed a call."""


class WrongCallError(ControlError):
    """A part, method or argument that the cloud does not have; the message says which there are."""


class LocalCloud:
    """A running cloud, seen from another process. Every method returns when it is done; clusters take their time.

    Clusters go by their full names (`projects/P/locations/L/clusters/C`), attached ones by their membership's.
    """

    def __init__(self, control: str, token: str, directory: Path) -> None:
        self._control = control
        self._token = token
        self.directory = directory
        self._log_files: dict[str, Path] = {}
        self._no_proxy = urllib.request.ProxyHandler({})
        self._opener = urllib.request.build_opener(self._no_proxy)

    @classmethod
    def from_env(cls, directory: Path | str | None = None) -> LocalCloud:
        """Find the cloud that runs in `directory` (default: $LOCAL_CLOUD, else `.local`)."""
        found = Path(directory or os.environ.get("LOCAL_CLOUD") or ".local").resolve()
        return cls(*environment.find_instance(found), found)

    def do(self, part: str, method: str, *more: Any, **arguments: Any) -> Any:
        """Call a method of a part: `gke`, `fleet`, `projects`, `iam`, `faults`, `eventarc`, `logging`, `run`, `scheduler` or `cloud`."""
        return self._post("do", {"part": part, "method": method, "more": more, "arguments": arguments})

    def reset(self) -> None:
        """Restore the state right after the start, without the clusters of `--seed`."""
        self.do("cloud", "reset")

    def seed(self, document: Json) -> None:
        """Create the clusters of a document (local/seed.py), and return when they exist."""
        self.do("cloud", "seed", document=document)

    def export(self) -> Json:
        """Return the document whose seed creates these clusters."""
        found: Json = self.do("cloud", "export")
        return found

    def parts(self) -> dict[str, dict[str, str]]:
        """What every part offers: part → method → its arguments."""
        found: dict[str, dict[str, str]] = self._call(f"{self._control}/parts", "GET", None, self._token)[1]
        return found

    def set(self, part: str, name: str, value: Any) -> None:
        """Change an attribute of a part; lists become sets where it holds sets."""
        self._post("set", {"part": part, "name": name, "value": value})

    # What is there

    def state(self, *only: str) -> Json:
        """Clusters, memberships, Secrets, queues, dead letters, functions, faults, events, endpoints; or some of these parts."""
        answer: Json = self.do("cloud", "state", *only)
        return answer

    def secrets(self) -> list[Json]:
        """The Secrets in Argo CD's namespace: name, uid, resourceVersion, labels, annotations, data.name, data.server."""
        found: list[Json] = self.state("secrets")["secrets"]
        return found

    def secret(self, cluster: str) -> Json | None:
        """The Secret whose annotation names a cluster (or a membership), if there is one."""
        for secret in self.secrets():
            notes = secret["annotations"] or {}
            if cluster in (notes.get("fleet-registrar/cluster"), notes.get("fleet-registrar/membership")):
                return secret
        return None

    def calls(self, since: float = 0.0) -> list[Json]:
        """Calls that ended at `since` (seconds since the epoch) or later: at, api, method, path, query, caller, status, seconds."""
        found: list[Json] = self.do("cloud", "calls_since", at=since)
        return found

    def quiet(self) -> bool:
        """Whether nothing is on its way: no event, no message to a function, no operation (embedded Pub/Sub only)."""
        return bool(self.do("cloud", "quiet"))

    def wait_for(self, condition: Callable[[], T], timeout: float = PATIENCE, what: str = "") -> T:
        """Return what `condition` gives as soon as that is true; TimeoutError with the state of things if it never is."""
        deadline = time.monotonic() + timeout
        pause = SHORTEST_PAUSE
        while not (value := condition()):
            if time.monotonic() > deadline:
                state = self.state()
                seen = {key: state[key] for key in ("clusters", "memberships", "secrets", "queues")}
                missed = f"{what or 'what was waited for'} did not happen within {timeout:g} s"
                raise TimeoutError(f"{missed}; there is:\n{json.dumps(seen, indent=1)}")
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.2)
        return value

    def wait_quiet(self, timeout: float = PATIENCE) -> None:
        """Wait until nothing is on its way."""
        self.wait_for(self.quiet, timeout, "quiet")

    # Clusters

    def create_cluster(
        self,
        name: str,
        location: str = REGION,
        project: str = FLEET,
        labels: dict[str, str] | None = None,
        *,
        autopilot: bool = False,
        fleet: str | None = None,
        seconds: float | None = None,
    ) -> str:
        """Start to make a GKE cluster and return its full name; `fleet` is the project that `--enable-fleet` would name."""
        cluster: Json = {"name": name, "resourceLabels": labels or {}}
        if autopilot:
            cluster["autopilot"] = {"enabled": True}
        if fleet:
            cluster["fleet"] = {"project": fleet}
        self.do("gke", "create", project=project, location=location, cluster=cluster, seconds=seconds)
        return f"projects/{project}/locations/{location}/clusters/{name}"

    def delete_cluster(self, cluster: str, *, seconds: float | None = None) -> None:
        """Start to delete a GKE cluster."""
        self.do("gke", "delete", name=cluster, seconds=seconds)

    def set_labels(self, cluster: str, labels: dict[str, str]) -> None:
        """Replace a GKE cluster's labels."""
        self.do("gke", "set_labels", name=cluster, resource_labels=labels)

    def finish(self, cluster: str) -> None:
        """End the operation that runs on a GKE cluster now, however long it was to take."""
        self.do("gke", "finish", name=cluster)

    def set_status(self, cluster: str, status: str, message: str = "") -> None:
        """Set the status of a GKE cluster, without an event."""
        self.do("gke", "set_status", name=cluster, status=status, message=message)

    def attach(
        self, name: str, location: str = "global", labels: dict[str, str] | None = None, *, admit: bool = False
    ) -> str:
        """Register a cluster outside GKE; return its membership's full name."""
        return str(self.do("cloud", "attach", name=name, location=location, labels=labels or {}, admit=admit))

    def admit(self, membership: str, users: Iterable[str] | None = None) -> None:
        """Grant identities access to an attached cluster (default: the functions that write there), as a person does with gcloud."""
        self.do("cloud", "admit", membership=membership, users=list(users) if users else None)

    def disconnect(self, membership: str, *, state: str = "READY") -> None:
        """The agent is lost: the gateway answers 404."""
        self.do("fleet", "disconnect", name=membership, state=state)

    def reconnect(self, membership: str) -> None:
        """The agent is back."""
        self.do("fleet", "reconnect", name=membership)

    def detach(self, membership: str) -> None:
        """Take a membership away."""
        self.do("fleet", "detach", name=membership)

    # What goes wrong

    def add_fault(self, effect: str, api: str = "*", call: str = "*", caller: str = "*", **fields: Any) -> Json:
        """Ask for a fault (`faults.Fault`): status, slow, timeout or drop; returns it with its id."""
        added: Json = self.do("cloud", "add_fault", effect=effect, api=api, call=call, caller=caller, **fields)
        return added

    def remove_faults(self, id_: str | None = None) -> None:
        """Remove one fault, or all of them."""
        self.do("faults", "remove", id_=id_)

    def add_event_rule(self, effect: str, event: str = "*", **fields: Any) -> Json:
        """Ask for something to happen to events (`events.EventRule`): lose, repeat, delay or hold; returns it with its id."""
        added: Json = self.do("cloud", "add_event_rule", effect=effect, event=event, **fields)
        return added

    def remove_event_rules(self, id_: str | None = None) -> None:
        """Remove one rule, or all of them."""
        self.do("eventarc", "remove", id_=id_)

    def release(self, order: list[int] | None = None) -> list[str]:
        """Release held events in the given order; return their names."""
        released: list[str] = self.do("eventarc", "release", order=order)
        return released

    def emit_audit(self, entry: Json) -> None:
        """Send an audit entry, as if GKE had written it."""
        self.do("cloud", "emit_audit", entry=entry)

    def emit_membership(self, kind: str, membership: Json) -> None:
        """Send a membership event: created, updated or deleted."""
        self.do("eventarc", "membership", kind=kind, membership=membership)

    # Functions

    def kill_function(self, name: str) -> None:
        """End a function (`write-secret`) as a crash does; its port stays closed until it is started."""
        self.do("cloud", "kill_function", name=name)

    def stop_function(self, name: str) -> None:
        """Stop a function; requests in flight finish."""
        self.do("cloud", "stop_function", name=name)

    def start_function(self, name: str) -> None:
        """Start a function again, on its old port."""
        self.do("cloud", "start_function", name=name)

    def redeploy(self, name: str, settings: dict[str, str]) -> None:
        """Stop a function and start it with other settings, as a deployment does ('' takes a setting away)."""
        self.do("cloud", "redeploy", name=name, settings=settings)

    def token_for_function(self, name: str, email: str) -> str:
        """Return an identity token by which `email` calls a function, if it may."""
        url = self.state("functions")["functions"][name]["url"]
        return str(self.do("cloud", "identity_token", email=email, audience=url))

    def log(self, function: str) -> str:
        """All that a function has logged."""
        if function not in self._log_files:  # which stay the same
            self._log_files = {name: Path(one["log"]) for name, one in self.state("functions")["functions"].items()}
        return self._log_files[function].read_text()

    # Pub/Sub and Kubernetes, by their own wires

    def publish(self, topic: str, message: Json | bytes, attributes: dict[str, str] | None = None) -> None:
        """Publish to a topic: an object as JSON, or bytes as they are."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        body = {"messages": [{"data": base64.b64encode(data).decode(), "attributes": attributes or {}}]}
        self._pubsub(f"topics/{topic}:publish", body)

    def pull(self, subscription: str, most: int = 100) -> list[Json]:
        """Take messages from a subscription, acknowledged: data (bytes) and attributes."""
        path = f"subscriptions/{subscription}"
        answer = self._pubsub(f"{path}:pull", {"maxMessages": most, "returnImmediately": True})
        received = answer.get("receivedMessages", [])
        if received:
            self._pubsub(f"{path}:acknowledge", {"ackIds": [one["ackId"] for one in received]})
        messages = [one["message"] for one in received]
        return [
            {"data": base64.b64decode(one.get("data", "")), "attributes": one.get("attributes", {})} for one in messages
        ]

    def kubernetes(
        self, cluster: str, method: str, path: str, body: Any = None, *, content_type: str = "application/json"
    ) -> tuple[int, Json]:
        """Call a cluster's Kubernetes API as its administrator; returns (HTTP status, answer)."""
        server, token = self.do("cloud", "direct", cluster=cluster)
        return self._call(f"{server}{path}", method, body, token, content_type)

    def through_gateway(
        self,
        email: str,
        membership: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
    ) -> tuple[int, Json]:
        """Call a member's Kubernetes API through the gateway as `email`; returns (HTTP status, answer)."""
        url = self.do("cloud", "gateway_url", membership=membership)
        return self._call(f"{url}{path}", method, body, self.do("iam", "token_for", email=email), content_type)

    # Inside

    def _post(self, path: str, body: Json) -> Any:
        status, answer = self._call(f"{self._control}/{path}", "POST", body, self._token)
        if status != 200:
            message = answer["error"] if isinstance(answer, dict) and "error" in answer else str(answer)
            raise WrongCallError(message) if status == 422 else ControlError(message)
        return answer

    def _pubsub(self, path: str, body: Json) -> Json:
        status, answer = self._call(f"{self._pubsub_url}v1/projects/{FLEET}/{path}", "POST", body)
        if status != 200:
            raise ControlError(f"{path}: {status} {answer}")
        return dict(answer)

    @cached_property
    def _pubsub_url(self) -> str:
        return str(self.do("cloud", "pubsub_url"))

    @cached_property
    def _secure_opener(self) -> urllib.request.OpenerDirector:
        trusted = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        return urllib.request.build_opener(self._no_proxy, urllib.request.HTTPSHandler(context=trusted))

    def _call(
        self, url: str, method: str, body: Any = None, token: str = "", content_type: str = "application/json"
    ) -> tuple[int, Any]:
        headers = {"Content-Type": content_type} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        opener = self._secure_opener if url.startswith("https:") else self._opener
        try:
            with opener.open(request, timeout=120) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as refused:
            with refused:
                text = refused.read()
            try:
                return refused.code, json.loads(text)
            except ValueError:
                return refused.code, {"message": text.decode(errors="replace")}
