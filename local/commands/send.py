"""`send`: sends an event of `samples/` to one function, or into the local cloud."""

from __future__ import annotations

import argparse
import base64
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from local.commands.options import UsageError, add_command, running_cloud
from local.control import ControlError
from local.names import ROOT

if TYPE_CHECKING:
    from local.commands.options import Commands
    from local.control import LocalCloud

Json = dict[str, Any]

SAMPLES = ROOT / "samples"
MEMBERSHIP = "google.cloud.gkehub.membership.v1."
PUSHED = "google.cloud.pubsub.topic.v1.messagePublished"
SECONDS = 120.0  # longer than a function may take


def add(commands: Commands) -> None:
    """Add the command."""
    send = add_command(commands, "send", _send, "send an event of samples/ into the local cloud, or to one function")
    send.add_argument("event", type=sample, metavar="EVENT", help=f"one of {', '.join(names())}")
    send.add_argument(
        "--to", metavar="URL", help="a function that functions-framework serves, like http://127.0.0.1:8080"
    )


def names() -> list[str]:
    """The names of the samples."""
    return sorted(path.stem for path in SAMPLES.glob("*.json"))


def sample(name: str) -> Json:
    """Read a sample by its name: a CloudEvent in structured mode."""
    if name not in names():
        raise argparse.ArgumentTypeError(f"{name!r} is not an event: {', '.join(names())}")
    found: Json = json.loads((SAMPLES / f"{name}.json").read_text())
    return found


def _send(options: argparse.Namespace) -> None:
    if options.to is None:
        into_cloud(running_cloud(options), options.event)
        return
    if not options.to.startswith(("http://127.0.0.1:", "http://localhost:")):
        raise UsageError(f"--to {options.to}: a function on this machine has a URL like http://127.0.0.1:8080")
    status = to_function(options.to, options.event)
    print(f"{options.to} answered {status}")
    if not 200 <= status < 300:
        raise ControlError("the event is not acknowledged: Pub/Sub or Eventarc would send it again")


def to_function(url: str, event: Json) -> int:
    """Post an event as a CloudEvent in structured mode; return the HTTP status."""
    headers = {"Content-Type": "application/cloudevents+json"}
    request = urllib.request.Request(url, json.dumps(event).encode(), headers, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code
    except urllib.error.URLError as error:
        raise ControlError(f"cannot send the event to {url}: {error.reason}") from error


def into_cloud(cloud: LocalCloud, event: Json) -> None:
    """Write an audit entry, emit a membership event, or publish a message, as Google's services would."""
    kind, data = event["type"], event["data"]
    if kind == PUSHED:
        topic = event["source"].rpartition("/")[2]
        message = data["message"]
        cloud.publish(topic, base64.b64decode(message["data"]), message["attributes"])
    elif kind.startswith(MEMBERSHIP):
        name = f"{event['source'].removeprefix('//gkehub.googleapis.com/')}/{event['subject']}"
        cloud.emit_membership(kind.removeprefix(MEMBERSHIP), data.get("payload") or {"name": name})
    else:
        cloud.emit_audit(data)
