"""Source labels made into labels of a Kubernetes object.

Pure. Google allows labels that Kubernetes refuses (international letters, a value that ends in `-`); what can be made
valid without losing letters is, the rest is reported by name, so that the caller can keep the previous value.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
# What a label's key or value has at its source: Google allows letters and digits of every script.
# https://cloud.google.com/kubernetes-engine/docs/how-to/creating-managing-labels
LABEL_CHARACTER = r"[\w./-]"
_SOURCE_KEY = re.compile(rf"{LABEL_CHARACTER}*")
_RESERVED_DOMAINS = ("kubernetes.io", "k8s.io", "argoproj.io", "fleet-registrar")


@dataclass(frozen=True, slots=True)
class Translated:
    """`labels` are valid for Kubernetes; `kept` are keys whose value could not be made valid; `warnings` say why."""

    labels: Mapping[str, str]
    kept: frozenset[str]
    warnings: tuple[str, ...]


@functools.lru_cache(4096)  # a sweep asks for the same few keys and values of thousands of clusters
def valid_value(text: str) -> str | None:
    """Return the text as a valid label value, or None: `:` becomes `-`, the ends are trimmed, the length is cut to 63."""
    value = text.replace(":", "-").strip("-_.")[:63].rstrip("-_.")
    if value == "":
        return "" if text == "" else None
    return value if _NAME.fullmatch(value) else None


@functools.lru_cache(4096)
def valid_key(text: str) -> str | None:
    """Return the text as a valid label key (`[prefix/]name`), or None."""
    prefix, slash, name = text.rpartition("/")
    if slash and not _PREFIX.fullmatch(prefix):
        return None
    value = valid_value(name)
    return f"{prefix}{slash}{value}" if value else None


@functools.lru_cache(4096)
def is_reserved(key: str) -> bool:
    """Whether a source label is not for us to copy: Google's own, ours, and the domains of Kubernetes and Argo CD."""
    prefix, slash, _ = key.partition("/")
    domain = bool(slash) and any(prefix == own or prefix.endswith(f".{own}") for own in _RESERVED_DOMAINS)
    return domain or key.startswith(("goog-", "fleet-registrar-"))


@dataclass(frozen=True, slots=True)
class LabelKeys:
    """Which source labels are copied, and under which key: `names`, `prefixes` and `renames`. None of them: all labels."""

    names: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    renames: Mapping[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def parse(cls, text: str) -> LabelKeys:
        """Parse `env,team:example.com/team,cost-*`. Raises ValueError that says which part is wrong."""
        names: set[str] = set()
        prefixes: set[str] = set()
        renames: dict[str, str] = {}
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts:
            raise ValueError("the list is empty")
        for part in parts:
            key, colon, target = (piece.strip() for piece in part.partition(":"))
            plain = key.removesuffix("*") if not colon else key
            if not key or not _SOURCE_KEY.fullmatch(plain) or (colon and ("*" in part or not target)):
                raise ValueError(f"{part!r} is not a label key: write KEY, PREFIX* or KEY:NEW-KEY")
            if not colon:
                (prefixes if key.endswith("*") else names).add(key.removesuffix("*"))
                continue
            if valid_key(target) != target:
                raise ValueError(f"{part!r}: {target!r} is not a valid Kubernetes label key")
            if is_reserved(target):
                raise ValueError(f"{part!r}: {target!r} is reserved; people who may label a cluster must not set it")
            if target in renames.values() or renames.get(key, target) != target:
                raise ValueError(f"{part!r}: {key!r} or {target!r} is in another rename already")
            renames[key] = target
        if twice := sorted(names & renames.keys()):
            raise ValueError(f"{twice[0]!r} is both copied and renamed")
        return cls(frozenset(names), tuple(sorted(prefixes)), renames)

    def target(self, key: str) -> str | None:
        """Return the key under which a source label is copied, not yet made valid; None if it is not copied."""
        if key in self.renames:
            return self.renames[key]
        everything = not (self.names or self.prefixes or self.renames)
        return key if everything or key in self.names or key.startswith(self.prefixes) else None


def translate(source: Mapping[str, str], keys: LabelKeys = LabelKeys()) -> Translated:
    """Translate the source labels that `keys` names (none: all).

    Of two keys that fall into one, the one that needed no change wins; else the first in order of the alphabet.
    """
    return _translated(tuple(source.items()), keys)


@functools.lru_cache(4096)  # many clusters of a fleet have the same labels
def _translated(pairs: tuple[tuple[str, str], ...], keys: LabelKeys) -> Translated:
    source = dict(pairs)
    labels: dict[str, str] = {}
    origin: dict[str, str] = {}
    kept: set[str] = set()
    warnings: list[str] = []
    targets = {key: target for key in source if not is_reserved(key) and (target := keys.target(key)) is not None}
    for key in sorted(targets, key=lambda key: (valid_key(targets[key]) != key, key)):
        name = valid_key(targets[key])
        if name is None or is_reserved(name):
            warnings.append(f"label key {key!r} cannot be made valid for Kubernetes: left out")
            continue
        if name in origin:
            warnings.append(f"labels {origin[name]!r} and {key!r} would both become {name!r}: {key!r} is left out")
            continue
        origin[name] = key
        value = valid_value(source[key])
        if value is None:
            kept.add(name)
            warnings.append(
                f"value {source[key]!r} of label {key!r} cannot be made valid for Kubernetes: the old one stays"
            )
            continue
        labels[name] = value
    return Translated(labels, frozenset(kept), tuple(warnings))
