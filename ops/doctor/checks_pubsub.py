"""Checks of topics, push subscriptions and dead letters. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ops.doctor import commands
from ops.doctor.checks_google import CONSUME, PUBLISH, may, project_number
from ops.doctor.codes import Code
from ops.doctor.expected import DEAD_LETTERS, FEWEST_ATTEMPTS, Expected, subscription_of
from ops.doctor.findings import Check, Finding, Unread
from ops.doctor.observed import Delivery, Google, at, short
from shared.values.commands import gcloud
from shared.values.objects import Object


@dataclass(frozen=True, slots=True)
class _Step:
    """A step's function and subscription. `uri` and `timeout` (seconds) are the function's, '' and 0 where they are unknown."""

    function: str
    name: str
    uri: str
    timeout: int


def check_topics(expected: Expected, seen: Delivery) -> list[Finding]:
    """Every topic exists."""
    check = Check("topics")
    topics = check.known(seen.topics, expected.project)
    for name in expected.topics if topics is not None else ():
        if expected.topic(name) not in (topics or ()):
            create = gcloud("pubsub topics create", name, project=expected.project)
            check.fail(Code.TOPIC_MISSING, name, "does not exist", create)
    return check.end("", f"{len(expected.topics)} exist")


def check_subscriptions(expected: Expected, seen: Delivery) -> list[Finding]:
    """Each step's subscription pushes to its function with the right token, retries, and dead-letters."""
    check = Check("subscriptions")
    subscriptions = check.known(seen.subscriptions, expected.project)
    for function in expected.functions if subscriptions is not None else ():
        step = _step(function, seen)
        found = (subscriptions or {}).get(step.name)
        if found is None:
            check.fail(Code.SUBSCRIPTION_MISSING, step.name, "does not exist: messages are lost", commands.TERRAFORM)
        else:
            _topic(check, expected, step.name, found)
            _push(check, expected, step, found)
            _delivery(check, expected, step, found)
    return check.end("", f"{len(expected.functions)} push to their functions with the right token")


def check_dead_letters(expected: Expected, seen: Delivery, google: Google) -> list[Finding]:
    """Dead letters reach their subscription, and stay there until an operator pulls them."""
    check = Check("dead-letters")
    found = check.known(seen.subscriptions, expected.project)
    if found is not None:
        _letters(check, expected, found.get(DEAD_LETTERS))
    number = project_number(expected, google, expected.project)
    topic = f"topic {DEAD_LETTERS}"
    policy = check.known_of(seen.topic_policies, DEAD_LETTERS, topic)
    if number is None:
        check.unknown(expected.project, "the project's number was not read")
        return check.end("", "")
    agent = f"serviceAccount:service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    effect = "messages that keep failing are delivered without end"
    if policy is not None and not may(agent, PUBLISH, policy, google, expected.project):
        text = f"Pub/Sub's service agent may not publish: {effect}"
        fix = commands.grant_publish(expected.project, DEAD_LETTERS, agent)
        check.fail(Code.AGENT_CANNOT_PUBLISH_LETTERS, topic, text, fix)
    for function in expected.functions:
        name = subscription_of(function)
        own = check.known_of(seen.subscription_policies, name)
        if own is not None and not may(agent, CONSUME, own, google, expected.project):
            text = f"Pub/Sub's service agent may not acknowledge: {effect}"
            fix = commands.grant(
                "pubsub subscriptions", name, agent, "roles/pubsub.subscriber", project=expected.project
            )
            check.fail(Code.AGENT_CANNOT_ACKNOWLEDGE, f"subscription {name}", text, fix)
    return check.end("", f"subscription {DEAD_LETTERS} keeps them, and Pub/Sub's agent has its grants")


def _letters(check: Check, expected: Expected, found: Object | None) -> None:
    project = expected.project
    if found is None:
        kept = {"ack_deadline": "60", "message_retention_duration": "7d", "expiration_period": "never"}
        create = gcloud("pubsub subscriptions create", DEAD_LETTERS, topic=DEAD_LETTERS, project=project, **kept)
        check.fail(Code.SUBSCRIPTION_MISSING, DEAD_LETTERS, "does not exist: dead letters are lost", create)
        return
    _topic(check, expected, DEAD_LETTERS, found)
    if at(found, "pushConfig", "pushEndpoint"):
        text = "pushes; `ops dead-letters` cannot pull from it"
        check.fail(Code.LETTERS_ARE_PUSHED, DEAD_LETTERS, text, commands.TERRAFORM)
    if found.get("deadLetterPolicy"):
        clear = f"{_update(project, DEAD_LETTERS)} --clear-dead-letter-policy"
        text = "has a dead-letter policy, so letters leave it by themselves"
        check.warn(Code.LETTERS_ARE_LOST, DEAD_LETTERS, text, clear)
    elif found.get("filter"):
        text = "has a filter, so letters leave it by themselves"
        check.warn(Code.LETTERS_ARE_LOST, DEAD_LETTERS, text, commands.TERRAFORM)
    _expires(check, project, DEAD_LETTERS, found)


