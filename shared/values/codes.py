"""Codes that programs read: in logs, dead letters, alerts, metrics and tests. Sentences may change, codes may not.

A log line carries `decision` (what was done) and `code` (why), beside the `message` for people.
"""

from __future__ import annotations

import enum


class Decision(enum.StrEnum):
    """What a function did with a message, an event or a difference."""

    # Every step
    NO_OP = "no_op"
    BLOCKED = "blocked"  # nothing was changed, and a person must act
    UNCHANGED = "unchanged"  # the object is as it should be
    REVERSED = "reversed"  # the chain reversed, from onboarding to offboarding or back
    RETRY = "retry"
    DEAD_LETTERED = "dead_lettered"
    DROPPED = "dropped"  # a sweep's request failed: the next sweep requests it again
    # route-event
    ROUTED = "routed"
    IGNORED = "ignored"
    # Onboarding
    REGISTERED = "registered"
    WAITING = "waiting"  # the cluster has no membership, and REGISTRATION=wait leaves that to others
    GRANTED = "granted"
    CREATED = "created"
    UPDATED = "updated"
    NEEDS_GRANT = "needs_grant"
    EXTERNAL = "external"  # SECRETS=external: the access is proven, and others write the Secret
    NEEDS_MEMBERSHIP = "needs_membership"
    # Offboarding
    FORWARDED = "forwarded"  # a membership's message became its cluster's
    HELD = "held"
    RELEASED = "released"
    DELETED = "deleted"
    NO_SECRET = "no_secret"  # noqa: S105 - the next step is due
    REVOKED = "revoked"
    NO_BINDING = "no_binding"
    UNREGISTERED = "unregistered"
    NO_MEMBERSHIP = "no_membership"
    # sweep
    REQUESTED = "requested"
    REPORTED = "reported"
    LIMITED = "limited"  # more removals than a removal limit allows: none of them was requested
    SWEPT = "swept"


class EventCode(enum.StrEnum):
    """What an event reports, and so why it leads to a request or to nothing."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    REFUSED = "refused"
    FAILED = "failed"
    STARTED = "started"
    UNRELATED = "unrelated"
    GKE_MEMBERSHIP = "gke_membership"  # the cluster's own audit entries report it


class ErrorCode(enum.StrEnum):
    """Why a function failed. `decision` says whether the message is retried or dead-lettered."""

    FAILED = "failed"
    UNEXPECTED = "unexpected"  # an exception that is not one of ours
    # Messages and events
    INVALID_MESSAGE = "invalid_message"
    INVALID_EVENT = "invalid_event"
    UNKNOWN_KEY = "unknown_key"  # the message may come from another version
    EXPIRED = "expired"  # a sweep's request that is too old: a later sweep requests it again
    REVERSED_TWICE = "reversed_twice"  # the chain would reverse again within a minute
    # Configuration
    INVALID_SETTINGS = "invalid_settings"
    NO_IDENTITY = "no_identity"
    NO_CENTRAL_MEMBERSHIP = "no_central_membership"
    NO_ROLE = "no_role"  # ARGOCD_CLUSTER_ROLE is not in the cluster
    # Answers of APIs
    NO_ANSWER = "no_answer"
    UNUSABLE_ANSWER = "unusable_answer"
    INVALID_REQUEST = "invalid_request"
    DENIED = "denied"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    API_ERROR = "api_error"  # any other refusal: `status` has the HTTP status
    INCOMPLETE_LIST = "incomplete_list"
    CONTRADICTION = "contradiction"  # two answers that cannot both be true
    TIMED_OUT = "timed_out"
    READ_JUST_NOW = "read_just_now"  # the cluster changes quickly: several changes become one read
    STALE_READ = "stale_read"  # too long between a read and the deletion that follows from it
    KEPT_BY_FINALIZERS = "kept_by_finalizers"
    # Memberships
    ID_TAKEN = "id_taken"
    MEMBERSHIP_IN_USE = "membership_in_use"
    MEMBERSHIP_MISMATCH = "membership_mismatch"  # cluster and membership do not name each other
    MEMBERSHIP_MISSING = "membership_missing"
    MEMBERSHIP_NOT_READY = "membership_not_ready"
    UNMANAGED_MEMBERSHIP = "unmanaged_membership"
    RECREATED = "recreated"  # cluster or membership is another one than the one that was read
    # Clusters
    NOT_READY = "not_ready"
    NOT_SELECTED = "not_selected"
    OTHER_FLEET = "other_fleet"
    UNREACHABLE = "unreachable"  # the gateway does not reach the cluster
    CLUSTER_DENIED = "cluster_denied"  # the cluster, not the gateway, refuses our identity
    NOT_ADMITTED = "not_admitted"  # a person must grant us access to an attached cluster
    ACCESS_UNPROVEN = "access_unproven"
    UNMANAGED_BINDING = "unmanaged_binding"
    # Secrets
    STALE_GRANT = "stale_grant"
    UNMANAGED_SECRET = "unmanaged_secret"  # noqa: S105
    DUPLICATE_SECRETS = "duplicate_secrets"
    SERVER_TAKEN = "server_taken"  # a managed Secret of another cluster has the server
    INVALID_ANNOTATION = "invalid_annotation"


class Limit(enum.StrEnum):
    """The removal limits of a sweep: docs/architecture.md#removal-limits. Each is released by a hash of its own."""

    LEAVING = "leaving"  # clusters that would be held or lose a label key because of labels or settings
    LEFT = "left"  # attached clusters whose memberships have disappeared
    GONE = "gone"  # clusters that both APIs say are gone and whose deletion events were missed


