"""`ops pause STEP` and `ops resume STEP`: takes a step's push configuration away, and restores all of it.

Nothing is remembered: the endpoint and the audience are the function's own address, and the identity has the name that
Terraform gives it. So any operator can resume what another one paused.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ops.doctor import commands
from ops.doctor.api import Api, RefusedError
from ops.doctor.expected import ARGOCD, STATUS, Expected, shipped_roles, subscription_of
from ops.doctor.observed import at
from ops.survey import connected
from ops.terminal import MistakeError
from shared.values.commands import gcloud
from shared.values.objects import Object

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def run_pause(options: argparse.Namespace) -> int:
    """Stop the pushes to a step; its messages wait in the subscription."""
    name = subscription_of(_step(options.step))
    api, expected = _connected()
    before = _read(api, expected, name)
    current = before.get("pushConfig") or {}
    if options.json:
        if current.get("pushEndpoint"):
            _uri(api, expected, options.step)  # a function that is not there could not be resumed
            _modify(api, expected, name, {})
        print(json.dumps({"step": options.step, "subscription": name, "paused": True, "before": current}, indent=2))
        return 0
    if not current.get("pushEndpoint"):
        print(f"{options.step} is paused already. Resume it:\n  {commands.resume(options.step)}")
        return 0
    desired = push_config(_uri(api, expected, options.step), expected)
    _modify(api, expected, name, {})
    print(f"Paused {options.step}: messages wait in subscription {name} for {_retention(before)}.")
    print(f"Resume it:\n  {commands.resume(options.step)}")
    if not is_same(current, desired):
        print(f"Its push configuration was not the deployed one. `resume` restores {json.dumps(desired)}.")
        print(f"What it was:\n  {restore(expected.project, name, current)}")
    return 0


def run_resume(options: argparse.Namespace) -> int:
    """Restore endpoint, identity and audience of a step's pushes."""
    name = subscription_of(_step(options.step))
    api, expected = _connected()
    desired = push_config(_uri(api, expected, options.step), expected)
    _modify(api, expected, name, desired)
    if not is_same(_read(api, expected, name).get("pushConfig") or {}, desired):
        raise MistakeError(f"subscription {name} does not show the push configuration that was written: run it again")
    if options.json:
        print(json.dumps({"step": options.step, "subscription": name, "paused": False, "now": desired}, indent=2))
        return 0
    print(f"Resumed {options.step}: it pushes to {desired['pushEndpoint']} as {expected.push_account}.")
    return 0


def push_config(uri: str, expected: Expected) -> Object:
    """Return the push configuration that Terraform deploys."""
    return {"pushEndpoint": uri, "oidcToken": {"serviceAccountEmail": expected.push_account, "audience": uri}}


def is_same(one: Object, other: Object) -> bool:
    """Whether two push configurations push to one address with one token."""
    return _essence(one) == _essence(other)


def restore(project: str, name: str, config: Object) -> str:
    """Return the command that restores a push configuration as it was."""
    token = config.get("oidcToken") or {}
    flags = {
        "push_auth_service_account": token.get("serviceAccountEmail"),
        "push_auth_token_audience": token.get("audience"),
    }
    given = {key: str(value) for key, value in flags.items() if value}
    endpoint = str(config.get("pushEndpoint"))
    return gcloud("pubsub subscriptions modify-push-config", name, project=project, push_endpoint=endpoint, **given)


def _essence(config: Object) -> tuple[str, str, str]:
    endpoint = str(config.get("pushEndpoint") or "").rstrip("/")
    audience = str(at(config, "oidcToken", "audience") or endpoint).rstrip("/")
    return endpoint, str(at(config, "oidcToken", "serviceAccountEmail") or ""), audience


def _step(name: str) -> str:
    steps = sorted({*shipped_roles()} - {ARGOCD, STATUS})
    if name not in steps:
        raise MistakeError(f"{name!r} is not a step: {', '.join(steps)}")
    return name


def _connected() -> tuple[Api, Expected]:
    services = connected()
    return Api(services.session, os.environ), Expected(services.settings)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Make an API's refusal a user error that says what cannot be done."""
    try:
        yield
    except RefusedError as error:
        raise MistakeError(f"Cannot {what}: {error}") from error


def _read(api: Api, expected: Expected, name: str) -> Object:
    with _explained(f"read subscription {name}"):
        return api.get("pubsub", f"v1/{expected.subscription(name)}")


def _modify(api: Api, expected: Expected, name: str, config: Object) -> None:
    """Write a push configuration; an empty one stops the pushes."""
    with _explained(f"change the push configuration of subscription {name}"):
        api.post("pubsub", f"v1/{expected.subscription(name)}:modifyPushConfig", {"pushConfig": config})


def _uri(api: Api, expected: Expected, step: str) -> str:
    """Return a function's address. Raises MistakeError where it is not deployed."""
    with _explained(f"read the address of function {step}"):
        found = api.pages("cloudfunctions", f"v2/projects/{expected.project}/locations/-/functions", "functions")
    uris = [at(one, "serviceConfig", "uri") for one in found if str(one.get("name", "")).endswith(f"/functions/{step}")]
    if len(uris) != 1 or not uris[0]:
        raise MistakeError(f"function {step} is not deployed once in {expected.project}: {commands.TERRAFORM}")
    return str(uris[0])


def _retention(subscription: Object) -> str:
    seconds = str(subscription.get("messageRetentionDuration") or "604800s").removesuffix("s")
    return f"{float(seconds) / 86400:g} days"
