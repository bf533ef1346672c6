"""An operator's terminal on a local cloud: what is typed, what is printed, and the commands in it, which can be pasted."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import forked_gcloud, forked_ops
from tests.chain.running import CENTRAL_MEMBERSHIP, FLEET, ROOT, Chain
from tests.chain.test_ops import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = re.compile(r"^ {2,}((?:gcloud|kubectl|python -m ops|eval) .*)$", re.MULTILINE)


@dataclass(frozen=True)
class Printed:
    """What a command printed, and its exit code."""

    text: str
    code: int

    @property
    def commands(self) -> list[str]:
        """The commands on lines of their own."""
        return COMMAND.findall(self.text)

    def command(self, *words: str) -> str:
        """The one command that has all the words."""
        [found] = {one for one in self.commands if all(word in one for word in words)}
        return found

    def has(self, *texts: str) -> bool:
        """Whether all the texts are there; fails with what is there."""
        missing = [text for text in texts if text not in self.text]
        assert not missing, f"{missing} not in:\n{self.text}"
        return True


@contextmanager
def deployed(cloud: Chain, *functions: str, **wrong: str) -> Iterator[None]:
    """Give running functions wrong settings, and restore them."""
    before = {"CLUSTER_SELECTOR": "env=prod", "HOLD": "600", "CENTRAL_MEMBERSHIP": CENTRAL_MEMBERSHIP}
    for name in functions:
        cloud.do("cloud", "redeploy", name=name, settings=wrong)
    try:
        yield
    finally:
        for name in functions:
            cloud.do("cloud", "redeploy", name=name, settings={key: before.get(key, "") for key in wrong})


@contextmanager
def hurried(cloud: Chain, step: str) -> Iterator[None]:
    """Let Pub/Sub give up soon on a step's messages: what must be seen before that has been seen."""
    path = f"projects/{FLEET}/subscriptions/{step}"
    url = f"{cloud.do('cloud', 'pubsub_url')}v1/{path}"

    def retry(policy: dict[str, str]) -> None:
        body = {"subscription": {"name": path, "retryPolicy": policy}, "updateMask": "retryPolicy"}
        status, answer = cloud._call(url, "PATCH", body)
        assert status == 200, answer

    before = cloud._call(url, "GET")[1]["retryPolicy"]
    retry({"minimumBackoff": "0.1s", "maximumBackoff": "0.1s"})
    try:
        yield
    finally:
        retry(before)


@dataclass(frozen=True)
class Console:
    """Types commands with the operator's identity; `changed` replaces settings."""

    cloud: Chain

    def ops(self, *words: str, **changed: str) -> Printed:
        """Type `python -m ops …`."""
        return self._printed(forked_ops.run(words, environment(self.cloud) | changed))

    def paste(self, command: str, code: int = 0) -> Printed:
        """Paste a printed command into a shell, as it is; it must end with the code."""
        tool = command.split(maxsplit=1)[0]
        if tool != "python" and shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed here")
        if tool == "python":
            words = self._split(command)
            assert words[:3] == ["python", "-m", "ops"], command
            printed = self.ops(*words[3:])
        else:
            printed = self._printed(self._shell(command))
        assert printed.code == code, f"{command}\n{printed.text}"
        return printed

    def publish(self, command: str) -> None:
        """Publish what a printed `gcloud pubsub topics publish` does. The first incident pastes one, as it is."""
        *start, topic, project, message = self._split(command)
        assert start == ["gcloud", "pubsub", "topics", "publish"], command
        assert project == f"--project={FLEET}", command
        assert message.startswith("--message="), command
        self.cloud.publish(topic, message.removeprefix("--message=").encode())

    def _split(self, command: str) -> list[str]:
        """The words of a command, as the shell splits them; fails if it is more than one command."""
        shell = self._shell(f"printf '%s\\0' {command}")
        assert shell.returncode == 0, shell.stderr
        words = shell.stdout.split("\0")[:-1]
        assert words == shlex.split(command), command
        return words

    def _shell(self, command: str) -> subprocess.CompletedProcess[str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{forked_gcloud.path()}"
        return subprocess.run(
            ["bash", "-c", command],
            cwd=ROOT,
            env=environment(self.cloud) | {"PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    def _printed(self, answer: subprocess.CompletedProcess[str]) -> Printed:
        text = answer.stdout + answer.stderr
        assert "Traceback" not in text, text
        assert all(each.isprintable() or each == "\n" for each in text), repr(text)
        return Printed(text, answer.returncode)
