"""Argo CD's shards: which application controller a cluster belongs to, as `data.shard` of its Secret says.

Pure. Sharding algorithms that count clusters move other clusters at each registration (argo-cd #29476, #28558). A Secret that
names its shard does not move.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from shared.decisions import reports
from shared.values.codes import FindingCode
from shared.values.findings import Finding
from shared.values.objects import Object, encoded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from shared.values.cluster_secret import ClusterSecret
    from shared.values.settings import Settings

_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")


def shard_of(secret: ClusterSecret, shards: int) -> int | None:
    """Return the Secret's shard; None if it has none from 0 to below `shards`."""
    text = secret.data.get("shard", "")
    return int(text) if _NUMBER.fullmatch(text) and int(text) < shards else None


def usage(secrets: Iterable[ClusterSecret], shards: int) -> dict[int, int]:
    """Return how many Secrets each shard has, managed or not: all of them load the same controllers."""
    counts = dict.fromkeys(range(shards), 0)
    for secret in secrets:
        if (shard := shard_of(secret, shards)) is not None:
            counts[shard] += 1
    return counts


def least_used(counts: Mapping[int, int], name: str) -> int:
    """Return the least used shard. Of equal ones a hash of the name chooses, so that simultaneous onboardings spread."""
    return min(counts, key=lambda shard: (counts[shard], hashlib.sha256(f"{shard} {name}".encode()).digest()))


def assignments(
    managed: Iterable[ClusterSecret], all_secrets: Iterable[ClusterSecret], shards: int
) -> list[tuple[ClusterSecret, int]]:
    """Return a shard for each Secret of ours without one. An existing number stays, also one out of range."""
    counts = usage(all_secrets, shards)
    found = []
    for secret in sorted(managed, key=lambda secret: secret.name):
        if not secret.data.get("shard"):
            shard = least_used(counts, secret.name)
            counts[shard] += 1
            found.append((secret, shard))
    return found


def with_shard(manifest: Object, shard: int) -> Object:
    """Return the manifest of a Secret that names its shard."""
    return {**manifest, "data": {**manifest["data"], **_data(shard)}}


def shard_patch(secret: ClusterSecret, shard: int) -> Object:
    """Return the merge patch that gives the very Secret that was read its shard."""
    return {"metadata": secret.precondition, "data": _data(shard)}


def _data(shard: int) -> dict[str, str]:
    return {"shard": encoded(str(shard))}


def problem(secret: ClusterSecret, settings: Settings) -> str:
    """Return what is wrong with the Secret's shard; '' if nothing is. Without ARGOCD_SHARDS the upper bound is unknown."""
    text = secret.data.get("shard", "")
    if not text or shard_of(secret, settings.argocd_shards or 10**9) is not None:
        return ""
    if text.startswith("-"):
        return f"its shard is {text[:20]!r}, which no controller owns: Argo CD does not reconcile the cluster"
    most = (
        f"from 0 to {settings.argocd_shards - 1} (ARGOCD_SHARDS)" if settings.argocd_shards else "that is not negative"
    )
    return f"its shard is {text[:20]!r}, not a number {most}"


def wrong(secret: ClusterSecret, settings: Settings) -> Iterator[Finding]:
    """Yield what a sweep reports of a Secret whose shard is wrong."""
    if text := problem(secret, settings):
        text = f"{text}. Correct or remove its data.shard"
        command = reports.remove_shard_command(secret.name, settings)
        yield Finding(FindingCode.INVALID_SHARD, secret.name, text, command)


def missing(without: int, secrets: int, settings: Settings) -> Iterator[Finding]:
    """Yield one finding for all Secrets without a shard, where Argo CD has shards."""
    if settings.argocd_shards and without:
        text = f"{without} of {secrets} Secrets have no shard. Give them one"
        yield Finding(FindingCode.NO_SHARD, "Argo CD", text, "python -m ops shards --assign")
