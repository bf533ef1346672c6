"""The Cloud SDK's Pub/Sub emulator, as the alternative to the embedded broker.

The jar is started directly: one process, one pid, a clean end by SIGTERM. (`gcloud beta emulators pubsub start` may leave its
Java child alive.) The emulator speaks gRPC and REST on one port.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from google.protobuf import json_format
from google.pubsub_v1 import types

from local.google.pubsub.service import subscription_to
from local.reserved_port import ReservedPort

if TYPE_CHECKING:
    from local.google.pubsub.model import Subscription

START_SECONDS = 100.0  # of a JVM, on a machine that does much besides
# A third of the memory of the JVM's defaults, and no slower at these sizes.
_JVM = ("-XX:+UseSerialGC", "-Xmx256m", "-XX:TieredStopAtLevel=1")


class UnavailableError(RuntimeError):
    """The emulator is not installed, or did not start; the message says what is missing."""


def command(port: int) -> list[str]:
    """Return the command that serves the emulator on loopback, or say what is missing."""
    java, gcloud = shutil.which("java"), shutil.which("gcloud")
    if gcloud is None:
        raise UnavailableError("the Cloud SDK's Pub/Sub emulator needs gcloud, which is not on the PATH")
    if java is None:
        raise UnavailableError("the Cloud SDK's Pub/Sub emulator needs java (11 or later), which is not on the PATH")
    jars = [
        jar
        for root in _sdk_roots(gcloud)
        for jar in root.glob("platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar")
    ]
    if not jars:
        raise UnavailableError(
            "the Cloud SDK has no Pub/Sub emulator: install it with `gcloud components install pubsub-emulator`"
            " or the package google-cloud-cli-pubsub-emulator"
        )
    return [java, *_JVM, "-jar", str(jars[0]), "--host=127.0.0.1", f"--port={port}"]


def _sdk_roots(gcloud: str) -> list[Path]:
    """Return the SDK's folder in a list: beside gcloud's program, or as gcloud answers, which is slow; empty if unknown."""
    beside = Path(gcloud).resolve().parent.parent
    if (beside / "platform").is_dir():
        return [beside]
    asked = subprocess.run(
        [gcloud, "info", "--format=value(installation.sdk_root)"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return [Path(asked.stdout.strip())] if asked.stdout.strip() else []


@dataclass
class Emulator:
    """A running emulator, with those methods of `Broker` that need no look inside it; here they are coroutines."""

    port: int
    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    reserved: ReservedPort

    async def create_topic(self, name: str) -> None:
        await self._call("PUT", name, {})

    async def create_subscription(self, subscription: Subscription) -> None:
        await self._call("PUT", subscription.name, _json(subscription_to(subscription)))

    async def publish(self, topic: str, data: bytes, attributes: dict[str, str] | None = None) -> str:
        request = types.PublishRequest.pb()()
        request.messages.add(data=data, attributes=attributes or {})
        answer = await self._call("POST", f"{topic}:publish", _json(request))
        return str(answer["messageIds"][0])

    async def _call(self, verb: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self.session.request(verb, f"http://127.0.0.1:{self.port}/v1/{path}", json=body) as answer:
            if answer.status != 200:
                raise RuntimeError(f"the Pub/Sub emulator: {verb} {path}: {answer.status} {await answer.text()}")
            decoded: dict[str, Any] = await answer.json()
            return decoded

    async def close(self) -> None:
        """End the process and wait for it."""
        await self.session.close()
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()
        self.reserved.release()


def _json(message: Any) -> dict[str, Any]:
    body: dict[str, Any] = json_format.MessageToDict(message)
    return body


async def start(log: Path, port: int = 0) -> Emulator:
    """Start the emulator (on a free port, unless `port` names one) and return it when it answers.

    Raises OSError when another process listens on the port.
    """
    reserved = ReservedPort(port)
    try:
        line = await asyncio.to_thread(command, reserved.number)
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *line, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
    except BaseException:
        reserved.release()
        raise
    emulator = Emulator(reserved.number, process, aiohttp.ClientSession(), reserved)
    try:
        await asyncio.wait_for(_until_it_answers(emulator), START_SECONDS)
    except BaseException as error:
        await emulator.close()
        if isinstance(error, TimeoutError):
            raise UnavailableError(
                f"the Pub/Sub emulator did not answer within {START_SECONDS:.0f} s; see {log}"
            ) from error
        raise
    return emulator


async def _until_it_answers(emulator: Emulator) -> None:
    while not await _answers(emulator):
        if emulator.process.returncode is not None:
            raise UnavailableError(f"the Pub/Sub emulator ended with {emulator.process.returncode}; see its log")
        await asyncio.sleep(0.05)


async def _answers(emulator: Emulator) -> bool:
    try:
        async with emulator.session.get(f"http://127.0.0.1:{emulator.port}/") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
