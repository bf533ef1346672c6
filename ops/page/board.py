"""Everything that the status page shows, as one value, and as JSON (docs/status.schema.json). Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ops import health
from ops.activity import Entry, Log
from ops.advice import Advice
from ops.doctor.checks_fleet import BURST_MINUTES, BURST_REQUESTS
from ops.health import Health, Problem, Seen
from ops.limits import release
from ops.overview import Overview, Row, Stage
from ops.pace import GATEWAY_REQUESTS
from ops.recommendations import recommend
from ops.unread import FEW
from shared.decisions.sweep_plan import Reached
from shared.values.cluster_secret import timestamp
from shared.values.names import Name
from shared.values.objects import Object

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTLED: Final = (Stage.IN_ARGOCD, Stage.EXTERNAL, Stage.DIFFERS)
MOVING: Final = (Stage.ON_ITS_WAY, Stage.WAITING, Stage.PROVISIONING)


@dataclass(frozen=True, slots=True)
class Budget:
    """Requests a minute through Connect Gateway: the busiest minute of the last hour, and what is allowed. None: unknown.

    `unread` says why one of them could not be read; the limit is Google's default then.
    """

    peak: int | None = None
    limit: int = GATEWAY_REQUESTS
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """Clusters by what matters to a person. `wanted` counts those that should be in Argo CD."""

    wanted: int
    in_argocd: int
    held: int
    moving: int
    problems: int
    all: int


@dataclass(frozen=True, slots=True)
class Board:
    """All of it. `rows` are all clusters, problems first; `identity` reads."""

    seen: Seen
    health: Health
    overview: Overview
    rows: tuple[Row, ...]
    budget: Budget
    identity: str = ""

    @property
    def log(self) -> Log:
        """What the functions logged."""
        return self.seen.log

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the registrar as a whole; single clusters are in `rows`."""
        return self.health.problems

    @property
    def limits(self) -> list[tuple[Reached, str]]:
        """The removal limits that are reached, each with the command that releases its plan."""
        settings = self.seen.expected.settings
        return [(reached, release(reached, settings)) for reached in self.seen.survey.plan.reached]

    @property
    def unmanaged(self) -> list[tuple[Name, str]]:
        """The unmanaged Secrets that `ops adopt` can take over: the cluster, and the name of the Secret."""
        found = sorted(self.overview.others.items(), key=lambda each: str(each[0]))
        return [(name, secret.name) for name, several in found for secret in several if not secret.is_managed]

    @property
    def counts(self) -> Counts:
        """The counts of the whole fleet."""
        return count(self.rows)

    @property
    def by_project(self) -> list[tuple[str, Counts]]:
        """The counts of each project."""
        return [
            (project, count([row for row in self.rows if row.name.project == project]))
            for project in sorted({row.name.project for row in self.rows})
        ]

    @property
    def argocd_estimate(self) -> int:
        """The requests a minute that Argo CD makes for all clusters, estimated (docs/scale.md)."""
        return (self.health.secrets or 0) * BURST_REQUESTS // BURST_MINUTES

    def advice(self, row: Row) -> list[Advice]:
        """Return what helps one cluster, as far as the lists and the log say."""
        return recommend(self.overview.evidence(row.name), unsettled=row.stage.is_problem)


def build(seen: Seen, budget: Budget, identity: str = "") -> Board:
    """Judge what was read."""
    overview = Overview(seen.survey, seen.expected.settings, seen.log.known)
    return Board(seen, health.judge(seen), overview, overview.rows(), budget, identity)


def by_cause(rows: Sequence[Row]) -> list[Sequence[Row]]:
    """Group clusters with the same problem, the largest group first. Up to FEW with the same problem stay alone."""
    groups: dict[tuple[Stage, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.stage, row.cause or row.reason].append(row)
    parts = [part for group in groups.values() for part in ([group] if len(group) > FEW else [[one] for one in group])]
    return sorted(parts, key=len, reverse=True)


def count(rows: Sequence[Row]) -> Counts:
    """Count clusters by stage."""
    return Counts(
        wanted=sum(row.is_wanted for row in rows),
        in_argocd=sum(row.stage in SETTLED for row in rows),
        held=sum(row.stage is Stage.HELD for row in rows),
        moving=sum(row.stage in MOVING for row in rows),
        problems=sum(row.stage.is_problem for row in rows),
        all=len(rows),
    )


def row_json(row: Row) -> Object:
    """Return one cluster for programs; what is unknown or does not apply is left out."""
    found: Object = {
        "name": str(row.name),
        "project": row.name.project,
        "location": row.name.location,
        "short": row.name.short,
        "kind": row.kind,
        "stage": row.stage.value,
        "problem": row.stage.is_problem,
        "reason": row.reason,
        "labels": dict(row.labels),
        "membership": row.membership,
        "registered": timestamp(row.registered) if row.registered else "",
        "granted": row.granted,
        "grantedAt": timestamp(row.granted_at) if row.granted_at else "",
        "secret": row.secret,
        "written": row.written,
        "heldSince": timestamp(row.held_since) if row.held_since else "",
        "heldFor": row.held_for,
        "shard": row.shard,
        "version": row.version,
    }
    return {key: value for key, value in found.items() if value != ""}


def entry_json(entry: Entry) -> Object:
    """Return one log entry for programs."""
    found: Object = {
        "time": timestamp(entry.time),
        "step": entry.step,
        "decision": entry.decision,
        "code": entry.code,
        "message": entry.message,
        "cluster": entry.subject,
        "attempt": entry.attempt,
        "attempts": entry.attempts,
    }
    return {key: value for key, value in found.items() if value not in ("", 0)}


def as_json(board: Board) -> Object:
    """Return everything for programs: what `ops status --json` and `GET /status.json` say."""
    counts = board.counts
    return {
        **health.as_json(board.health),
        "readAt": timestamp(board.seen.now),
        "instance": board.seen.expected.settings.instance,
        "counts": {
            "wanted": counts.wanted,
            "inArgocd": counts.in_argocd,
            "held": counts.held,
            "moving": counts.moving,
            "problems": counts.problems,
            "all": counts.all,
        },
        "clusters": [row_json(row) for row in board.rows],
        "activity": [entry_json(entry) for entry in board.log.entries],
        "sweeps": [entry_json(entry) for entry in board.log.sweeps],
        "gateway": {"peak": board.budget.peak, "limit": board.budget.limit, "argocdEstimate": board.argocd_estimate},
    }
