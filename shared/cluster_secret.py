"""Argo CD's cluster Secret as data: what ours should hold, what differs, what a hold adds and takes away.

Pure. The format is Argo CD's (argo-cd v3.5, util/db/cluster.go `SecretToCluster`); the marks are ours (design, section 4).
Every change is a merge patch, so that what people added stays.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from shared import labels as label_rules
from shared.codes import ErrorCode
from shared.errors import PermanentError
from shared.facts import MANAGED_BY, Cluster, Membership
from shared.resources import ClusterName, MembershipName, NameFault

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.settings import Settings

Reason = Literal["going", "not-wanted", "left-fleet"]
Object = dict[str, Any]
N = TypeVar("N")

TYPE: Final = "argocd.argoproj.io/secret-type"
SKIP_RECONCILE: Final = "argocd.argoproj.io/skip-reconcile"
REFRESH: Final = "argocd.argoproj.io/refresh"
MARK: Final = "app.kubernetes.io/managed-by"
PREFIX: Final = "fleet-registrar/"
CLUSTER_HASH: Final = f"{PREFIX}cluster-hash"
MEMBERSHIP_HASH: Final = f"{PREFIX}membership-hash"
CLUSTER: Final = f"{PREFIX}cluster"
CLUSTER_ID: Final = f"{PREFIX}cluster-id"
MEMBERSHIP: Final = f"{PREFIX}membership"
MEMBERSHIP_UID: Final = f"{PREFIX}membership-uid"
GRANT: Final = f"{PREFIX}grant"
LABEL_KEYS: Final = f"{PREFIX}label-keys"
HELD: Final = f"{PREFIX}held"
AGENT_LOST: Final = f"{PREFIX}agent-lost"
KEEP: Final = f"{PREFIX}keep"

SELECT_OURS: Final = f"{MARK}={MANAGED_BY},{MEMBERSHIP_HASH}"
SELECT_FOREIGN: Final = f"{TYPE}=cluster,{MARK}!={MANAGED_BY}"

# Identical bytes for all clusters: Argo CD's client then shares one token and one plugin run (client-go exec.go). The
# plugin answers v1beta1 only; no CA, because the gateway has a public certificate (argo-cd cmd/argocd-k8s-auth).
CONFIG: Final = json.dumps(
    {
        "execProviderConfig": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "args": ["gcp"],
            "command": "argocd-k8s-auth",
        },
        "tlsClientConfig": {"insecure": False},
    },
    separators=(",", ":"),
)


@dataclass(frozen=True, slots=True)
class Hold:
    """A Secret that we have set aside: why, since when, and whether Argo CD's `skip-reconcile` is ours to take off."""

    reason: Reason
    since: datetime
    skip_is_ours: bool

    def __str__(self) -> str:
        return f"{self.reason} {timestamp(self.since)} skip-reconcile={'ours' if self.skip_is_ours else 'theirs'}"

    @classmethod
    def parse(cls, text: str) -> Hold | None:
        """Parse the annotation; None when it is not one of ours (a hold then starts anew)."""
        match text.split():
            case [
                "going" | "not-wanted" | "left-fleet" as reason,
                since,
                "skip-reconcile=ours" | "skip-reconcile=theirs" as skip,
            ]:
                try:
                    time = datetime.fromisoformat(since)
                except ValueError:
                    return None
                return cls(reason, time, skip.endswith("=ours")) if time.tzinfo else None
            case _:
                return None