class FindingCode(enum.StrEnum):
    """What a sweep finds, and either requests a repair for or reports."""

    # Requests
    NOT_REGISTERED = "not_registered"
    NO_SECRET = "no_secret"  # noqa: S105
    GRANT_DIFFERS = "grant_differs"
    SECRET_DIFFERS = "secret_differs"  # noqa: S105
    LABELS_GONE = "labels_gone"
    UNSELECTED = "unselected"
    LEFT_FLEET = "left_fleet"
    HELD_LONG_ENOUGH = "held_long_enough"
    DELETING = "deleting"
    HOLD_DIFFERS = "hold_differs"
    NOT_LISTED = "not_listed"
    EARLIER_CLUSTER = "earlier_cluster"
    ORPHANED_MEMBERSHIP = "orphaned_membership"
    BINDING_LEFT = "binding_left"  # a binding of ours may be left in a cluster that the functions do not reach
    PERIODIC_CHECK = "periodic_check"
    READ_SINCE = "read_since"  # a step has read the cluster since the message was published
    GKE_MEMBERSHIP = "gke_membership"  # the message names the membership of a GKE cluster
    # Reports
    WAITING_FOR_MEMBERSHIP = "waiting_for_membership"
    PINNED = "pinned"
    UNKNOWN_STATE = "unknown_state"
    OTHER_FLEET = "other_fleet"
    MEMBERSHIP_NOT_READY = "membership_not_ready"
    AGENT_LOST = "agent_lost"
    INCOMPLETE_LIST = "incomplete_list"
    UNREAD_PROJECT = "unread_project"
    UNREADABLE_ITEM = "unreadable_item"  # one cluster or membership in a list, which leaves the others as they are
    INVALID_SECRET = "invalid_secret"  # noqa: S105
    DUPLICATE_SECRETS = "duplicate_secrets"
    OTHER_CLUSTER = "other_cluster"  # the membership of a Secret of ours belongs to another cluster now
    CLASHING_SECRET = "clashing_secret"  # noqa: S105
    SAME_INSTANCE = "same_instance"  # another registrar has the same INSTANCE
    OTHER_REGISTRAR = "other_registrar"  # a Secret of another instance or fleet
    INVALID_SHARD = "invalid_shard"
    NO_SHARD = "no_shard"
    STALE_RELEASE = "stale_release"
