"""Which cluster is a cluster Secret for? Recognises what people and other tools wrote, everywhere by the same rules.

Pure. A person's annotation decides. Then the gateway URL decides, if the fleet lists its membership. Otherwise the names that
known tools write and the API server's address count together: they may lead to several clusters, and then only a person can
say which one is right.

Names: `gcloud container clusters get-credentials` (also for Cluster API's provider for Google Cloud, and so capi2argo),
`gcloud container fleet memberships get-credentials`, fleet-argocd-plugin (GoogleCloudPlatform/gke-fleet-management), this
project. GKE's fleet names a ClusterProfile `<membership>-<location>`; both ClusterProfile syncers build on that name.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urlsplit

from shared.values.cluster_secret import CLUSTER, MANAGED_BY_LABEL, MEMBERSHIP, ClusterSecret
from shared.values.commands import kubectl
from shared.values.errors import PermanentError
from shared.values.names import ClusterName, InvalidNameError, MembershipName, Name
from shared.values.settings import Settings
from shared.values.target import GkeTarget, Target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from shared.values.model import Cluster, Membership

# Global, regional, and Google's other endpoints: mTLS (https://google.aip.dev/auth/4114) and regional `rep`.
_HOST = re.compile(r"(?:[a-z0-9-]+-)?connectgateway(?:\.mtls|\.[a-z0-9-]+\.rep)?\.googleapis\.com")
# The first generation of the API (v1alpha1, v1beta1) had no locations: its memberships are global.
_PATH = re.compile(
    r"/v1(?:(?:alpha|beta)[0-9]+)?/projects/([^/]+)/(?:locations/([^/]+)/)?(?:gkeMemberships|memberships)/([^/]+)"
)
_GKE_CONTEXT = re.compile(r"(?:.*[-/])?gke_([^_/]+)_([^_/]+)_([^_/]+)")
_GATEWAY_CONTEXT = re.compile(r"connectgateway_([^_/]+)_(?:([^_/]+)_)?([^_/]+)")
_PLUGIN_NAME = re.compile(r"([^./_]+)\.([^./_]+)\.([0-9]+)")

PROFILE_ORIGIN: Final = "argocd.argoproj.io/cluster-profile-origin"
PROFILE_SYNCER: Final = "multicluster.x-k8s.io/managed-by-cp-syncer"
# Marks of controllers that go on writing their Secrets: argoproj-labs/clusterprofile-integration-for-argocd and Argo CD's own,
# GoogleCloudPlatform/gke-fleet-management (argocd-clusterprofile-syncer), dntosas/capi2argo-cluster-operator,
# pcanilho/argocd-cluster-registrar.
WRITERS: Final[Mapping[str, str]] = {
    PROFILE_ORIGIN: "Argo CD's ClusterProfile controller",
    PROFILE_SYNCER: "argocd-clusterprofile-syncer",
    "capi-to-argocd/owned": "capi2argo-cluster-operator",
    "argocd-cluster-registrar/managed-by": "argocd-cluster-registrar",
}
# fleet-argocd-plugin overwrites whole Secrets, and deletes those with this annotation whose membership is gone.
PLUGIN: Final = "fleet.gke.io/managed-by-fleet-plugin"

BY_ANNOTATION: Final = "its annotation"
BY_SERVER: Final = "its server"
BY_ADDRESS: Final = "the cluster's address"
BY_NAME: Final = "its name"


@dataclass(frozen=True, slots=True)
class Recognition:
    """The cluster that a Secret is for (an attached cluster is its membership), and the evidence for it.

    Several `names`: the evidence is ambiguous. None: the cluster is unknown, and `problem` says what was tried.
    """

    names: frozenset[Name] = frozenset()
    known_by: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """The clusters and memberships that Secrets are matched with. Built once by `index`."""

    settings: Settings
    memberships: Mapping[MembershipName, Name]
    by_name: Mapping[str, frozenset[Name]]
    by_profile: Mapping[str, frozenset[Name]]
    by_address: Mapping[str, frozenset[Name]]

    def subject(self, name: Name) -> Name:
        """Return the GKE cluster of a membership, or the name itself."""
        return self.memberships.get(name, name) if isinstance(name, MembershipName) else name


def index(
    clusters: Iterable[Cluster],
    memberships: Iterable[Membership],
    settings: Settings,
    secrets: Collection[ClusterSecret],
) -> Index:
    """Index the clusters and memberships that these Secrets may be for: a large fleet has few unmanaged Secrets."""
    if not secrets:
        return Index(settings, {}, {}, {}, {})
    texts = {text for secret in secrets for text in _given_names(secret)}
    profiles = {profile for text in texts for profile in _profiles(text)}
    addresses = {_address(secret.data.get("server", "")) for secret in secrets}
    subjects: dict[MembershipName, Name] = {each.name: each.cluster or each.name for each in memberships}
    by_name: dict[str, set[Name]] = defaultdict(set)
    by_profile: dict[str, set[Name]] = defaultdict(set)
    by_address: dict[str, set[Name]] = defaultdict(set)
    for membership, subject in subjects.items():
        if (text := membership.secret_name) in texts:
            by_name[text].add(subject)
        if (profile := f"{membership.membership}-{membership.location}") in profiles:
            by_profile[profile].add(subject)
    for cluster in clusters:
        if (text := cluster.name.secret_name) in texts:
            by_name[text].add(cluster.name)
        for address in cluster.addresses:
            if address in addresses:
                by_address[address].add(cluster.name)
    return Index(settings, subjects, _frozen(by_name), _frozen(by_profile), _frozen(by_address))


def recognise(secret: ClusterSecret, known: Index) -> Recognition:
    """Return which cluster a Secret is for."""
    problem = ""
    try:
        if (annotated := _annotated(secret, known.settings)) is not None:
            return Recognition(frozenset({known.subject(annotated)}), BY_ANNOTATION)
    except InvalidNameError as error:
        problem = f"its annotation is invalid: {error}"
    server = secret.data.get("server", "")
    membership, elsewhere = _membership_at(server, known.settings)
    if membership is not None and membership in known.memberships:
        return Recognition(frozenset({known.subject(membership)}), BY_SERVER)
    by_name = frozenset(_named(secret, known))
    address = _address(server)
    by_address = known.by_address.get(address, frozenset())
    if by_name and _is_private(address):
        by_address = frozenset()  # clusters in other networks may have the same one
    if found := by_name | by_address:
        return Recognition(found, BY_NAME if by_name else BY_ADDRESS)
    if membership is not None:
        return Recognition(frozenset({membership}), BY_SERVER)
    unknown = f"its server {server or '(none)'} and its names belong to no cluster or membership that was read"
    return Recognition(problem=problem or elsewhere or unknown)


def recognised(secrets: Iterable[ClusterSecret], known: Index) -> dict[Name, list[tuple[ClusterSecret, Recognition]]]:
    """Return the Secrets by the cluster that they are for; an ambiguous one appears for each of its clusters."""
    found: dict[Name, list[tuple[ClusterSecret, Recognition]]] = defaultdict(list)
    for secret in secrets:
        recognition = recognise(secret, known)
        for name in recognition.names:
            found[name].append((secret, recognition))
    return found


def other_entry(
    secrets: Iterable[ClusterSecret], target: Target, settings: Settings
) -> tuple[ClusterSecret, Recognition] | None:
    """Return the first of the unmanaged Secrets that is for this cluster, None if no Secret is."""
    clusters = [target.cluster] if isinstance(target, GkeTarget) else []
    found = tuple(secrets)
    known = index(clusters, [target.membership], settings, found)
    return next(iter(recognised(found, known).get(target.name, [])), None)


def beside(secret: ClusterSecret, others: Mapping[Name, list[tuple[ClusterSecret, Recognition]]]) -> dict[str, str]:
    """Return the names of the unmanaged Secrets that are certainly for the cluster of ours, and the name of ours."""
    try:
        name = secret.cluster or secret.membership
    except PermanentError:
        return {}  # reported as invalid
    found = others.get(name, []) if name else []
    return {other.name: secret.name for other, recognition in found if len(recognition.names) == 1}


def membership_at(server: str, settings: Settings) -> MembershipName | None:
    """Return the membership of our fleet that a gateway URL leads to, in any of its forms; None for any other URL."""
    return _membership_at(server, settings)[0]


def writer(secret: ClusterSecret) -> str:
    """Return what still writes a Secret, '' if unknown: a known controller, or the Secret's owner object."""
    marks = {**secret.labels, **secret.annotations}
    for mark, name in WRITERS.items():
        if mark in marks:
            return name
    return "fleet-argocd-plugin" if PLUGIN in marks else secret.controller


