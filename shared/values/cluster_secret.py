"""Argo CD's cluster Secret as data, the labels and annotations that we write on it, and a hold.

The format is Argo CD's (util/db/cluster.go `SecretToCluster`); the marks are ours (docs/objects.md).
"""

from __future__ import annotations

import binascii
import functools
from dataclasses import InitVar, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from shared.values.codes import ErrorCode
from shared.values.errors import PermanentError
from shared.values.model import MANAGED_BY
from shared.values.names import ClusterName, InvalidNameError, MembershipName, Name
from shared.values.objects import Object, precondition
from shared.values.settings import DEFAULT_INSTANCE, Settings
from shared.values.target import AttachedTarget, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


Reason = Literal["going", "not-wanted", "left-fleet", "other-cluster"]
N = TypeVar("N")
ParsedNames = tuple[ClusterName | InvalidNameError | None, MembershipName | InvalidNameError | None]

TYPE: Final = "argocd.argoproj.io/secret-type"
SKIP_RECONCILE: Final = "argocd.argoproj.io/skip-reconcile"
REFRESH: Final = "argocd.argoproj.io/refresh"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
PREFIX: Final = "fleet-registrar/"
CLUSTER_HASH: Final = f"{PREFIX}cluster-hash"
MEMBERSHIP_HASH: Final = f"{PREFIX}membership-hash"
CLUSTER: Final = f"{PREFIX}cluster"
CLUSTER_ID: Final = f"{PREFIX}cluster-id"
MEMBERSHIP: Final = f"{PREFIX}membership"
MEMBERSHIP_UID: Final = f"{PREFIX}membership-uid"
FUNCTIONS_PROJECT: Final = f"{PREFIX}functions-project"
GRANT: Final = f"{PREFIX}grant"
LABEL_KEYS: Final = f"{PREFIX}label-keys"
HELD: Final = f"{PREFIX}held"  # an annotation, and a label that shows it
NETWORK: Final = f"{PREFIX}network"
SUBNETWORK: Final = f"{PREFIX}subnetwork"
WORKLOAD_POOL: Final = f"{PREFIX}workload-pool"
AGENT_LOST: Final = f"{PREFIX}agent-lost"
KEEP: Final = f"{PREFIX}keep"

INSTANCE: Final = f"{PREFIX}instance"

# Secrets that a registrar wrote, and all other cluster Secrets. A Secret that has lost one of the labels is in the other list.
SELECT_MANAGED: Final = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
SELECT_UNMANAGED: Final = f"{TYPE}=cluster,{MANAGED_BY_LABEL}!={MANAGED_BY}"


@dataclass(frozen=True, slots=True)
class Hold:
    """A Secret that we have set aside: why, since when, and whether Argo CD's `skip-reconcile` is ours to take off."""

    reason: Reason
    since: datetime
    owns_skip: bool

    def __str__(self) -> str:
        return f"{self.reason} {timestamp(self.since)} skip-reconcile={'ours' if self.owns_skip else 'theirs'}"

    @classmethod
    def parse(cls, text: str) -> Hold | None:
        """Parse the annotation; None if it is not one of ours (a hold then restarts)."""
        match text.split():
            case [
                "going" | "not-wanted" | "left-fleet" | "other-cluster" as reason,
                since,
                "skip-reconcile=ours" | "skip-reconcile=theirs" as skip,
            ]:
                try:
                    time = datetime.fromisoformat(since)
                    return cls(reason, time.astimezone(UTC), skip.endswith("=ours")) if time.tzinfo else None
                except (ValueError, OverflowError):  # OverflowError: not within the years 1 to 9999 in UTC
                    return None
            case _:
                return None


