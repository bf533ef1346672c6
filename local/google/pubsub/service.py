"""The methods of `google.pubsub.v1`: each request's message in, the answer's message out, for gRPC and REST alike.

Field names and their meaning: google/pubsub/v1/pubsub.proto, by the official types. What the broker cannot do is refused
with UNIMPLEMENTED, so that nobody believes in it; retention and expiration are kept and not acted on, a topic's other settings are accepted and not kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from google.protobuf import empty_pb2, field_mask_pb2
from google.pubsub_v1 import types

from local.google.pubsub.model import DeadLetterPolicy, Delivery, PushConfig, RetryPolicy, Subscription
from local.google.wire import GoogleError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from local.google.pubsub.broker import Broker

PAGE = 1000
MAX_PUBLISHED = 1000  # messages in one publish request: https://cloud.google.com/pubsub/quotas#resource_limits

_NOT_MADE = {
    "bigquery_config",
    "cloud_storage_config",
    "bigtable_config",
    "enable_message_ordering",
    "enable_exactly_once_delivery",
    "message_transforms",
}


def subscription_from(message: Any) -> Subscription:
    """Read a `google.pubsub.v1.Subscription`."""
    asked = {descriptor.name for descriptor, _ in message.ListFields()} & _NOT_MADE
    if asked:
        raise GoogleError(501, f"not made here: {', '.join(sorted(asked))}")
    retry = dead_letter = None
    if message.HasField("retry_policy"):
        policy = message.retry_policy
        retry = RetryPolicy(
            policy.minimum_backoff.ToTimedelta().total_seconds() if policy.HasField("minimum_backoff") else 10.0,
            policy.maximum_backoff.ToTimedelta().total_seconds() if policy.HasField("maximum_backoff") else 600.0,
        )
    if message.HasField("dead_letter_policy"):
        letters = message.dead_letter_policy
        dead_letter = DeadLetterPolicy(letters.dead_letter_topic, letters.max_delivery_attempts or 5)
    retention, expires_after = Subscription.retention, Subscription.expires_after
    if message.HasField("message_retention_duration"):
        retention = message.message_retention_duration.ToTimedelta().total_seconds()
    if message.HasField("expiration_policy"):
        expires_after = message.expiration_policy.ttl.ToTimedelta().total_seconds()
    return Subscription(
        name=message.name,
        topic=message.topic,
        push=_push_from(message.push_config),
        ack_deadline=message.ack_deadline_seconds or 10,
        filter=message.filter,
        retry=retry,
        dead_letter=dead_letter,
        labels=dict(message.labels),
        retention=retention,
        expires_after=expires_after,
    )


def _push_from(message: Any) -> PushConfig | None:
    if message.HasField("no_wrapper"):
        raise GoogleError(501, "not made here: push_config.no_wrapper")
    token = message.oidc_token
    return (
        PushConfig(message.push_endpoint, token.service_account_email, token.audience)
        if message.push_endpoint
        else None
    )


def subscription_to(config: Subscription) -> Any:
    """Write a `google.pubsub.v1.Subscription`."""
    message = types.Subscription.pb()(
        name=config.name,
        topic=config.topic,
        ack_deadline_seconds=config.ack_deadline,
        filter=config.filter,
        labels=config.labels,
        state=types.Subscription.State.ACTIVE,
    )
    message.message_retention_duration.FromSeconds(round(config.retention))
    if config.expires_after:
        message.expiration_policy.ttl.FromSeconds(round(config.expires_after))
    else:
        message.expiration_policy.SetInParent()
    if config.push:
        message.push_config.push_endpoint = config.push.endpoint
        if config.push.service_account:
            message.push_config.oidc_token.service_account_email = config.push.service_account
            message.push_config.oidc_token.audience = config.push.audience
    if config.retry:
        message.retry_policy.minimum_backoff.FromMilliseconds(round(config.retry.minimum * 1000))
        message.retry_policy.maximum_backoff.FromMilliseconds(round(config.retry.maximum * 1000))
    if config.dead_letter:
        message.dead_letter_policy.dead_letter_topic = config.dead_letter.topic
        message.dead_letter_policy.max_delivery_attempts = config.dead_letter.max_delivery_attempts
    return message


def received(delivery: Delivery) -> Any:
    """Write a `google.pubsub.v1.ReceivedMessage`."""
    message = types.ReceivedMessage.pb()(ack_id=delivery.ack_id, delivery_attempt=delivery.attempt)
    inner = message.message
    inner.data = delivery.message.data
    inner.attributes.update(delivery.message.attributes)
    inner.message_id = delivery.message.id
    inner.ordering_key = delivery.message.ordering_key
    inner.publish_time.FromMilliseconds(round(delivery.message.published * 1000))
    return message


def _topic(broker: Broker, name: str) -> Any:
    return types.Topic.pb()(name=name, labels=broker.topic_labels(name), state=types.Topic.State.ACTIVE)


def _page(names: list[str], request: Any) -> tuple[list[str], str]:
    try:
        start = int(request.page_token or 0)
    except ValueError as error:
        raise GoogleError(400, f"Invalid page token: {request.page_token!r}.") from error
    end = start + (request.page_size or PAGE)
    return names[start:end], str(end) if end < len(names) else ""


def _masked(current: Any, wanted: Any, mask: field_mask_pb2.FieldMask, fixed: set[str]) -> Any:
    """Return `current` with the masked fields taken from `wanted`."""
    if not mask.paths:
        raise GoogleError(400, "The update_mask in the request must be set, and must contain a non-empty paths list.")
    known = set(current.DESCRIPTOR.fields_by_name)
    for path in mask.paths:
        if path in fixed or path.partition(".")[0] not in known:
            raise GoogleError(400, f"Invalid update_mask provided in the request: {path!r} cannot be updated.")
    mask.MergeMessage(wanted, current, replace_message_field=True, replace_repeated_field=True)
    return current


async def create_topic(broker: Broker, request: Any) -> Any:
    broker.create_topic(request.name, dict(request.labels))
    return _topic(broker, request.name)


async def get_topic(broker: Broker, request: Any) -> Any:
    return _topic(broker, request.topic)


async def update_topic(broker: Broker, request: Any) -> Any:
    name = request.topic.name
    wanted = _masked(_topic(broker, name), request.topic, request.update_mask, {"name"})
    broker.label_topic(name, dict(wanted.labels))
    return _topic(broker, name)


async def list_topics(broker: Broker, request: Any) -> Any:
    names, after = _page([name for name in broker.topics if name.startswith(f"{request.project}/")], request)
    return types.ListTopicsResponse.pb()(topics=[_topic(broker, name) for name in names], next_page_token=after)


async def list_topic_subscriptions(broker: Broker, request: Any) -> Any:
    names, after = _page(broker.subscriptions_of(request.topic), request)
    return types.ListTopicSubscriptionsResponse.pb()(subscriptions=names, next_page_token=after)


async def delete_topic(broker: Broker, request: Any) -> Any:
    broker.delete_topic(request.topic)
    return empty_pb2.Empty()


async def publish(broker: Broker, request: Any) -> Any:
    if not 0 < len(request.messages) <= MAX_PUBLISHED:
        raise GoogleError(400, f"A publish request has 1 to {MAX_PUBLISHED} messages.")
    messages = [broker.message(one.data, one.attributes, one.ordering_key) for one in request.messages]
    ids = broker.publish_all(request.topic, messages)
    return types.PublishResponse.pb()(message_ids=ids)


async def create_subscription(broker: Broker, request: Any) -> Any:
    broker.create_subscription(subscription_from(request))
    return subscription_to(broker.subscription(request.name))


async def get_subscription(broker: Broker, request: Any) -> Any:
    return subscription_to(broker.subscription(request.subscription))


async def update_subscription(broker: Broker, request: Any) -> Any:
    config = broker.subscription(request.subscription.name)
    fixed = {"name", "topic", "filter"}
    wanted = subscription_from(_masked(subscription_to(config), request.subscription, request.update_mask, fixed))
    broker.update_subscription(replace(wanted, push_concurrency=config.push_concurrency))
    return subscription_to(broker.subscription(config.name))


async def list_subscriptions(broker: Broker, request: Any) -> Any:
    names, after = _page([name for name in broker.subscriptions() if name.startswith(f"{request.project}/")], request)
    found = [subscription_to(broker.subscription(name)) for name in names]
    return types.ListSubscriptionsResponse.pb()(subscriptions=found, next_page_token=after)


async def delete_subscription(broker: Broker, request: Any) -> Any:
    broker.delete_subscription(request.subscription)
    return empty_pb2.Empty()


async def modify_push_config(broker: Broker, request: Any) -> Any:
    config = broker.subscription(request.subscription)
    broker.update_subscription(replace(config, push=_push_from(request.push_config)))
    return empty_pb2.Empty()


async def pull(broker: Broker, request: Any) -> Any:
    if request.max_messages <= 0:
        raise GoogleError(400, "maxMessages must be positive.")
    wait = 0.0 if request.return_immediately else broker.pull_seconds
    deliveries = await broker.pull(request.subscription, min(request.max_messages, 1000), wait)
    return types.PullResponse.pb()(received_messages=[received(delivery) for delivery in deliveries])


async def acknowledge(broker: Broker, request: Any) -> Any:
    broker.acknowledge(request.subscription, request.ack_ids)
    return empty_pb2.Empty()


async def modify_ack_deadline(broker: Broker, request: Any) -> Any:
    broker.modify_ack_deadline(request.subscription, request.ack_ids, request.ack_deadline_seconds)
    return empty_pb2.Empty()


@dataclass(frozen=True)
class Method:
    """One method: its gRPC name, and its REST form where `field` of the request is filled from the path."""

    rpc: str
    request: Any
    call: Callable[[Broker, Any], Awaitable[Any]]
    verb: str
    path: str
    field: str

    @property
    def permission(self) -> str:
        """The permission that a call needs, on the resource in its path, or on the project to create one."""
        return _PERMISSIONS.get(self.rpc) or f"pubsub.{_permission(self.rpc)}"


_PERMISSIONS = {
    "Publisher/Publish": "pubsub.topics.publish",
    "Publisher/ListTopicSubscriptions": "pubsub.topics.get",
    "Subscriber/Pull": "pubsub.subscriptions.consume",
    "Subscriber/Acknowledge": "pubsub.subscriptions.consume",
    "Subscriber/ModifyAckDeadline": "pubsub.subscriptions.consume",
    "Subscriber/ModifyPushConfig": "pubsub.subscriptions.update",
}


def _permission(rpc: str) -> str:
    """`Subscriber/GetSubscription` → `subscriptions.get`."""
    name = rpc.partition("/")[2]
    verb = next(verb for verb in ("Create", "Delete", "Get", "List", "Update") if name.startswith(verb))
    return f"{'topics' if 'Topic' in name else 'subscriptions'}.{verb.lower()}"


_PROJECT, _TOPIC, _SUBSCRIPTION = (
    "/v1/projects/{project}",
    "/v1/projects/{project}/topics/{id}",
    "/v1/projects/{project}/subscriptions/{id}",
)

# The google.api.http options in pubsub.proto. Paths with a verb come before those that would swallow it.
METHODS = (
    Method("Publisher/Publish", types.PublishRequest, publish, "POST", f"{_TOPIC}:publish", "topic"),
    Method("Publisher/CreateTopic", types.Topic, create_topic, "PUT", _TOPIC, "name"),
    Method("Publisher/GetTopic", types.GetTopicRequest, get_topic, "GET", _TOPIC, "topic"),
    Method("Publisher/UpdateTopic", types.UpdateTopicRequest, update_topic, "PATCH", _TOPIC, "topic.name"),
    Method("Publisher/DeleteTopic", types.DeleteTopicRequest, delete_topic, "DELETE", _TOPIC, "topic"),
    Method("Publisher/ListTopics", types.ListTopicsRequest, list_topics, "GET", f"{_PROJECT}/topics", "project"),
    Method(
        "Publisher/ListTopicSubscriptions",
        types.ListTopicSubscriptionsRequest,
        list_topic_subscriptions,
        "GET",
        f"{_TOPIC}/subscriptions",
        "topic",
    ),
    Method("Subscriber/Pull", types.PullRequest, pull, "POST", f"{_SUBSCRIPTION}:pull", "subscription"),
    Method(
        "Subscriber/Acknowledge",
        types.AcknowledgeRequest,
        acknowledge,
        "POST",
        f"{_SUBSCRIPTION}:acknowledge",
        "subscription",
    ),
    Method(
        "Subscriber/ModifyAckDeadline",
        types.ModifyAckDeadlineRequest,
        modify_ack_deadline,
        "POST",
        f"{_SUBSCRIPTION}:modifyAckDeadline",
        "subscription",
    ),
    Method(
        "Subscriber/ModifyPushConfig",
        types.ModifyPushConfigRequest,
        modify_push_config,
        "POST",
        f"{_SUBSCRIPTION}:modifyPushConfig",
        "subscription",
    ),
    Method("Subscriber/CreateSubscription", types.Subscription, create_subscription, "PUT", _SUBSCRIPTION, "name"),
    Method(
        "Subscriber/GetSubscription",
        types.GetSubscriptionRequest,
        get_subscription,
        "GET",
        _SUBSCRIPTION,
        "subscription",
    ),
    Method(
        "Subscriber/UpdateSubscription",
        types.UpdateSubscriptionRequest,
        update_subscription,
        "PATCH",
        _SUBSCRIPTION,
        "subscription.name",
    ),
    Method(
        "Subscriber/DeleteSubscription",
        types.DeleteSubscriptionRequest,
        delete_subscription,
        "DELETE",
        _SUBSCRIPTION,
        "subscription",
    ),
    Method(
        "Subscriber/ListSubscriptions",
        types.ListSubscriptionsRequest,
        list_subscriptions,
        "GET",
        f"{_PROJECT}/subscriptions",
        "project",
    ),
)