# Shows what an adoption would do, and changes nothing.
ADOPT: Final = "python -m ops adopt --dry-run"


def remedy(secret: ClusterSecret, recognition: Recognition, settings: Settings) -> tuple[str, str]:
    """Return advice about an unmanaged Secret for one of our clusters, and its command, '' without one."""
    if len(recognition.names) > 1:
        several = " or ".join(sorted(map(str, recognition.names)))
        return f"It may be for {several}. Annotate it with the right one", annotate_command(secret, settings)
    if secret.is_managed:
        text = "Select the cluster in one registrar only; if that registrar does not exist any more, delete the Secret"
        return text, kubectl(settings.argocd_namespace, "get secret", secret.name, "--show-labels")
    if name := writer(secret):
        text = f"Stop {name}, which writes it, and then adopt or delete it"
        return f"{text}; or leave all cluster Secrets to it with SECRETS=external", ADOPT
    if owner := secret.labels.get(MANAGED_BY_LABEL):
        return f"{owner} manages it (label {MANAGED_BY_LABEL}): end that, and then adopt or delete it", ADOPT
    return "Adopt or delete it", ADOPT


def annotate_command(secret: ClusterSecret, settings: Settings) -> str:
    """Return the command by which a person says which cluster a Secret is for."""
    cluster = f"{CLUSTER}=projects/PROJECT/locations/LOCATION/clusters/CLUSTER"
    return kubectl(settings.argocd_namespace, "annotate --overwrite secret", secret.name, cluster)


