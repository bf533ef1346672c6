"""One object in memory for equal texts: a fleet of 100,000 clusters says the same short texts over and over.

Pure. Long texts are not shared: they differ from cluster to cluster, and a table of them would cost more than it saves.
"""

from __future__ import annotations

import functools
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

SHARED_LENGTH: Final = 30


def share_text(text: str) -> str:
    """Return the text; a short one as the object that all equal texts are."""
    return sys.intern(text) if len(text) < SHARED_LENGTH else text


def share_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the texts by their keys, both shared."""
    return {sys.intern(key): share_text(text) for key, text in texts.items()}


def share_map(texts: Mapping[str, str]) -> Mapping[str, str]:
    """Return one object for equal maps, as long as it is among the last few thousand: many clusters have the same labels."""
    return _shared_map(tuple(texts.items()))


@functools.lru_cache(4096)
def _shared_map(pairs: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    return MappingProxyType(share_texts(dict(pairs)))
