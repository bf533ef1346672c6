"""The version: its one source. Packages, the bundle, `ops --version`, log entries and Terraform's labels read it here."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
