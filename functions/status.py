"""`status`: the status page of `ops serve`, for callers that IAM admits. Reads only.

Needs: memberships get and list and gateway get in the fleet project; clusters get and list, and ClusterRoles and
ClusterRoleBindings get in the source projects; get and list on Secrets in Argo CD's namespace; in the functions' project:
functions, subscriptions, schedules, log entries and metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ops.page.answer import answer
from ops.page.reading import Live
from shared.runtime.services import connect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.runtime.http import Response

_live: Final = Live(connect)


def run(method: str, path: str, query: Mapping[str, str]) -> Response:
    """Answer one request; the reading of a few seconds ago serves all visitors."""
    found = answer(method, path, query, _live)
    return found.body, found.status, found.all_headers