@dataclass(frozen=True, slots=True)
class ClusterSecret:
    """A cluster Secret as the central cluster has it, data decoded."""

    name: str
    uid: str
    resource_version: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict, repr=False)
    created: str = ""
    # The object that owns it: Kubernetes deletes the Secret with its owner, and the owner's controller writes it.
    controller: str = ""
    is_immutable: bool = False
    # The names in its annotations are parsed once, because a comparison of a whole fleet uses them repeatedly. A parsing error
    # is raised at their first use. `names`: already parsed names of an equal Secret.
    names: InitVar[ParsedNames | None] = None
    parsed_names: ParsedNames = field(init=False, repr=False, compare=False)

    def __post_init__(self, names: ParsedNames | None) -> None:
        if names is None:
            cluster = _parsed(ClusterName.parse, self.annotations.get(CLUSTER))
            names = cluster, _parsed(MembershipName.parse, self.annotations.get(MEMBERSHIP))
        object.__setattr__(self, "parsed_names", names)

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
            created=meta.get("creationTimestamp") or "",
            controller=_controller(meta.get("ownerReferences")),
            is_immutable=manifest.get("immutable") is True,
        )

    @property
    def cluster(self) -> ClusterName | None:
        """The GKE cluster it was written for; None for an attached cluster."""
        return self._named(self.parsed_names[0], CLUSTER)

    @property
    def membership(self) -> MembershipName | None:
        """The membership it was written for."""
        return self._named(self.parsed_names[1], MEMBERSHIP)

    def _named(self, found: N | InvalidNameError | None, key: str) -> N | None:
        if isinstance(found, InvalidNameError):
            raise PermanentError(
                f"Secret {self.name}: its annotation {key} is invalid ({found}); correct it by hand, or delete the Secret",
                ErrorCode.INVALID_ANNOTATION,
            ) from found
        return found

    @property
    def is_managed(self) -> bool:
        """Whether a registrar wrote it."""
        return self.labels.get(MANAGED_BY_LABEL) == MANAGED_BY

    @property
    def instance(self) -> str:
        """The instance that wrote it; Secrets that are older than instances belong to the default one."""
        return self.labels.get(INSTANCE, DEFAULT_INSTANCE)

    def is_of_instance(self, settings: Settings) -> bool:
        """Whether this registrar owns it: our mark, our instance, our functions, and a membership of our fleet.

        A Secret with an invalid annotation stays ours, and the sweep reports it.
        """
        if not self.is_managed or self.instance != settings.instance or self.is_of_namesake(settings):
            return False
        try:
            membership = self.membership
        except PermanentError:
            return True
        return membership is None or membership.project in (settings.fleet_project, settings.fleet_project_number)

    def is_of_namesake(self, settings: Settings) -> bool:
        """Whether the functions of another project wrote it under the name of this instance."""
        writer = self.annotations.get(FUNCTIONS_PROJECT, settings.pubsub_project)
        return self.is_managed and self.instance == settings.instance and writer != settings.pubsub_project

    def owner(self, settings: Settings) -> str:
        """Say whose it is, for reports."""
        if not self.is_managed:
            return "is not managed by Fleet Registrar"
        if self.instance != settings.instance:
            return f"belongs to the instance {self.instance!r} of Fleet Registrar"
        if self.is_of_namesake(settings):
            return f"belongs to the functions of project {self.annotations[FUNCTIONS_PROJECT]}, which have the same INSTANCE"
        return f"names {self.annotations.get(MEMBERSHIP, 'no membership')}, which is not in the fleet of {settings.fleet_project}"

    @property
    def is_pinned(self) -> bool:
        """Whether a person has pinned it: never held, never removed."""
        return "true" in (self.annotations.get(KEEP), self.labels.get(KEEP))

    @property
    def hold(self) -> Hold | None:
        """The hold on it, if we have set it aside."""
        return Hold.parse(self.annotations[HELD]) if HELD in self.annotations else None

    @property
    def is_set_aside(self) -> bool:
        """Whether we held it. A person may have made the annotation unreadable, or removed it and left the label."""
        return HELD in self.annotations or (HELD in self.labels and SKIP_RECONCILE in self.annotations)

    @property
    def written_keys(self) -> frozenset[str]:
        """The label keys that we took over from the source."""
        return _keys_in(self.annotations.get(LABEL_KEYS, ""))

    def previous_identity(self, settings: Settings) -> str:
        """The identity that the Secret notes as granted, if it is not Argo CD's any more; else ''."""
        identity = self.annotations.get(GRANT, "").rpartition(" ")[2]
        return identity if identity != settings.argocd_service_account else ""

    @property
    def precondition(self) -> Object:
        """The metadata with which a write changes only the very Secret that was read."""
        return precondition(self.uid, self.resource_version)

    def is_of(self, target: Target) -> bool:
        """Whether it was written for this very cluster and membership, not for earlier ones of the same names."""
        same_cluster = isinstance(target, AttachedTarget) or self.annotations.get(CLUSTER_ID) == target.cluster.id
        return same_cluster and self.annotations.get(MEMBERSHIP_UID) == target.membership.unique_id

    def was_written_for_another(self, annotation: str, now: str | None) -> bool:
        """Whether it names another cluster id (or membership uid) than the current one. False if either is unknown."""
        then = self.annotations.get(annotation)
        return bool(then and now and then != now)

    def clashes_with(self, name: str, server: str) -> bool:
        """Whether Argo CD would treat the two as one cluster: the same server, or the same name."""
        return self.data.get("name") == name or self.data.get("server", "").rstrip("/") == server


def timestamp(time: datetime) -> str:
    """RFC 3339 in UTC, whole seconds: the form that Argo CD reads."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def hash_label(name: Name) -> str:
    """Return the key of the label by which the steps find the Secret of a cluster, or of a membership."""
    return CLUSTER_HASH if isinstance(name, ClusterName) else MEMBERSHIP_HASH


def found_by(name: Name) -> str:
    """Return the label selector that finds our Secrets for a cluster, or for a membership."""
    return f"{MANAGED_BY_LABEL}={MANAGED_BY},{hash_label(name)}={name.hash}"


def held_for(reason: Reason) -> str:
    """Return the label selector of our Secrets that are held for a reason."""
    return f"{MANAGED_BY_LABEL}={MANAGED_BY},{HELD}={reason}"


@functools.lru_cache(4096)  # many Secrets of a fleet have the same keys
def _keys_in(text: str) -> frozenset[str]:
    return frozenset(key for key in text.split(",") if key)


def _controller(owners: object) -> str:
    """Return the first owner as `KIND NAME`. Fields of a wrong type count as absent."""
    items = owners if isinstance(owners, list) else []
    return next((f"{one.get('kind')} {one.get('name')}" for one in items if isinstance(one, dict)), "")


def _decoded(text: str) -> str:
    try:
        return binascii.a2b_base64(text or "").decode(errors="replace")
    except binascii.Error:
        return ""


def _parsed(parse: Callable[[str], N], text: str | None) -> N | InvalidNameError | None:
    try:
        return None if text is None else parse(text)
    except InvalidNameError as error:
        return error
