"""Commands for members outside GKE: attach, admit, disconnect, reconnect, detach."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.commands.options import CLUSTERS_SHORT, add_command, pairs, running_cloud
from local.control import ControlError

if TYPE_CHECKING:
    import argparse

    from local.commands.options import Commands


def add(commands: Commands) -> None:
    """Add the commands."""
    attach = add_command(commands, "attach", _attach, "register a cluster outside GKE with the fleet")
    attach.add_argument("name")
    attach.add_argument("--location", default="global")
    attach.add_argument("--labels", type=pairs, default={}, help="k=v,k=v")
    attach.add_argument("--admit", action="store_true", help="also grant the functions access")

    admit = add_command(
        commands,
        "admit",
        _on_membership("admit"),
        "grant the functions access to an attached cluster, as `gcloud container fleet memberships generate-gateway-rbac --apply`",
    )
    admit.add_argument("membership", help=CLUSTERS_SHORT)
    admit.add_argument(
        "--users",
        type=lambda text: text.split(","),
        help="e-mail addresses, comma-separated (default: the functions that write there)",
    )
    for name, text in (
        ("disconnect", "disconnect the agent of a member: the gateway answers 404"),
        ("reconnect", "connect the agent of a member again"),
        ("detach", "delete a membership"),
    ):
        add_command(commands, name, _on_membership(name), text).add_argument("membership", help=CLUSTERS_SHORT)


def _attach(options: argparse.Namespace) -> None:
    print(running_cloud(options).attach(options.name, options.location, options.labels, admit=options.admit))


def _on_membership(method: str) -> Any:
    def run(options: argparse.Namespace) -> None:
        cloud = running_cloud(options)
        found = [name for name in cloud.state()["memberships"] if options.membership in (name, name.rpartition("/")[2])]
        if len(found) != 1:
            raise ControlError(
                f"{options.membership!r} names {len(found)} memberships: {', '.join(found) or 'see `python -m local status`'}"
            )
        more = {"users": options.users} if method == "admit" else {}
        getattr(cloud, method)(found[0], **more)

    return run
