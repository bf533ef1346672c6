"""The status page as HTML: values in, text out. Pure but for reading the templates beside this module.

The template engine escapes every value, and control, bidirectional and other invisible characters are shown as escapes. The page has no external resource: style and script are inline, and
the policy names them by their hashes.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup

from ops.explanation import HEADINGS, Explanation, explain
from ops.overview import Stage
from ops.page.board import Board, by_cause
from ops.page.timeline import timeline
from ops.page.view import PROBLEMS, SIZES, View, select
from ops.terminal import ago, one_line, printable
from ops.unread import FEW
from shared.values.cluster_secret import timestamp
from shared.values.names import ClusterName, Name
from shared.values.objects import Object

if TYPE_CHECKING:
    from datetime import datetime

    from ops.evidence import Evidence

TEMPLATES: Final = Path(__file__).parent / "templates"
SHOWN_PROBLEMS: Final = 20
SHOWN_ENTRIES: Final = 40
SNAPSHOT_ROWS: Final = 1000
_LANES: Final = (
    ("A cluster comes or changes", ("route-event", "register-membership", "grant-rbac", "write-secret")),
    ("A cluster leaves", ("remove-secret", "revoke-rbac", "unregister-membership")),
    ("Every 15 minutes", ("sweep",)),
)


def visible(value: Any) -> Any:
    """Return what a template prints for a value; markup of a template of ours stays."""
    return value if isinstance(value, Markup) else printable(str(value)).replace("\n", " ")


@functools.cache
def _environment() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals |= {
        "style": _inline("style.css"),
        "script": _inline("script.js"),
        "policy": content_security_policy(),
        "cluster_address": cluster_address,
        "console": console,
        "argocd": argocd,
        "logs": logs,
        "stamp": lambda time: timestamp(time) if time else "",
    }
    found.filters["line"] = one_line
    return found


@functools.cache
def _inline(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text())  # noqa: S704 - a file of ours


@functools.cache
def content_security_policy() -> str:
    """Return the policy of every page: nothing but our own style and script, and forms to this site."""

    def hashed(name: str) -> str:
        return base64.b64encode(hashlib.sha256(_inline(name).encode()).digest()).decode()

    return (
        f"default-src 'none'; style-src 'sha256-{hashed('style.css')}'; script-src 'sha256-{hashed('script.js')}';"
        " img-src data:; form-action 'self'; base-uri 'none'"
    )


def page(board: Board, view: View) -> str:
    """Return the page with the rows that a view selects."""
    return _render("page.html", **_shared(board), **_table(board, view), snapshot=False, details=[])


def snapshot(board: Board) -> str:
    """Return one file that needs no server: the first rows, and the details of some clusters of each problem."""
    found = select(board.rows, View(size=SNAPSHOT_ROWS))
    table = _table(board, View()) | {"page": found, "view": found.view}
    explained = [*(group[0] for group, _ in table["ill"]), *(row for row in board.rows if row.stage.is_problem)]
    names = [*dict.fromkeys(row.name for row in explained)][:SHOWN_PROBLEMS]
    details = [_explained(explain(board.overview.evidence(name))) for name in names]
    return _render("page.html", **_shared(board), **table, snapshot=True, details=details)


def cluster(evidence: Evidence, board: Board) -> str:
    """Return the page of one cluster: its timeline, and everything that `ops explain` says."""
    explanation = explain(evidence)
    found = [row for row in board.rows if row.name == evidence.name]
    return _render(
        "cluster.html",
        **_shared(board),
        name=evidence.name,
        row=found[0] if found else None,
        sections=_sections(explanation, HEADINGS[:-1]),
        moments=timeline(evidence),
        log_unread=evidence.activity.unread,
        advice=explanation.advice,
        snapshot=False,
    )


def message(title: str, text: str) -> str:
    """Return a page that says one thing: an error, with what to do."""
    return _render("message.html", title=title, text=text)


def _render(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


def _shared(board: Board) -> Object:
    now = board.seen.now

    def since(time: datetime | None) -> str:
        return ago(time, now) if time else ""

    return {"board": board, "settings": board.seen.expected.settings, "now": now, "since": since}


def _table(board: Board, view: View) -> Object:
    found = select(board.rows, view)
    # What could not be read is one problem of the list that failed, not one of each cluster in it.
    groups = by_cause([row for row in board.rows if row.stage.is_problem and row.stage is not Stage.UNKNOWN])
    return {
        "page": found,
        "view": found.view,
        "ill": [(group, board.advice(group[0])) for group in groups[:SHOWN_PROBLEMS]],
        "few": FEW,
        "more": sum(map(len, groups[SHOWN_PROBLEMS:])),
        "limits": board.limits,
        "adopt": board.unmanaged,
        "others": [one for one in board.problems if one.command not in {command for _, command in board.limits}],
        "entries": board.log.entries[:SHOWN_ENTRIES],
        "lanes": _lanes(board),
        "projects": sorted({row.name.project for row in board.rows}),
        "locations": sorted({row.name.location for row in board.rows}),
        "stages": [stage for stage in Stage if any(row.stage is stage for row in board.rows)],
        "problems": PROBLEMS,
        "sizes": SIZES,
    }


def _lanes(board: Board) -> list[tuple[str, list[Object]]]:
    steps = {step.name: step for step in board.health.steps}
    return [
        (
            title,
            [
                {
                    "name": name,
                    "step": steps.get(name),
                    "success": board.log.last_success(name),
                    "failures": sum(one.step == name for one in board.log.failures),
                }
                for name in names
            ],
        )
        for title, names in _LANES
    ]


def _explained(explanation: Explanation) -> Object:
    return {
        "subject": explanation.subject,
        "settled": explanation.settled,
        "sections": _sections(explanation, HEADINGS),
    }


def _sections(explanation: Explanation, headings: tuple[str, ...]) -> list[tuple[str, list[str]]]:
    return [(heading, lines) for heading in headings if (lines := explanation.sections.get(heading))]


def cluster_address(name: object) -> str:
    """Return the address of one cluster's page."""
    return "cluster?" + urlencode({"name": str(name)})


def console(name: Name) -> str:
    """Return Cloud Console's page of a cluster, or of the fleet's list."""
    if isinstance(name, ClusterName):
        path = f"kubernetes/clusters/details/{quote(name.location)}/{quote(name.cluster)}/details"
    else:
        path = "kubernetes/list/overview"
    return f"https://console.cloud.google.com/{path}?project={quote(name.project)}"


def argocd(url: str, server: str) -> str:
    """Return Argo CD's page of a cluster that it knows by this server; '' without an address of Argo CD or a server."""
    return f"{url}/settings/clusters/{quote(server, safe='')}" if url and server else ""


def logs(name: Name, project: str) -> str:
    """Return Logs Explorer's page of what the functions logged about a cluster."""
    label = "cluster" if isinstance(name, ClusterName) else "membership"
    wanted = quote(f'resource.type="cloud_run_revision" labels.{label}="{name}"', safe="")
    return f"https://console.cloud.google.com/logs/query;query={wanted}?project={quote(project)}"
