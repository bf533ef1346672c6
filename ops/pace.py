"""Publishes many requests at a rate that leaves a part of Connect Gateway's quota to others.

The gateway takes 2,400 requests a minute for a whole fleet project, Argo CD's own included
(https://cloud.google.com/kubernetes-engine/enterprise/multicluster-management/gateway/quotas). An onboarding makes seven
through it: the binding and an access review by `grant-rbac`, three lists of Secrets and two writes by `write-secret`. With
Terraform's defaults `write-secret` makes 417 a minute, which are 83 clusters (docs/scale.md#the-gateways-quota): messages
that come faster wait, and use up their attempts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

GATEWAY_REQUESTS: Final = 2400
CALLS_PER_CLUSTER: Final = 7
CLUSTERS_A_MINUTE: Final = 80


def paced(
    items: Iterable[T],
    a_minute: int,
    *,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[T]:
    """Yield the items evenly, never more than `a_minute` in any minute, also after a delay."""
    due = clock()
    for item in items:
        if (early := due - clock()) > 0:
            wait(early)
        due = max(due, clock()) + 60 / a_minute
        yield item
