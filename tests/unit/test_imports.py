"""Optional packages stay out of the official clients' imports, and come back afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_function_starts_without_the_asynchronous_transport() -> None:
    program = "import sys, shared.fleet, shared.gateway, shared.bus; print('aiohttp' in sys.modules); import aiohttp"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (told.stdout.strip(), told.stderr) == ("False", "")


def test_a_package_that_is_loaded_already_stays() -> None:
    from shared import imports

    with imports.without("json"):
        import json
    assert sys.modules["json"] is json


def test_a_package_comes_back_after_a_failed_import(monkeypatch: pytest.MonkeyPatch) -> None:
    from shared import imports

    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with pytest.raises(ModuleNotFoundError), imports.without("colorsys"):
        import colorsys
    import colorsys

    assert colorsys
