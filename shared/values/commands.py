"""Commands for people to paste: gcloud and kubectl, quoted for a shell. Pure."""

from __future__ import annotations

import shlex

from shared.values.names import ClusterName, Name


def gcloud(verb: str, *words: str, **flags: str) -> str:
    """Return a gcloud command: `ack_deadline="60"` is the flag `--ack-deadline=60`; the flags come last."""
    named = (f"--{flag.replace('_', '-')}={value}" for flag, value in flags.items())
    return shlex.join(["gcloud", *verb.split(), *words, *named])


def kubectl(namespace: str, verb: str, *words: str) -> str:
    """Return a kubectl command in a namespace."""
    return shlex.join(["kubectl", "-n", namespace, *verb.split(), *words])


def gcloud_on(verb: str, name: Name, *words: str) -> str:
    """Return a gcloud command on one GKE cluster or one membership."""
    kind = "clusters" if isinstance(name, ClusterName) else "fleet memberships"
    where = f"--location={name.location}", f"--project={name.project}"
    return gcloud(f"container {kind} {verb}", name.short, *where, *words)
