"""The clients of GKE and of the fleet on a stub, and the refusal of a Google API."""

from __future__ import annotations

from typing import Any

from shared.clients.fleet import Fleet
from shared.clients.gke import Gke
from shared.clients.transport import authorized_session
from tests.unit.given import NUMBERS
from tests.unit.stub import Identity, Stub, sends


def gke(stub: Stub) -> Gke:
    return Gke(authorized_session(Identity()), stub.url, NUMBERS)


def fleet(stub: Stub, slash: str = "") -> Fleet:
    return Fleet(authorized_session(Identity()), stub.url + slash, NUMBERS)


def refusal(status: int, reason: str) -> Any:
    return sends({"error": {"code": status, "status": reason, "message": "no"}}, status)