def _topic(check: Check, expected: Expected, name: str, found: Object) -> None:
    topic = str(found.get("topic", ""))
    if topic == "_deleted-topic_" or found.get("detached"):
        check.fail(Code.SUBSCRIPTION_DETACHED, name, "its topic was deleted or it is detached", commands.TERRAFORM)
    elif topic != expected.topic(name):
        check.fail(Code.WRONG_TOPIC, name, f"reads topic {short(topic)}, not {name}", commands.TERRAFORM)


def _push(check: Check, expected: Expected, step: _Step, found: Object) -> None:
    name, uri, fix = step.name, step.uri, commands.resume(step.function)
    endpoint = str(at(found, "pushConfig", "pushEndpoint") or "").rstrip("/")
    if not endpoint:
        check.warn(Code.PAUSED, name, "is paused: messages wait, and are lost after the retention time", fix)
        return
    if uri and endpoint != uri:
        check.fail(Code.WRONG_ENDPOINT, name, f"pushes to {endpoint}, the function is {uri}", fix)
    token = at(found, "pushConfig", "oidcToken")
    if not token:
        check.fail(Code.NO_OIDC, name, "pushes without a token: Cloud Run refuses them", fix)
        return
    account = at(token, "serviceAccountEmail")
    if account != expected.push_account:
        check.fail(Code.WRONG_OIDC_ACCOUNT, name, f"pushes as {account}, not as {expected.push_account}", fix)
    # An empty audience is the endpoint.
    audience = str(at(token, "audience") or endpoint).rstrip("/")
    if audience not in {endpoint, uri}:
        check.fail(Code.WRONG_AUDIENCE, name, f"its token is for {audience}, not for the function", fix)


def _delivery(check: Check, expected: Expected, step: _Step, found: Object) -> None:
    project, name, timeout = expected.project, step.name, step.timeout
    if not found.get("retryPolicy"):
        fix = _update(project, name, min_retry_delay="10s", max_retry_delay="600s")
        check.fail(Code.NO_RETRY, name, "retries at once: its attempts are used up within seconds", fix)
    deadline = _number(found.get("ackDeadlineSeconds"), 10)
    if deadline <= timeout:
        text = f"delivers again after {deadline} s while the function may run {timeout} s"
        check.warn(Code.ACK_TOO_SHORT, name, text, _update(project, name, ack_deadline=str(min(timeout + 60, 600))))
    policy = found.get("deadLetterPolicy")
    letters = {"dead_letter_topic": DEAD_LETTERS, "max_delivery_attempts": "20"}
    fix = _update(project, name, dead_letter_topic_project=project, **letters)
    if not policy:
        check.fail(Code.NO_DEAD_LETTER_POLICY, name, "has no dead-letter policy: it retries without end", fix)
    elif at(policy, "deadLetterTopic") != expected.topic(DEAD_LETTERS):
        text = f"gives up to {at(policy, 'deadLetterTopic')}, not to topic {DEAD_LETTERS}"
        check.fail(Code.WRONG_DEAD_LETTER_TOPIC, name, text, fix)
    elif (attempts := _number(at(policy, "maxDeliveryAttempts"), 5)) < FEWEST_ATTEMPTS:
        text = f"gives up after {attempts} attempts; new grants take minutes to work"
        check.warn(Code.ATTEMPTS_TOO_FEW, name, text, fix)
    _expires(check, project, name, found)


def _expires(check: Check, project: str, name: str, found: Object) -> None:
    """Pub/Sub leaves `expirationPolicy` out for its default of 31 days; an empty policy means never."""
    policy = found.get("expirationPolicy")
    if policy is None or at(policy, "ttl"):
        ttl = at(policy, "ttl") or "2678400s"
        fix = _update(project, name, expiration_period="never")
        check.warn(Code.EXPIRES, name, f"expires when it is idle for {ttl}", fix)


def _update(project: str, subscription: str, **flags: str) -> str:
    return gcloud("pubsub subscriptions update", subscription, project=project, **flags)


def _step(function: str, seen: Delivery) -> _Step:
    found = None if isinstance(seen.functions, Unread) else seen.functions.get(function)
    config = at(found, "serviceConfig")
    uri = str(at(config, "uri") or "").rstrip("/")
    return _Step(function, subscription_of(function), uri, _number(at(config, "timeoutSeconds"), 0))


def _number(value: Any, fallback: int) -> int:
    return int(value) if str(value).isdecimal() else fallback
