"""One object in memory for equal texts: a fleet of 100,000 clusters says the same short texts over and over.

Pure. Long texts are not shared: they differ from cluster to cluster, and a table of them would cost more than it saves.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SHARED_LENGTH: Final = 30


def share_text(text: str) -> str:
    """Return the text; a short one as the object that all equal texts are."""
    return sys.intern(text) if len(text) < SHARED_LENGTH else text


def share_texts(texts: Mapping[str, str], common: Collection[str] = ()) -> dict[str, str]:
    """Return the texts by their keys; `common` are keys whose long texts are the same in many places as well."""
    return {
        sys.intern(key): sys.intern(text) if len(text) < SHARED_LENGTH or key in common else text
        for key, text in texts.items()
    }
