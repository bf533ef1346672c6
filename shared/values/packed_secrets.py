"""The Secrets of a whole fleet in half the memory: of each, one text, and tables of what many of them have in common.

Pure. A dict with a dozen short texts takes several times as much as the texts themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, overload

from shared.values.cluster_secret import GRANT, LABEL_KEYS, PREFIX, ClusterSecret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from shared.values.cluster_secret import ParsedNames
    from shared.values.names import ClusterName, InvalidNameError, MembershipName

_SEPARATOR: Final = "\0"
# Their texts are long, and the same in many Secrets.
_COMMON: Final = (GRANT, LABEL_KEYS, f"{PREFIX}network", f"{PREFIX}subnetwork", f"{PREFIX}workload-pool", "config")

_Keys = tuple[
    tuple[str, ...], tuple[str, ...], tuple[str, ...]
]  # of labels, annotations and data, without those in `_COMMON`
_Pairs = tuple[tuple[str, str], ...]


class _Packed(NamedTuple):
    keys: _Keys
    common_annotations: _Pairs
    common_data: _Pairs
    texts: str  # the four fields, then the values by their keys
    cluster: ClusterName | InvalidNameError | None
    membership: MembershipName | InvalidNameError | None


class PackedSecrets(Sequence[ClusterSecret]):
    """Secrets in the order in which they were appended. Each access makes a new and equal ClusterSecret."""

    def __init__(self, secrets: Iterable[ClusterSecret] = ()) -> None:
        self._packed: list[_Packed | ClusterSecret] = []
        self._keys: dict[_Keys, _Keys] = {}
        self._pairs: dict[_Pairs, _Pairs] = {}
        for secret in secrets:
            self.append(secret)

    def append(self, secret: ClusterSecret) -> None:
        """Add a Secret at the end."""
        annotations, common_annotations = self._divided(secret.annotations)
        data, common_data = self._divided(secret.data)
        fields = secret.name, secret.uid, secret.resource_version, secret.created
        values = (*fields, *secret.labels.values(), *annotations.values(), *data.values())
        texts = _SEPARATOR.join(values)
        # Rare: somebody's value has the separator in it, or what is not packed is set.
        if texts.count(_SEPARATOR) != len(values) - 1 or secret.controller or secret.is_immutable:
            self._packed.append(secret)
            return
        found: _Keys = (tuple(secret.labels), tuple(annotations), tuple(data))
        keys = self._keys.setdefault(found, found)
        self._packed.append(_Packed(keys, common_annotations, common_data, texts, *secret.parsed_names))

    def parsed_names(self) -> Iterator[ParsedNames]:
        """Give the names in the annotations of each Secret."""
        for packed in self._packed:
            yield (packed.cluster, packed.membership) if isinstance(packed, _Packed) else packed.parsed_names

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, index: int) -> ClusterSecret: ...

    @overload
    def __getitem__(self, index: slice) -> list[ClusterSecret]: ...

    def __getitem__(self, index: int | slice) -> ClusterSecret | list[ClusterSecret]:
        if isinstance(index, slice):
            return [self[each] for each in range(len(self))[index]]
        packed = self._packed[index]
        if isinstance(packed, ClusterSecret):
            return packed
        labels, annotations, data = packed.keys
        texts = iter(packed.texts.split(_SEPARATOR))
        return ClusterSecret(
            name=next(texts),
            uid=next(texts),
            resource_version=next(texts),
            created=next(texts),
            labels=dict(zip(labels, texts)),  # noqa: B905 - each map takes its part of the texts
            annotations=dict((*zip(annotations, texts), *packed.common_annotations)),  # noqa: B905
            data=dict((*zip(data, texts), *packed.common_data)),  # noqa: B905
            names=(packed.cluster, packed.membership),
        )

    def _divided(self, texts: Mapping[str, str]) -> tuple[dict[str, str], _Pairs]:
        """Return the texts without the common ones, and these as one object for all Secrets that have the same."""
        own = dict(texts)
        pairs = tuple((key, own.pop(key)) for key in _COMMON if key in texts)
        return own, self._pairs.setdefault(pairs, pairs)


def names_in(secrets: Sequence[ClusterSecret]) -> Iterable[ParsedNames]:
    """Give the names in the annotations of each Secret; packed ones stay packed."""
    if isinstance(secrets, PackedSecrets):
        return secrets.parsed_names()
    return (secret.parsed_names for secret in secrets)
