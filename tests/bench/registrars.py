"""Two registrars with one Argo CD: what an onboarding and a sweep cost each of them, and what the other's clusters add."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.names import REGION
from local.registrars import DEFAULT, STAGING, Registrar
from tests.bench.calls import HOLDS
from tests.bench.cloud import APIS, cloud
from tests.bench.table import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chain.running import Chain

MORE = 10
ONBOARDING = HOLDS["onboarding, GKE"]
Calls = list[dict[str, Any]]


def measured() -> list[Row]:
    """The rows. Both registrars are warm when they are measured."""
    with tempfile.TemporaryDirectory() as directory, cloud(Path(directory), "--staging") as chain:
        for registrar in (DEFAULT, STAGING):
            _create(chain, registrar, "warm")
            _sweep(chain, registrar)
        pairs = ((DEFAULT, STAGING), (STAGING, DEFAULT))
        onboardings = [_calls(chain, partial(_create, chain, own, "counted")) for own, _ in pairs]
        sweeps, more, writes = [], [], 0
        for own, other in pairs:
            before = _swept(chain, own)
            for number in range(MORE):
                _create(chain, other, f"more-{number}")
            after = _swept(chain, own)
            sweeps.append(len(before))
            more.append((len(after) - len(before)) / MORE)
            writes += sum(call["method"] != "GET" for call in (*before, *after))
    made = [
        [sum(_is_of(one, call) for call in calls) for one in pair]
        for pair, calls in zip(pairs, onboardings, strict=True)
    ]
    owns, others = zip(*made, strict=True)
    return [
        Row(
            "two registrars: calls of an onboarding",
            f"{owns[0]} and {owns[1]}; the other registrar {others[0]} and {others[1]}",
            f"alone: {ONBOARDING}",
            max(owns) / ONBOARDING,
            f"<= {ONBOARDING}; 0",
            max(owns) <= ONBOARDING and not any(others),
            binding=True,
        ),
        Row(
            "two registrars: calls of an unchanged sweep",
            f"{sweeps[0]} and {sweeps[1]}; each cluster of the other {more[0]:g} and {more[1]:g}, {writes} writes",
            "of 12 projects and of one; 2 calls more for each 500 Secrets of the other",
            hold="0, 0",
            ok=more == [0, 0] and writes == 0,
            binding=True,
        ),
    ]


def _create(chain: Chain, registrar: Registrar, name: str) -> None:
    cluster = chain.create_cluster(name, project=registrar.project, labels={"env": "prod"})
    chain.onboarded(cluster)
    chain.wait_quiet()


def _sweep(chain: Chain, registrar: Registrar) -> None:
    function = f"{registrar.prefix}sweep"
    before = len(chain.lines(function, '"swept"'))
    chain.do("scheduler", "run", name=f"projects/{registrar.project}/locations/{REGION}/jobs/sweep")
    chain.wait_for(lambda: len(chain.lines(function, '"swept"')) > before, what=f"{function} ended")
    chain.wait_quiet()


def _swept(chain: Chain, registrar: Registrar) -> Calls:
    """Sweep, and return the sweep's own calls: the checks that it publishes in turn are no part of it."""
    calls = _calls(chain, partial(_sweep, chain, registrar))
    return [call for call in calls if call["caller"] == registrar.account("sweep")]


def _calls(chain: Chain, act: Callable[[], None]) -> Calls:
    """Do it, and return the calls that the functions of both made of the three APIs meanwhile."""
    since = time.time()
    act()
    return [
        call
        for call in chain.calls(since)
        if call["api"] in APIS
        and "/operations/" not in call["path"]
        and any(_is_of(registrar, call) for registrar in (DEFAULT, STAGING))
    ]


def _is_of(registrar: Registrar, call: dict[str, Any]) -> bool:
    return str(call["caller"]).endswith(f"@{registrar.project}.iam.gserviceaccount.com")
