"""Faults and the log of calls for publishing over gRPC, as `local.google.faults.observed` does it for the APIs over HTTP.

A publish is matched as `POST /v1/projects/P/topics/T:publish`. Its caller is not known: the client libraries send no
credentials to an emulator (PUBSUB_EMULATOR_HOST). Other methods pass unobserved: no function calls them.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from local.google.faults import Call
from local.google.wire import STATUS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from local.google.faults import Calls, Faults


@grpc.aio.ServerInterceptor.register  # not inherited: grpcio has no types
class ObservedPublish:
    """Applies the injected faults to publish calls, and logs the calls."""

    def __init__(self, faults: Faults, calls: Calls) -> None:
        self._faults = faults
        self._calls = calls

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        handler = await continuation(details)
        if not details.method.endswith("Publisher/Publish"):
            return handler

        async def publish(request: Any, context: Any) -> Any:
            return await self._publish(handler.unary_unary, request, context)

        return grpc.unary_unary_rpc_method_handler(publish, handler.request_deserializer, handler.response_serializer)

    async def _publish(self, method: Callable[[Any, Any], Awaitable[Any]], request: Any, context: Any) -> Any:
        began, status, path = time.monotonic(), 0, f"/v1/{request.topic}:publish"
        fault = self._faults.hit("pubsub", f"POST {path}", None)
        try:
            if fault is not None and fault.effect == "status":
                status = fault.status
                code = getattr(grpc.StatusCode, STATUS.get(fault.status, "UNKNOWN"), grpc.StatusCode.UNKNOWN)
                await context.abort(code, fault.message)
            if fault is not None and fault.effect == "slow":
                await self._faults.slow(fault)
            if fault is not None and fault.effect == "timeout":
                await asyncio.sleep(fault.seconds)
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the line was cut")
            answer = await method(request, context)
            if fault is not None and fault.effect == "drop":
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the line was cut")
            status = 200
            return answer
        finally:
            took = time.monotonic() - began
            self._calls.log.append(Call(time.time(), "pubsub", "POST", path, "", "", status, took))
