"""Names of clusters and memberships: parsed once into a canonical form, and what is derived from them.

Pure. Nothing else in the project takes a resource name apart.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# A project id may carry an old domain prefix (`example.com:apps`); a location is a region, a zone or `global`.
_PROJECT = r"(?:[a-z0-9.-]+:)?[a-z0-9][a-z0-9-]*"
_LOCATION = r"[a-z][a-z0-9-]*"
# Google's own name rules (discovery documents of container v1 and gkehub v1): 40 and 63 characters.
_CLUSTER = re.compile(
    rf"(?://container\.googleapis\.com/)?projects/({_PROJECT})/(?:locations|zones|regions)/({_LOCATION})/clusters/([a-z](?:[a-z0-9-]{{0,38}}[a-z0-9])?)"
)
_MEMBERSHIP = re.compile(
    rf"(?://gkehub\.googleapis\.com/)?projects/({_PROJECT})/locations/({_LOCATION})/memberships/([a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?)"
)
_PROJECT_ID = re.compile(_PROJECT)
_PLACE = re.compile(rf"({_LOCATION})|.*/(?:locations|zones|regions)/({_LOCATION})(?:/.*)?")
_REGION = re.compile(r"([a-z]+-[a-z]+[0-9]+)(?:-[a-z0-9]+)?")


EVERYWHERE = "*"


class InvalidNameError(ValueError):
    """A text is not the resource name it should be; the message shows the form that is."""


@functools.lru_cache(16)  # a sweep needs the same hash twice in a row
def _hash(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


@functools.lru_cache(1024)
def _region(location: str) -> str:
    """Return the region of a zone or region; '' for `global`."""
    found = _REGION.fullmatch(location)
    return found[1] if found else ""


def place(text: str) -> str:
    """Return the location in an item of `unreachable` or `missingZones`; `EVERYWHERE` if it names none.

    It may be a location, a resource name with one, or the name of an object in it (https://google.aip.dev/217).
    """
    found = _PLACE.fullmatch(text)
    return (found[1] or found[2]) if found else EVERYWHERE


def project_id(text: str, numbers: Mapping[str, str] | None = None) -> str:
    """Return the project ID of an ID or of a number that is known. Raises InvalidNameError."""
    if not _PROJECT_ID.fullmatch(text):
        raise InvalidNameError(f"{_shown(text)} is not a project ID")
    return _project(text, numbers or {}, text)


def _project(text: str, numbers: Mapping[str, str], whole: str) -> str:
    """Return the project id: of all project numbers only those in `numbers` (number → id) are known."""
    if not text.isdigit():
        return text
    if text not in numbers:
        raise InvalidNameError(
            f"{whole!r} names project number {text}, which is not the fleet project's: write the project id"
        )
    return numbers[text]


@dataclass(frozen=True, slots=True, order=True)
class ClusterName:
    """A GKE cluster: `projects/P/locations/L/clusters/C`."""

    project: str
    location: str
    cluster: str

    @classmethod
    def parse(cls, text: object, numbers: Mapping[str, str] | None = None) -> ClusterName:
        """Parse `[//container.googleapis.com/]projects/P/{locations|zones}/L/clusters/C`.

        Audit entries say `zones/` for regions too. `numbers` maps the project numbers that are known to ids.
        Raises InvalidNameError.
        """
        found = _CLUSTER.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise InvalidNameError(
                f"{_shown(text)} is not a cluster's name: projects/PROJECT/locations/LOCATION/clusters/CLUSTER"
            )
        project, location, cluster = found.groups()
        project = _project(project, numbers or {}, found[0])
        return cls(sys.intern(project), sys.intern(location), sys.intern(cluster))

    def __str__(self) -> str:
        return f"projects/{self.project}/locations/{self.location}/clusters/{self.cluster}"

    @property
    def hash(self) -> str:
        """32 hex digits by which the cluster's Secret is found."""
        return _hash(str(self), 32)

    @property
    def short(self) -> str:
        """The bare name of the cluster."""
        return self.cluster

    @property
    def region(self) -> str:
        """The region that the cluster is in."""
        return _region(self.location)

    @property
    def link(self) -> str:
        """The `resourceLink` of a membership; with `locations` also for zonal clusters (gkehub v1)."""
        return f"//container.googleapis.com/{self}"

    @property
    def secret_name(self) -> str:
        """Name of the Secret and Argo CD's name of the cluster."""
        return f"{self.project}.{self.location}.{self.cluster}".replace(":", "-")

    def membership(self, fleet_project: str) -> MembershipName:
        """Return the membership that we would make: in the cluster's region, with an ID from the cluster's full name."""
        return MembershipName(fleet_project, self.region or self.location, f"{self.cluster}-{_hash(str(self), 8)}")


@dataclass(frozen=True, slots=True, order=True)
class MembershipName:
    """A fleet membership: `projects/F/locations/L/memberships/M`."""

    project: str
    location: str
    membership: str

    @classmethod
    def parse(cls, text: object, numbers: Mapping[str, str] | None = None) -> MembershipName:
        """Parse `[//gkehub.googleapis.com/]projects/F/locations/L/memberships/M`. Raises InvalidNameError."""
        found = _MEMBERSHIP.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise InvalidNameError(
                f"{_shown(text)} is not a membership's name: projects/FLEET_PROJECT/locations/LOCATION/memberships/MEMBERSHIP"
            )
        project, location, membership = found.groups()
        project = _project(project, numbers or {}, found[0])
        return cls(sys.intern(project), sys.intern(location), sys.intern(membership))

    def __str__(self) -> str:
        return f"projects/{self.project}/locations/{self.location}/memberships/{self.membership}"

    @property
    def hash(self) -> str:
        """32 hex digits by which the membership's Secret is found."""
        return _hash(str(self), 32)

    @property
    def short(self) -> str:
        """The bare name of the membership."""
        return self.membership

    @property
    def region(self) -> str:
        """The region that the membership is in; '' for `global`."""
        return _region(self.location)

    @property
    def secret_name(self) -> str:
        """Name of an attached cluster's Secret and Argo CD's name of it."""
        return f"{self.project}.{self.location}.memberships.{self.membership}".replace(":", "-")

    def gateway_url(self, fleet_number: str, *, gke: bool, override: str = "") -> str:
        """Return the Kubernetes API's address through Connect Gateway, without a trailing slash.

        `gkeMemberships` only where the membership's endpoint is a GKE cluster; the host is regional except for
        `global`; the project is its number (gcloud: command_lib/container/fleet/memberships). `override` is the whole
        endpoint to use in place of Google's (`https://host:port/`).
        """
        prefix = "" if self.location == "global" else f"{self.location}-"
        base = override.rstrip("/") or f"https://{prefix}connectgateway.googleapis.com"
        collection = "gkeMemberships" if gke else "memberships"
        return f"{base}/v1/projects/{fleet_number}/locations/{self.location}/{collection}/{self.membership}"


Name = ClusterName | MembershipName


def parse_name(text: str, numbers: Mapping[str, str] | None = None) -> Name | None:
    """Parse the full name of a GKE cluster or a membership; None if it is neither."""
    for parse in (ClusterName.parse, MembershipName.parse):
        with suppress(InvalidNameError):
            return parse(text, numbers)
    return None


def _shown(text: object) -> str:
    shown = repr(text)
    return shown if len(shown) <= 120 else f"{shown[:117]}..."