def _annotated(secret: ClusterSecret, settings: Settings) -> Name | None:
    if CLUSTER in secret.annotations:
        return ClusterName.parse(secret.annotations[CLUSTER], settings.numbers)
    if MEMBERSHIP in secret.annotations:
        return MembershipName.parse(secret.annotations[MEMBERSHIP], settings.numbers)
    return None


def _membership_at(server: str, settings: Settings) -> tuple[MembershipName | None, str]:
    """Return the membership that a gateway URL leads to, or why a gateway URL leads to none of our fleet."""
    path = _gateway_path(server, settings)
    if path is None:
        return None, ""
    found = _PATH.fullmatch(path)
    if found is None:
        return None, f"its server {server} is a gateway URL, but of no membership"
    try:
        name = MembershipName.parse(
            f"projects/{found[1]}/locations/{found[2] or 'global'}/memberships/{found[3]}", settings.numbers
        )
    except InvalidNameError as error:
        return None, f"its server {server} is a gateway URL, but not of our fleet: {error}"
    if name.project != settings.fleet_project:
        return None, f"its server {server} is a gateway URL, but of the fleet of {name.project}"
    return name, ""


def _gateway_path(server: str, settings: Settings) -> str | None:
    """Return the path of a gateway URL, without the prefix of an endpoint override; None for other servers."""
    override = settings.connectgateway_endpoint
    try:
        parts, expected = _split(server), _split(override)
    except ValueError:
        return None
    path = re.sub(r"/{2,}", "/", unquote(parts.path)).rstrip("/")
    if _HOST.fullmatch(_address(server)):
        return path
    if override and _address(server) == _address(override):
        prefix = expected.path.rstrip("/")
        return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else None
    return None


def _split(server: str) -> SplitResult:
    """Split a server's URL; without a scheme it begins with the host, as client-go takes it. Raises ValueError."""
    text = server.strip()
    return urlsplit(text if "//" in text[:8] else f"//{text}")


def _address(server: str) -> str:
    """Return host and port of a server's URL as `Cluster.addresses` has them: lower case, no port for 443."""
    try:
        parts = _split(server)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return ""
    return host if port in (None, 443) else f"{host}:{port}"


def _is_private(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_private
    except ValueError:
        return False


def _named(secret: ClusterSecret, known: Index) -> Iterator[Name]:
    """Yield the clusters that the Secret's names stand for, whether or not they were read."""
    given = _given_names(secret)
    for text in given:
        yield from known.by_name.get(text, ())
        if (name := _parsed(text, known.settings)) is not None:
            yield known.subject(name)
    if PROFILE_ORIGIN in secret.labels or PROFILE_SYNCER in secret.annotations:
        # `NAMESPACE.PROFILE` by Google's syncer, `cluster-PROFILE` by Argo CD's.
        for text in given:
            for profile in _profiles(text):
                yield from known.by_profile.get(profile, ())


def _given_names(secret: ClusterSecret) -> set[str]:
    return {secret.name, secret.data.get("name", "")}


def _profiles(text: str) -> tuple[str, str]:
    profile = text.rpartition(".")[2]
    return profile, profile.removeprefix("cluster-")


def _parsed(text: str, settings: Settings) -> Name | None:
    fleet = settings.fleet_project
    try:
        if found := _GKE_CONTEXT.fullmatch(text):
            return ClusterName.parse("projects/{}/locations/{}/clusters/{}".format(*found.groups()))
        if found := _GATEWAY_CONTEXT.fullmatch(text):
            name = MembershipName.parse(
                f"projects/{found[1]}/locations/{found[2] or 'global'}/memberships/{found[3]}", settings.numbers
            )
            return name if name.project == fleet else None
        if (found := _PLUGIN_NAME.fullmatch(text)) and found[3] == settings.fleet_project_number:
            return MembershipName.parse(f"projects/{fleet}/locations/{found[2]}/memberships/{found[1]}")
    except InvalidNameError:
        pass
    return None


def _frozen(found: Mapping[str, set[Name]]) -> dict[str, frozenset[Name]]:
    return {key: frozenset(names) for key, names in found.items()}
