"""The Secrets of a whole fleet in half the memory: of each, one text, and tables of what many of them have in common.

Pure. A dict with a dozen short texts takes several times as much as the texts themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, overload

from shared.values.cluster_secret import GRANT, LABEL_KEYS, NETWORK, SUBNETWORK, WORKLOAD_POOL, ClusterSecret

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shared.values.cluster_secret import ParsedNames
    from shared.values.names import ClusterName, InvalidNameError, MembershipName

_SEPARATOR: Final = "\0"
# Their values are long, and the same in many Secrets.
_COMMON: Final = frozenset({GRANT, LABEL_KEYS, NETWORK, SUBNETWORK, WORKLOAD_POOL, "config"})

_Keys = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]  # of labels, annotations and data


class _Layout(NamedTuple):
    """The keys of a Secret, shared by all Secrets that have the same keys. `common_*` are those in `_COMMON`."""

    labels: tuple[str, ...]
    annotations: tuple[str, ...]
    data: tuple[str, ...]
    common_annotations: tuple[str, ...]
    common_data: tuple[str, ...]

    @classmethod
    def of(cls, keys: _Keys) -> _Layout:
        labels, annotations, data = keys
        (own, common), (own_data, common_data) = _divided(annotations), _divided(data)
        return cls(labels, own, own_data, common, common_data)


class _Packed(NamedTuple):
    layout: _Layout
    common: tuple[str, ...]  # the common texts: of the annotations, then of the data
    texts: str  # the four fields, then the values in the order of the layout's keys
    cluster: ClusterName | InvalidNameError | None
    membership: MembershipName | InvalidNameError | None


class PackedSecrets(Sequence[ClusterSecret]):
    """Secrets in the order in which they were appended. Each access makes a new and equal ClusterSecret."""

    def __init__(self, secrets: Iterable[ClusterSecret] = ()) -> None:
        self._packed: list[_Packed | ClusterSecret] = []
        self._layouts: dict[_Keys, _Layout] = {}
        self._common: dict[tuple[str, ...], tuple[str, ...]] = {}
        for secret in secrets:
            self.append(secret)

    def append(self, secret: ClusterSecret) -> None:
        """Add a Secret at the end."""
        labels, annotations, data = secret.labels, secret.annotations, secret.data
        keys = (tuple(labels), tuple(annotations), tuple(data))
        layout = self._layouts.get(keys) or self._layouts.setdefault(keys, _Layout.of(keys))
        values = [secret.name, secret.uid, secret.resource_version, secret.created, *labels.values()]
        values += [annotations[key] for key in layout.annotations]
        values += [data[key] for key in layout.data]
        texts = _SEPARATOR.join(values)
        # Rare: somebody's value has the separator in it, or what is not packed is set.
        if texts.count(_SEPARATOR) != len(values) - 1 or secret.controller or secret.is_immutable:
            self._packed.append(secret)
            return
        common = (
            *[annotations[key] for key in layout.common_annotations],
            *[data[key] for key in layout.common_data],
        )
        common = self._common.setdefault(common, common)
        self._packed.append(_Packed(layout, common, texts, *secret.parsed_names))

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
        layout, common = packed.layout, iter(packed.common)
        texts = iter(packed.texts.split(_SEPARATOR))
        return ClusterSecret(
            name=next(texts),
            uid=next(texts),
            resource_version=next(texts),
            created=next(texts),
            labels=dict(zip(layout.labels, texts)),  # noqa: B905 - each map takes its part of the texts
            annotations=_joined(layout.annotations, texts, layout.common_annotations, common),
            data=_joined(layout.data, texts, layout.common_data, common),
            names=(packed.cluster, packed.membership),
        )


def _divided(keys: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split keys into those with values of the Secret's own, and those in `_COMMON`."""
    return tuple(key for key in keys if key not in _COMMON), tuple(key for key in keys if key in _COMMON)


def _joined(
    own: tuple[str, ...], texts: Iterator[str], common: tuple[str, ...], common_texts: Iterator[str]
) -> dict[str, str]:
    """Return the map of the keys; takes as many values from each iterator as there are keys."""
    found = dict(zip(own, texts))  # noqa: B905 - the rest belongs to the next map
    found.update(zip(common, common_texts))  # noqa: B905
    return found


def names_in(secrets: Sequence[ClusterSecret]) -> Iterable[ParsedNames]:
    """Give the names in the annotations of each Secret; packed ones stay packed."""
    if isinstance(secrets, PackedSecrets):
        return secrets.parsed_names()
    return (secret.parsed_names for secret in secrets)
