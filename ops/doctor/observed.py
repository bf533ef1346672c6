"""The observed deployment, as the APIs answer; each part may be `Unread`. Pure values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ops.doctor.findings import NOT_READ, Read
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


Bindings = tuple[Object, ...]  # an IAM policy's `bindings`


@dataclass(frozen=True)
class Operator:
    """Who runs the check. `needs_quota_project`: a person's own credentials, which bill calls to a project of their choice."""

    email: str
    needs_quota_project: bool
    quota_project: str


@dataclass(frozen=True)
class Google:
    """The projects, identities and APIs."""

    operator: Read[Operator]
    projects: Mapping[str, Read[Object | None]]  # cloudresourcemanager v1
    services: Mapping[str, Read[frozenset[str]]]  # enabled, `x.googleapis.com`
    policies: Mapping[str, Read[Bindings]]  # by project, what is inherited included where that was needed
    roles: Mapping[str, Read[frozenset[str]]]  # permissions of each role that a policy gives to one of our identities
    accounts: Read[Mapping[str, Object]]  # service accounts of the functions' project by e-mail
    account_policies: Mapping[str, Read[Bindings]]  # of the push identity and of Argo CD's


@dataclass(frozen=True)
class Delivery:
    """What carries messages and events: Pub/Sub, functions, triggers, sinks, the schedule."""

    topics: Read[frozenset[str]] = NOT_READ  # full names
    topic_policies: Mapping[str, Read[Bindings]] = field(default_factory=dict)  # by short name
    subscriptions: Read[Mapping[str, Object]] = NOT_READ  # by short name
    subscription_policies: Mapping[str, Read[Bindings]] = field(default_factory=dict)
    functions: Read[Mapping[str, Object]] = NOT_READ  # cloudfunctions v2, ours alone, by short name
    invokers: Mapping[str, Read[Bindings]] = field(default_factory=dict)  # of each function's Cloud Run service
    triggers: Read[tuple[Object, ...]] = NOT_READ  # eventarc v1, all locations
    # By source project; of folders and organisation too where it has none.
    sinks: Mapping[str, Read[tuple[Object, ...]]] = field(default_factory=dict)
    jobs: Read[tuple[Object, ...]] = NOT_READ  # cloudscheduler v1, in the functions' regions
    last_sweep: Read[datetime | None] = NOT_READ


@dataclass(frozen=True)
class DryRun:
    """The API server's answer to a dry-run write."""

    accepted: bool
    message: str


@dataclass(frozen=True)
class Central:
    """The central cluster and Argo CD in it."""

    membership: Read[Object | None]  # gkehub v1
    reached_as: Read[str]  # the user name that the cluster sees
    namespace: Read[Object | None]
    controllers: Read[tuple[Object, ...]]  # StatefulSets and Deployments of the application controller
    parameters: Read[Object | None]  # ConfigMap argocd-cmd-params-cm
    service_accounts: Read[tuple[Object, ...]]  # of the namespace
    workload_pool: Read[str]  # of a GKE central cluster, else ''
    access: Mapping[tuple[str, str, str], Read[bool]]  # (identity, verb, namespace; '' all) on Secrets
    impersonation: Mapping[str, Read[bool]]  # whether the Connect agent may impersonate; empty on GKE
    policy: Read[Object | None]
    policy_bindings: Read[tuple[Object, ...]]
    wrong_secrets: Mapping[str, Read[DryRun]]  # by identity and attempt
    right_secret: Read[DryRun]


@dataclass(frozen=True)
class Fleet:
    """The lists that a sweep reads, and the quotas."""

    memberships: Read[Mapping[str, int]]  # how many, by location
    membership_limits: Read[Mapping[str, int]]  # by location; '' is the default of a region
    secrets: Read[tuple[tuple[str, str], ...]]  # (name, shard) of our Secrets
    unmanaged: Read[tuple[tuple[str, str], ...]]  # (Secret, cluster) of Secrets of others for our clusters
    writers: Read[tuple[tuple[str, str, str], ...]]  # (Secret, cluster or '', who goes on writing it)
    gateway_peak: Read[int]  # most requests in one minute of the last hour
    gateway_limit: Read[int]
    others: Read[tuple[tuple[str, str], ...]] = ()  # (name, shard) of the cluster Secrets of others


@dataclass(frozen=True)
class Observed:
    """All of it."""

    google: Google
    delivery: Delivery
    central: Central
    fleet: Fleet
    environment: Mapping[str, str] = field(default_factory=dict)  # the operator's settings


def at(value: object, *path: str) -> Any:
    """Return the value at a path of nested objects; None if it is absent."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def short(name: object) -> str:
    """Return the last part of a resource name."""
    return str(name or "").rpartition("/")[2]
