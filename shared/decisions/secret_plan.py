"""The desired content of our cluster Secret, its drift, and what a hold adds and removes.

Pure. Every change is a merge patch, so that what people added stays.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shared.decisions.secret_facts import fact_annotations, fact_labels
from shared.values import labels as label_rules
from shared.values.cluster_secret import (
    AGENT_LOST,
    CLUSTER,
    CLUSTER_HASH,
    CLUSTER_ID,
    FUNCTIONS_PROJECT,
    GRANT,
    HELD,
    INSTANCE,
    LABEL_KEYS,
    MANAGED_BY_LABEL,
    MEMBERSHIP,
    MEMBERSHIP_HASH,
    MEMBERSHIP_UID,
    REFRESH,
    SKIP_RECONCILE,
    TYPE,
    ClusterSecret,
    Hold,
    Reason,
    timestamp,
)
from shared.values.model import MANAGED_BY, Membership
from shared.values.objects import Object, encoded
from shared.values.settings import Settings
from shared.values.target import GkeTarget, Target

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

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


UNREADABLE_CONFIG: Final = (
    "`config` was unreadable and is repaired; an Argo CD that read it meanwhile does not watch the cluster: restart its"
    " application controller"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to change in our Secret for the cluster at `server`: `patch` is a merge patch, None if nothing differs.

    `needs_grant` means that something else differs too, which may only be written once the access is proven. `gone` are
    the label keys that we copied and that are gone at the source: a sweep may drop them. `source` are the labels that are
    copied to the Secret.
    """

    server: str
    patch: Object | None = None
    needs_grant: bool = False
    warnings: tuple[str, ...] = ()
    gone: frozenset[str] = frozenset()
    source: Mapping[str, str] = field(default_factory=dict)


def new_secret(target: Target, settings: Settings, now: datetime) -> Object:
    """Return the manifest of the first write, for a cluster to which Argo CD's access is proven.

    It has no label that ApplicationSets select on: the patch that follows writes those, once Argo CD knows the cluster.
    """
    data = {"name": target.name.secret_name, "server": target.server(settings), "config": CONFIG}
    annotations = {**_annotations(target, settings), LABEL_KEYS: "", **_agent(None, target.membership, now)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": target.name.secret_name,
            "namespace": settings.argocd_namespace,
            "labels": _identifying_labels(target, settings),
            "annotations": {key: value for key, value in annotations.items() if value is not None},
        },
        "data": {key: encoded(value) for key, value in data.items()},
    }


def source_labels(target: Target, settings: Settings) -> Mapping[str, str]:
    """Return the labels that a Secret takes over from the source."""
    return label_rules.translate(target.labels, settings.label_keys).labels