@dataclass(frozen=True, slots=True)
class ClusterSecret:
    """A cluster Secret as it stands in the central cluster, data decoded."""

    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, manifest: Object) -> ClusterSecret:
        """Read a Secret as the Kubernetes API gives it."""
        meta = manifest["metadata"]
        return cls(
            name=meta["name"],
            uid=meta["uid"],
            resource_version=meta["resourceVersion"],
            labels=meta.get("labels") or {},
            annotations=meta.get("annotations") or {},
            data={key: _decoded(value) for key, value in (manifest.get("data") or {}).items()},
        )

    @property
    def cluster(self) -> ClusterName | None:
        """The GKE cluster it was written for; None for an attached cluster."""
        return self._name(CLUSTER, ClusterName.parse)

    @property
    def membership(self) -> MembershipName | None:
        """The membership it was written for."""
        return self._name(MEMBERSHIP, MembershipName.parse)

    def _name(self, key: str, parse: Callable[[str], N]) -> N | None:
        if key not in self.annotations:
            return None
        try:
            return parse(self.annotations[key])
        except NameFault as error:
            raise PermanentError(
                f"Secret {self.name}: its annotation {key} is spoilt ({error}); mend it by hand, or delete the Secret",
                ErrorCode.INVALID_ANNOTATION,
            ) from error

    @property
    def is_ours(self) -> bool:
        """Whether it carries our mark."""
        return self.labels.get(MARK) == MANAGED_BY

    @property
    def is_pinned(self) -> bool:
        """Whether a person has pinned it: never held, never removed."""
        return "true" in (self.annotations.get(KEEP), self.labels.get(KEEP))

    @property
    def hold(self) -> Hold | None:
        """The hold on it, if we have set it aside."""
        return Hold.parse(self.annotations[HELD]) if HELD in self.annotations else None

    @property
    def written_keys(self) -> frozenset[str]:
        """The label keys that we took over from the source."""
        return frozenset(key for key in self.annotations.get(LABEL_KEYS, "").split(",") if key)

    def is_of(self, cluster: Cluster | None, membership: Membership) -> bool:
        """Whether it was written for this very cluster and membership, not for earlier ones of the same names."""
        same_cluster = cluster is None or self.annotations.get(CLUSTER_ID) == cluster.id
        return same_cluster and self.annotations.get(MEMBERSHIP_UID) == membership.unique_id

    def was_written_for_another(self, annotation: str, now: str | None) -> bool:
        """Whether it names another cluster id (or membership uid) than there is now: both must be known to say so."""
        then = self.annotations.get(annotation)
        return bool(then and now and then != now)

    def in_the_way_of(self, name: str, server: str) -> bool:
        """Whether Argo CD would take the two for one: the same server, or the same name."""
        return self.data.get("name") == name or self.data.get("server", "").rstrip("/") == server


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write, for the cluster at `server`: `create` a whole manifest, or `patch` with a merge patch, or neither.

    `needs_grant` means that something else differs too, which may only be written once the access is proven. `gone` are
    the label keys that we took over and that are gone at the source: a sweep may let them go.
    """

    server: str
    create: Object | None = None
    patch: Object | None = None
    needs_grant: bool = False
    warnings: tuple[str, ...] = ()
    gone: frozenset[str] = frozenset()


def timestamp(time: datetime) -> str:
    """RFC 3339 in UTC, whole seconds: the form that Argo CD reads."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def found_by(cluster: ClusterName | None, membership: MembershipName | None) -> str:
    """Return the label selector that finds our Secrets for a cluster, or for a membership when no cluster is known."""
    label = (
        f"{CLUSTER_HASH}={cluster.hash}" if cluster else f"{MEMBERSHIP_HASH}={membership.hash if membership else ''}"
    )
    return f"{MARK}={MANAGED_BY},{label}"


def plan(
    existing: ClusterSecret | None,
    cluster: Cluster | None,
    membership: Membership,
    settings: Settings,
    *,
    granted: bool,
    drop: frozenset[str],
    now: datetime,
) -> Plan:
    """Compare our Secret with what it should be, for a cluster that is alive and wanted.

    `cluster` is None for an attached cluster; `granted` says that Argo CD's access has been proven for this very chain;
    `drop` are label keys that a sweep lets go. Nothing differs: nothing is planned, so nothing wakes Argo CD.
    """
    source = label_rules.translate(cluster.labels if cluster else membership.labels, settings.label_keys)
    fixed = _fixed_labels(cluster, membership)
    server = settings.gateway_url(membership.name, gke=membership.cluster is not None)
    facts = _annotations(cluster, membership, settings)
    if existing is None:
        if not granted:
            return Plan(server, needs_grant=True)
        name = cluster.name.secret_name if cluster else membership.name.secret_name
        keys = {LABEL_KEYS: _joined(source.labels)}
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {
                "name": name,
                "namespace": settings.argocd_namespace,
                "labels": {**source.labels, **fixed},
                "annotations": {**facts, **keys, **_agent(None, membership, now)},
            },
            "data": {key: _encoded(value) for key, value in {"name": name, "server": server, "config": CONFIG}.items()},
        }
        return Plan(server, create=manifest, warnings=source.warnings)

    gone = existing.written_keys - set(source.labels) - source.kept
    needs_grant = (
        not existing.is_of(cluster, membership)
        or existing.annotations.get(GRANT) != settings.grant
        or HELD in existing.annotations
    )
    if needs_grant and not granted and not existing.is_of(cluster, membership):
        # Everything we could write speaks of a later cluster than the Secret does: all of it waits for the proof.
        return Plan(server, needs_grant=True, warnings=source.warnings, gone=gone)
    labels, keys_now = _label_changes(existing, source, gone & drop)
    annotations: dict[str, str | None] = {LABEL_KEYS: _joined(keys_now), **facts, **_agent(existing, membership, now)}
    if granted:
        annotations |= _lifted(existing)
    else:
        del annotations[GRANT]
    changed = {
        "labels": _differing(existing.labels, {**labels, **fixed}),
        "annotations": _differing(existing.annotations, annotations),
    }
    body: Object = {key: value for key, value in changed.items() if value}
    data: Object = {}
    right = {"server": server, "config": CONFIG}
    if existing.data.get("server", "").rstrip("/") != server or not _same_config(existing.data.get("config", "")):
        # Byte for byte, both of them: the admission policy lets the two change together into the right ones, or not at all.
        data = {key: _encoded(value) for key, value in right.items() if existing.data.get(key) != value}
    if "name" not in existing.data:
        data["name"] = _encoded(cluster.name.secret_name if cluster else membership.name.secret_name)
    patch = _patch(existing, body, data)
    return Plan(server, patch=patch, needs_grant=needs_grant and not granted, warnings=source.warnings, gone=gone)


