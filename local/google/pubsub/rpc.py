"""Pub/Sub over gRPC, for the official client libraries: `PUBSUB_EMULATOR_HOST=127.0.0.1:<port>`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.pubsub_v1 import types

from local.google.pubsub.service import METHODS, Method, received
from local.google.wire import GoogleError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from local.google.pubsub.broker import Broker

_STREAM_BATCH = 100  # messages in one answer
_STREAM_WAIT = 30.0  # seconds after which an empty answer shows whether the client is still there


async def serve_grpc(broker: Broker, port: int = 0, interceptors: Sequence[Any] = ()) -> tuple[Any, int]:
    """Start a server on loopback; return it (stop it with `await server.stop(grace)`) and its port."""
    server = grpc.aio.server(
        interceptors=list(interceptors),
        options=[
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # else two servers share a port, and each gets some of the calls
        ],
    )
    services: dict[str, dict[str, Any]] = {"Publisher": {}, "Subscriber": {}}
    for method in METHODS:
        service, _, name = method.rpc.partition("/")
        services[service][name] = _unary(broker, method)
    services["Subscriber"]["StreamingPull"] = _streaming_pull(broker)
    server.add_generic_rpc_handlers(
        tuple(
            grpc.method_handlers_generic_handler(f"google.pubsub.v1.{service}", handlers)
            for service, handlers in services.items()
        )
    )
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, bound


async def _abort(context: Any, error: GoogleError) -> None:
    await context.abort(getattr(grpc.StatusCode, error.status, grpc.StatusCode.UNKNOWN), error.message)


def _unary(broker: Broker, method: Method) -> Any:
    async def handler(request: Any, context: Any) -> Any:
        try:
            return await method.call(broker, request)
        except GoogleError as error:
            await _abort(context, error)

    return grpc.unary_unary_rpc_method_handler(
        handler, method.request.pb().FromString, lambda answer: answer.SerializeToString()
    )


def _streaming_pull(broker: Broker) -> Any:
    """Messages as they arrive. The client libraries themselves enforce `max_outstanding_messages`."""

    async def read(name: str, first: Any, requests: AsyncIterator[Any]) -> None:
        request = first
        while request is not None:
            broker.acknowledge(name, request.ack_ids)
            for ack_id, seconds in zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=False):
                broker.modify_ack_deadline(name, [ack_id], seconds)
            request = await anext(requests, None)

    async def write(name: str, deadline: int | None, context: Any) -> None:
        while not broker.closed:
            deliveries = await broker.pull(name, _STREAM_BATCH, _STREAM_WAIT, deadline)
            answer = types.StreamingPullResponse.pb()(received_messages=[received(delivery) for delivery in deliveries])
            try:
                await context.write(answer)
            except BaseException:
                # The client is gone: what it never saw is free for the next one.
                broker.modify_ack_deadline(name, [delivery.ack_id for delivery in deliveries], 0)
                raise

    async def handler(requests: AsyncIterator[Any], context: Any) -> None:
        first = await anext(requests, None)
        if first is None:
            return
        name = first.subscription
        both = [
            asyncio.create_task(read(name, first, requests)),
            asyncio.create_task(write(name, first.stream_ack_deadline_seconds or None, context)),
        ]
        try:
            ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for one in ended:
                one.result()
        except GoogleError as error:
            await _abort(context, error)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    return grpc.stream_stream_rpc_method_handler(
        handler, types.StreamingPullRequest.pb().FromString, lambda answer: answer.SerializeToString()
    )