def plan(
    existing: ClusterSecret,
    target: Target,
    settings: Settings,
    *,
    granted: bool,
    drop: frozenset[str],
    now: datetime,
    renewed: datetime | None = None,
) -> Plan:
    """Compare our Secret with its desired content, for a selected cluster.

    `granted` says that Argo CD's access has been proven for this very chain; `drop` are label keys that a sweep removes.
    Without a difference there is no patch, so Argo CD is not woken.
    `renewed` is when the grant was proven, if the access had been missing before.
    A Secret of an earlier cluster of that name starts clean, labels and annotations of people included.
    """
    source = label_rules.translate(target.labels, settings.label_keys)
    server = target.server(settings)
    earlier = isinstance(target, GkeTarget) and existing.was_written_for_another(CLUSTER_ID, target.cluster.id)
    gone = frozenset() if earlier else existing.written_keys.difference(source.labels, source.kept)
    is_of = existing.is_of(target)
    needs_grant = not is_of or existing.annotations.get(GRANT) != settings.grant or existing.is_set_aside
    if needs_grant and not granted and not is_of:
        # The Secret belongs to an earlier cluster of this name: write nothing until the access to the new one is proven.
        return Plan(server, needs_grant=True, warnings=source.warnings, gone=gone, source=source.labels)
    labels, keys_now = _label_changes(existing, source, gone & drop)
    if earlier:
        labels, keys_now = {**dict.fromkeys(existing.labels), **source.labels}, frozenset(source.labels)
    labels |= _identifying_labels(target, settings)
    labels |= fact_labels(target)
    annotations: dict[str, str | None] = dict.fromkeys(existing.annotations) if earlier else {}
    annotations |= _annotations(target, settings)
    annotations[LABEL_KEYS] = _joined(keys_now)
    annotations |= _agent(existing, target.membership, now)
    if granted:
        annotations |= _released(existing) | _refresh(existing, target.membership, now, renewed)
        labels[HELD] = None
    else:
        del annotations[GRANT]
        labels |= _held_label(existing)
    body = _changes(existing, labels, annotations)
    data: Object = {}
    right = {"server": server, "config": CONFIG}
    warnings = source.warnings
    config = existing.data.get("config", "")
    if existing.data.get("server", "").rstrip("/") != server or not _same_config(config):
        # Exact bytes of both, because the admission policy requires `server` and `config` to change together to these values.
        data = {key: encoded(value) for key, value in right.items() if existing.data.get(key) != value}
        if not _is_object(config):
            warnings += (UNREADABLE_CONFIG,)
    if "name" not in existing.data:
        data["name"] = encoded(target.name.secret_name)
    patch = _patch(existing, body, data)
    missing = needs_grant and not granted
    return Plan(server, patch=patch, needs_grant=missing, warnings=warnings, gone=gone, source=source.labels)


def hold(existing: ClusterSecret, reason: Reason, now: datetime) -> Object | None:
    """Return the merge patch that holds the Secret, or None if it is held for that reason already.

    Another reason restarts the time, and so does a time in the future: such a hold would not end by itself.
    A `skip-reconcile` that a person had set is noted as theirs and stays.
    """
    current = existing.hold
    skips = existing.annotations.get(SKIP_RECONCILE) == "true"
    began = current.since if current and current.reason == reason and current.since <= now else None
    if began and skips and existing.labels.get(HELD) == reason:
        return None
    owns_skip = current.owns_skip if current and skips else not skips or existing.is_set_aside
    annotations: dict[str, str | None] = {HELD: str(Hold(reason, began or now, owns_skip)), SKIP_RECONCILE: "true"}
    return _patch(existing, _changes(existing, {HELD: reason}, annotations), {})


def release(existing: ClusterSecret) -> Object | None:
    """Return the merge patch that releases a hold, or None without a hold."""
    return _patch(existing, _changes(existing, {HELD: None}, _released(existing)), {})


def ends_hold(patch: Object) -> bool:
    """Return whether the merge patch releases a hold. A person may have removed the annotation or the label before."""
    changed = (patch["metadata"].get(kind) or {} for kind in ("annotations", "labels"))
    return any(HELD in fields and fields[HELD] is None for fields in changed)


def _held_label(existing: ClusterSecret) -> dict[str, str | None]:
    """The label that shows a hold to people; Argo CD does not show it."""
    current = existing.hold
    if not existing.is_set_aside:
        return {HELD: None}
    return {HELD: current.reason} if current else {}


def _refresh(
    existing: ClusterSecret, membership: Membership, now: datetime, renewed: datetime | None
) -> dict[str, str | None]:
    """Have Argo CD rebuild its cache of a cluster that it could not use meanwhile.

    When the gateway answers 404, Argo CD empties the cache, still reports it as successful, and stops its watches.
    A Secret that is younger than the proof is new to Argo CD, so there is nothing to rebuild.
    """
    if existing.was_written_for_another(MEMBERSHIP_UID, membership.unique_id):
        return {REFRESH: timestamp(now)}
    if renewed is not None and existing.created < timestamp(renewed):
        return {REFRESH: timestamp(renewed)}
    return {}


