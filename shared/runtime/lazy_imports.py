"""Lighter imports of the official clients, for a function's process: a cold start is mostly imports (docs/decisions/0007).

The clients import much for what a function never does: signing with a key, reading a kubeconfig, streaming, asynchronous
transports. `main.py` asks for this once, before a client is imported; no other process does.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

# Loaded when first touched, which is never: importing them is all that the clients do with them.
LAZY: Final = frozenset(
    {
        # Signing, and with it cryptography: a function's identity is the metadata server's, it holds no key (google-auth).
        "google.auth.crypt",
        "google.auth.iam",
        "google.auth.jwt",
        # A person's second factor (google-auth).
        "google.oauth2.reauth",
        # Kubeconfigs, watches, exec and port-forward, and with them yaml, oauthlib, websocket (kubernetes).
        "kubernetes.config",
        "kubernetes.dynamic",
        "kubernetes.informer",
        "kubernetes.stream",
        "kubernetes.watch",
        "yaml",
        # Messages in pure Python: the compiled implementation is installed (protobuf).
        "google.protobuf.internal.python_message",
        "google.protobuf.internal.type_checkers",
    }
)
# Reported as not installed: google-api-core uses it only for its extra `async_rest`; kubernetes requires it.
ABSENT: Final = frozenset({"aiohttp"})
# Importing the clients creates about 60,000 objects that stay. By Python's default (700; 2,000 since 3.12) the collector
# would scan them many times; with a threshold above their number it scans none.
COLLECT_AFTER: Final = 100_000


class Lighter:
    """Loads the modules of LAZY at first use (importlib.util.LazyLoader), and hides those of ABSENT."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how to load a module; None: as always. https://docs.python.org/3/reference/import.html#the-meta-path."""
        if name in ABSENT:
            raise ModuleNotFoundError(f"{name} is kept out of a function's cold start", name=name)
        found = PathFinder.find_spec(name, path, target) if name in LAZY else None
        if found is not None and found.loader is not None:
            found.loader = importlib.util.LazyLoader(found.loader)
        return found


def lighten() -> None:
    """Import lightly from here on, in this process; modules that are loaded already stay."""
    if Lighter not in sys.meta_path:
        sys.meta_path.insert(0, Lighter)
    gc.set_threshold(COLLECT_AFTER)
