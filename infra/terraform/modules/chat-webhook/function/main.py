"""Posts Fleet Registrar's events to a chat webhook that takes `{"text": …}` (Google Chat, Slack, Mattermost and others).

An exception makes Pub/Sub redeliver the event. The webhook's URL is a secret, so no message contains it.
"""

import base64
import json
import os
import urllib.error
import urllib.request

import functions_framework

SECONDS = 20.0
MAX_LETTERS = 1000


@functions_framework.cloud_event
def post(event):
    """Post one event, unless EVENTS leaves its kind out."""
    message = event.data["message"]
    attributes = message.get("attributes", {})
    kind = attributes.get("ce-type", "..").split(".")[-2]
    if kind not in os.environ["EVENTS"].split(","):
        return
    data = json.loads(base64.b64decode(message.get("data", "")))
    send(text(kind, attributes.get("ce-subject", ""), data))


def text(kind, subject, data):
    """Return the line of an event. Labels and names may be anybody's: no control character and no markup gets through."""
    name = subject.rpartition("/")[2] or "sweep"
    if kind == "limited":
        reason = f"{data['clusters']} clusters would be removed or held (limit {data['limit']}): a person must decide"
    else:
        reason = data.get("reason", "")
    took = f" ({data['seconds']:.0f} s)" if data.get("seconds") is not None else ""
    line = "".join(each if each.isprintable() else " " for each in f"{name} {kind}{took}: {reason}")
    return line.translate({ord(each): " " for each in "<>@`*_~"})[:MAX_LETTERS]


def send(line):
    """Post a line; raises RuntimeError unless the webhook takes it."""
    body = json.dumps({"text": line}).encode()
    request = urllib.request.Request(os.environ["WEBHOOK_URL"], body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS):
            return
    except urllib.error.HTTPError as error:
        reason = f"HTTP status {error.code}"
    except OSError as error:
        reason = type(error).__name__
    raise RuntimeError(f"the webhook did not take the event: {reason}")