def _released(existing: ClusterSecret) -> dict[str, str | None]:
    if not existing.is_set_aside:
        return {}
    current = existing.hold
    owns_skip = current is None or current.owns_skip
    return {HELD: None, SKIP_RECONCILE: None} if owns_skip else {HELD: None}


def _identifying_labels(target: Target, settings: Settings) -> dict[str, str]:
    """Labels by which Argo CD and we find the Secret. The first write has them."""
    labels = {
        TYPE: "cluster",
        MANAGED_BY_LABEL: MANAGED_BY,
        INSTANCE: settings.instance,
        MEMBERSHIP_HASH: target.membership.name.hash,
    }
    if isinstance(target, GkeTarget):
        labels[CLUSTER_HASH] = target.name.hash
    return labels


def _annotations(target: Target, settings: Settings) -> dict[str, str | None]:
    facts: dict[str, str | None] = {
        MEMBERSHIP: str(target.membership.name),
        MEMBERSHIP_UID: target.membership.unique_id,
        GRANT: settings.grant,
        FUNCTIONS_PROJECT: settings.pubsub_project,
        **fact_annotations(target, settings),
    }
    if isinstance(target, GkeTarget):
        facts[CLUSTER] = str(target.name)
        facts[CLUSTER_ID] = target.cluster.id
    return facts


def _agent(existing: ClusterSecret | None, membership: Membership, now: datetime) -> dict[str, str | None]:
    """Note a lost agent once, and when it is back let Argo CD rebuild its cache once.

    While the agent is lost, the gateway answers 404, and Argo CD drops its cache of the cluster (argo-cd #9339).
    """
    noted = existing is not None and AGENT_LOST in existing.annotations
    if membership.agent_lost(now):
        return {} if noted else {AGENT_LOST: timestamp(now)}
    return {AGENT_LOST: None, REFRESH: timestamp(now)} if noted else {}


def _label_changes(
    existing: ClusterSecret, source: label_rules.Translated, dropped: frozenset[str]
) -> tuple[dict[str, str | None], frozenset[str]]:
    """Return the labels to set (None: to remove) and the keys that we have written afterwards.

    Keys that are gone at the source stay until a sweep drops them; an unlisted key with another value is a person's.
    """
    written = existing.written_keys
    desired: dict[str, str | None] = {
        key: value for key, value in source.labels.items() if key in written or existing.labels.get(key, value) == value
    }
    keys = written.difference(dropped).union(desired)
    desired |= dict.fromkeys(dropped)
    return desired, keys


def _differing(current: Mapping[str, str], desired: Mapping[str, str | None]) -> dict[str, str | None]:
    return {key: value for key, value in desired.items() if current.get(key) != value}


def _changes(
    existing: ClusterSecret, labels: Mapping[str, str | None], annotations: Mapping[str, str | None]
) -> Object:
    changed = {
        "labels": _differing(existing.labels, labels),
        "annotations": _differing(existing.annotations, annotations),
    }
    return {key: value for key, value in changed.items() if value}


def _patch(existing: ClusterSecret, meta: Object, data: Object) -> Object | None:
    meta = {key: value for key, value in meta.items() if value}
    if not meta and not data:
        return None
    patch: Object = {"metadata": {**meta, **existing.precondition}}
    return {**patch, "data": data} if data else patch


def _same_config(text: str) -> bool:
    """Compare by meaning: Argo CD re-serialises the configuration, with empty fields, when a person edits a cluster."""
    if text == CONFIG:
        return True
    try:
        return bool(_essence(json.loads(text)) == _essence(json.loads(CONFIG)))
    except (ValueError, RecursionError):
        return False


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _essence(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    fields = {key: _essence(inner) for key, inner in value.items()}
    return {key: inner for key, inner in fields.items() if inner not in (None, "", [], {}, False)}


@functools.lru_cache(4096)  # many Secrets of a fleet have the same keys
def _joined(keys: frozenset[str]) -> str:
    return ",".join(sorted(keys))
