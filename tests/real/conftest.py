"""What needs the real parts runs where it is asked for: `make test-real` sets REAL_PARTS."""

from __future__ import annotations

import os

import pytest

REASON = "left out: needs kube-apiserver and Argo CD built (make test-real)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get("REAL_PARTS"):
        for item in items:
            if "tests/real/" in str(item.path.as_posix()):
                item.add_marker(pytest.mark.skip(reason=REASON))