def hold(existing: ClusterSecret, reason: Reason, now: datetime) -> Object | None:
    """Return the merge patch that sets the Secret aside, or None when it is held for that reason already.

    Another reason starts the time anew. A `skip-reconcile` that a person had set is noted as theirs and stays.
    """
    standing = existing.hold
    skips = existing.annotations.get(SKIP_RECONCILE) == "true"
    if standing and standing.reason == reason and skips:
        return None
    # An annotation that cannot be read tells at least that we had set it aside.
    ours = standing.skip_is_ours if standing and skips else not skips or HELD in existing.annotations
    since = standing.since if standing and standing.reason == reason else now
    annotations = {HELD: str(Hold(reason, since, ours)), SKIP_RECONCILE: "true"}
    return _patch(existing, {"annotations": _differing(existing.annotations, annotations)}, {})


def lift(existing: ClusterSecret) -> Object | None:
    """Return the merge patch that takes a hold off again, or None when there is none."""
    return _patch(existing, {"annotations": _differing(existing.annotations, _lifted(existing))}, {})


def _lifted(existing: ClusterSecret) -> dict[str, str | None]:
    if HELD not in existing.annotations:
        return {}
    standing = existing.hold
    ours = standing is None or standing.skip_is_ours
    return {HELD: None, SKIP_RECONCILE: None} if ours else {HELD: None}


def _fixed_labels(cluster: Cluster | None, membership: Membership) -> dict[str, str]:
    """Labels that a cluster's owner cannot set: for finding, and for selecting in ApplicationSets."""
    where = cluster.name if cluster else membership.name
    kind = "attached" if cluster is None else "gke-autopilot" if cluster.autopilot else "gke"
    fixed = {
        TYPE: "cluster",
        MARK: MANAGED_BY,
        MEMBERSHIP_HASH: membership.name.hash,
        f"{PREFIX}project": label_rules.valid_value(where.project) or "",
        f"{PREFIX}location": where.location,
        f"{PREFIX}kind": kind,
    }
    return {**fixed, CLUSTER_HASH: cluster.name.hash} if cluster else fixed


def _annotations(cluster: Cluster | None, membership: Membership, settings: Settings) -> dict[str, str]:
    facts = {MEMBERSHIP: str(membership.name), MEMBERSHIP_UID: membership.unique_id, GRANT: settings.grant}
    return {CLUSTER: str(cluster.name), CLUSTER_ID: cluster.id, **facts} if cluster else facts


def _agent(existing: ClusterSecret | None, membership: Membership, now: datetime) -> dict[str, str | None]:
    """Note a lost agent once, and when it is back have Argo CD rebuild its cache once.

    While the agent is lost the gateway answers 404, at which Argo CD drops what it knew of the cluster (argo-cd #9339).
    """
    noted = existing is not None and AGENT_LOST in existing.annotations
    if membership.agent_lost(now):
        return {} if noted else {AGENT_LOST: timestamp(now)}
    return {AGENT_LOST: None, REFRESH: timestamp(now)} if noted else {}


def _label_changes(
    existing: ClusterSecret, source: label_rules.Translated, dropped: frozenset[str]
) -> tuple[dict[str, str | None], frozenset[str]]:
    """Return the labels to set (None: to remove) and the keys that are ours afterwards.

    Keys that are gone at the source stay until a sweep drops them; an unlisted key with another value is a person's.
    """
    ours = existing.written_keys
    wanted: dict[str, str | None] = {
        key: value for key, value in source.labels.items() if key in ours or existing.labels.get(key, value) == value
    }
    keys = frozenset(wanted) | (ours - dropped)
    return {**wanted, **dict.fromkeys(dropped)}, keys


def _differing(standing: Mapping[str, str], wanted: Mapping[str, str | None]) -> dict[str, str | None]:
    return {key: value for key, value in wanted.items() if standing.get(key) != value}


def _patch(existing: ClusterSecret, meta: Object, data: Object) -> Object | None:
    meta = {key: value for key, value in meta.items() if value}
    if not meta and not data:
        return None
    patch: Object = {"metadata": {**meta, "uid": existing.uid, "resourceVersion": existing.resource_version}}
    return {**patch, "data": data} if data else patch


def _same_config(text: str) -> bool:
    """Compare by meaning: Argo CD re-serialises the configuration, with empty fields, when a person edits a cluster."""
    if text == CONFIG:
        return True
    try:
        return bool(_essence(json.loads(text)) == _essence(json.loads(CONFIG)))
    except (ValueError, RecursionError):
        return False


def _essence(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    fields = {key: _essence(inner) for key, inner in value.items()}
    return {key: inner for key, inner in fields.items() if inner not in (None, "", [], {}, False)}


def _joined(keys: Mapping[str, str] | frozenset[str]) -> str:
    return ",".join(sorted(keys))


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text or "").decode(errors="replace")
    except binascii.Error:
        return ""
