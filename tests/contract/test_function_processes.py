"""A function that the parent process forks is the process that `python -m functions_framework` would be."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local.config import SETTINGS
from local.functions import Function
from local.names import ROOT
from local.parent import PROGRAM, SHARED, Parent
from local.processes import Child, StartError, kill_group, until
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends forks with their parent")

GIVEN = {"GCE_METADATA_HOST": "127.0.0.1:1", "HOME": "/nowhere", "SSL_CERT_FILE": "/nowhere/ca.pem"}
MAIN = """
import json, os, signal, sys, threading
from shared.where import HERE

print(json.dumps({
    "environment": dict(os.environ), "arguments": sys.argv[1:], "path": sys.path, "directory": os.getcwd(),
    "leads its session": os.getpid() == os.getsid(0) == os.getpgrp(), "stdin": os.readlink("/proc/self/fd/0"),
    "blocked": [str(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    "child ends": str(signal.getsignal(signal.SIGCHLD)), "threads": threading.active_count(),
    "main": sys.modules["__main__"].__name__, "here": HERE,
    "open": sorted(os.readlink(f"/proc/self/fd/{one}").partition(":")[0] for one in os.listdir("/proc/self/fd")[:-1]),
}), flush=True)

def sweep(event):
    pass
"""
# Prints the names of the environment's variables that somebody looks for while the functions' packages are imported.
PRELOADING = """
import os, sys, threading
from pathlib import Path
from local import forking

asked = set()
class Watched(os._Environ):
    def __getitem__(self, key):
        asked.add(key)
        return super().__getitem__(key)
os.environ.__class__ = Watched
sys.path[0] = os.getcwd()
forking.preload(Path.cwd())
print(*asked)
print(threading.active_count(), "google.auth" in sys.modules, "kubernetes.client" in sys.modules)
"""


# Listens as gunicorn does, once the file `go` is there. On SIGTERM it closes its port at once, and ends when `leave` is there.
LATE = """
import signal, socket, sys, time
from pathlib import Path
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
def wait(name):
    while not Path(sys.argv[2], name).exists():
        time.sleep(0.01)
wait("go")
door = socket.socket()
door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
door.bind(("127.0.0.1", int(sys.argv[1])))
door.listen()
signal.sigwait([signal.SIGTERM])
door.close()
Path(sys.argv[2], "closed").touch()
wait("leave")
"""
# Loses the first SIGTERM, as a worker that gunicorn has just forked does.
DEAF = LATE.replace("signal.sigwait", "signal.sigwait([signal.SIGTERM]); signal.sigwait").replace('wait("leave")', "")
# Says which process runs, with which settings.
SETTLED = """
import os
print(os.getpid(), os.environ["HOLD"], flush=True)

def sweep(event):
    pass
"""


def _source(directory: Path, here: str = "first") -> Path:
    (directory / "shared").mkdir(exist_ok=True)
    (directory / "shared" / "where.py").write_text(f"HERE = {here!r}\n")
    source = directory / "main.py"
    source.write_text(MAIN)
    return source


async def _with_parent(directory: Path, work: Callable[[Parent], Any]) -> Any:
    parent = await Parent.start(directory)
    try:
        return await work(parent)
    finally:
        await parent.stop()


async def _logged(function: Function, directory: Path) -> dict[str, Any]:
    """What the function says when it starts, without what differs from process to process."""
    function.clear_log()
    await function.start(directory)
    await function.stop()
    found: dict[str, Any] = json.loads(function.log.read_text().splitlines()[0].replace(str(function.port), "PORT"))
    return found


def test_a_forked_function_finds_what_one_started_by_itself_finds(tmp_path: Path) -> None:
    source = _source(tmp_path)

    async def both(parent: Parent) -> tuple[dict[str, Any], ...]:
        log = tmp_path / "log"
        functions = (Function("sweep", source, log, GIVEN, parent), Function("sweep", source, log, GIVEN))
        found = tuple([await _logged(function, tmp_path) for function in functions])
        for function in functions:
            function.close()
        return found

    forked, alone = asyncio.run(_with_parent(tmp_path, both))
    assert forked == alone
    assert forked["environment"].items() >= GIVEN.items()


def test_a_function_runs_the_code_that_is_there_when_it_starts(tmp_path: Path) -> None:
    source = _source(tmp_path)

    async def twice(parent: Parent) -> list[str]:
        function = Function("sweep", source, tmp_path / "log", GIVEN, parent)
        first = await _logged(function, tmp_path)
        _source(tmp_path, "second, and longer")
        second = await _logged(function, tmp_path)
        function.close()
        return [first["here"], second["here"]]

    assert asyncio.run(_with_parent(tmp_path, twice)) == ["first", "second, and longer"]


@pytest.mark.parametrize("ended", ["function", "parent"])
def test_a_killed_function_is_missed_as_is_its_parent(tmp_path: Path, ended: str) -> None:
    source = _source(tmp_path)

    async def killed(parent: Parent) -> list[int]:
        codes: asyncio.Queue[int] = asyncio.Queue()

        def note(_: Child, code: int) -> None:
            codes.put_nowait(code)

        function = Function("sweep", source, tmp_path / "log", GIVEN, parent)
        function.on_death = note
        await function.start(tmp_path)
        assert function.pid is not None
        victim = function.pid if ended == "function" else parent.pid
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        code = await asyncio.wait_for(codes.get(), 60)
        await function.kill()
        function.close()
        return [code]

    wanted = signal.SIGKILL if ended == "function" else signal.SIGTERM
    assert asyncio.run(_with_parent(tmp_path, killed)) == [-wanted]


def test_parents_of_several_clouds_share_what_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "parents"
    clean = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
    monkeypatch.setenv(SHARED, str(path))

    async def two_clouds() -> None:
        parents = [await Parent.start(ROOT) for _ in range(2)]
        functions = [
            Function("sweep", ROOT / "main.py", tmp_path / str(number), GIVEN, parent)
            for number, parent in enumerate(parents)
        ]
        for function in functions:
            await function.start(ROOT)
        assert {parent.pid for parent in parents} == {None}  # nothing was started from here
        pids = [function.pid or 0 for function in functions]
        sessions = [os.getsid(pid) for pid in pids]
        assert sessions == pids
        await functions[0].stop()
        await parents[0].stop()
        assert functions[1].pid == pids[1]
        with pytest.raises(StartError):
            await functions[0].start(ROOT)
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        functions[1].on_death = lambda _child, code: ended.set_result(code)
        await parents[1].stop()  # it ends its functions, as it does when its cloud is killed
        assert await asyncio.wait_for(ended, 60) == -signal.SIGTERM
        for function in functions:
            await function.kill()
            function.close()

    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        command = [sys.executable, str(PROGRAM), str(door.fileno())]
        parents = subprocess.Popen(command, cwd=ROOT, env=clean, stdin=subprocess.PIPE, pass_fds=[door.fileno()])
    asyncio.run(two_clouds())
    parents.communicate()
    assert parents.returncode == 0


def test_preloading_reads_no_variable_of_a_function_and_starts_no_thread() -> None:
    done = subprocess.run([sys.executable, "-c", PRELOADING], cwd=ROOT, capture_output=True, text=True, check=True)
    asked, rest = done.stdout.splitlines()
    function = Function("sweep", ROOT / "main.py", ROOT, GIVEN)
    function.close()
    given = {*function.environment(), *SETTINGS, "GCE_METADATA_IP", "REQUESTS_CA_BUNDLE", "PUBSUB_EMULATOR_HOST"}
    assert set(asked.split()) & given <= {"PATH", "LANG", "PYTHONUNBUFFERED"}  # which the parent has, too
    assert rest == "1 True True"


class Late(Child):
    """A program that takes its time before it listens, and before it ends."""

    def __init__(self, directory: Path, program: str = LATE) -> None:
        super().__init__("late", directory / "late.log")
        self.directory = directory
        self.program = program
        self.second = self.reserve_port()
        self.deaths: list[int] = []
        self.on_death = lambda _, code: self.deaths.append(code)

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.program, str(self.port), str(self.directory)]

    def environment(self) -> dict[str, str]:
        return {"PATH": os.defpath}

    def taken(self) -> list[bool]:
        """Which of its two ports are refused to another process."""
        return [is_taken(port) for port in (self.port, self.second)]


def is_taken(port: int) -> bool:
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def test_nobody_gets_a_port_of_a_program_that_starts_or_stops(tmp_path: Path) -> None:
    async def taken() -> list[list[bool]]:
        late = Late(tmp_path)
        starting = asyncio.create_task(late.start(tmp_path))
        try:
            await until(lambda: late.pid is not None, "the process", PATIENCE)
            before = late.taken()
            (tmp_path / "go").touch()
            await starting
            stopping = asyncio.create_task(late.stop(PATIENCE))
            await until((tmp_path / "closed").exists, "the process", PATIENCE)
            after = late.taken()
            (tmp_path / "leave").touch()
            await stopping
            return [before, after, late.taken()]
        finally:
            await late.kill()
            late.close()

    assert asyncio.run(taken()) == [[True, True]] * 3


def test_stop_repeats_a_signal_that_a_program_has_lost(tmp_path: Path) -> None:
    async def stopped() -> None:
        deaf = Late(tmp_path, DEAF)
        (tmp_path / "go").touch()
        await deaf.start(tmp_path)
        await deaf.stop(PATIENCE)
        deaf.close()
        assert (tmp_path / "closed").exists()  # else it was killed

    asyncio.run(stopped())


def test_killing_a_program_that_starts_fails_the_start(tmp_path: Path) -> None:
    async def killed() -> list[int]:
        late = Late(tmp_path)
        starting = asyncio.create_task(late.start(tmp_path))
        await until(lambda: late.pid is not None, "the process", PATIENCE)
        await late.kill()
        with pytest.raises(StartError):
            await starting
        assert late.pid is None
        late.close()
        with pytest.raises(StartError):
            await late.start(tmp_path)
        return late.deaths

    assert asyncio.run(killed()) == []


def _children(parent: Parent) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()]


def _settled(directory: Path, parent: Parent) -> Function:
    source = _source(directory)
    source.write_text(SETTLED)
    return Function("sweep", source, directory / "log", {**GIVEN, "HOLD": "0"}, parent)


def test_overlapping_redeploys_leave_one_process_with_the_last_settings(tmp_path: Path) -> None:
    async def overlapping(parent: Parent) -> None:
        function = _settled(tmp_path, parent)

        async def redeploy(hold: int) -> None:
            await function.stop()
            function.variables["HOLD"] = str(hold)
            await function.start(tmp_path)

        await asyncio.gather(function.start(tmp_path), *map(redeploy, range(1, 4)))
        assert _children(parent) == [function.pid]
        assert function.log.read_text().splitlines()[-1] == f"{function.pid} 3"
        await function.kill()
        function.close()

    asyncio.run(_with_parent(tmp_path, overlapping))


def test_cancelled_start_leaves_no_process_behind(tmp_path: Path) -> None:
    async def cancelled(parent: Parent) -> None:
        function = _settled(tmp_path, parent)
        starting = asyncio.create_task(function.start(tmp_path))
        await asyncio.sleep(0)  # the order is on its way
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await function.start(tmp_path)
        await until(lambda: _children(parent) == [function.pid], "the process", PATIENCE)
        await function.kill()
        function.close()

    asyncio.run(_with_parent(tmp_path, cancelled))


def test_order_without_an_answer_is_a_start_error(tmp_path: Path) -> None:
    async def unanswered(parent: Parent) -> None:
        function = _settled(tmp_path, parent)
        order: tuple[list[str], dict[str, str], Path] = (["--source", "main.py"], {}, function.log)
        assert parent.pid is not None
        os.kill(parent.pid, signal.SIGSTOP)
        try:
            with pytest.raises(StartError):
                await parent.fork(*order, within=0.01)
        finally:
            os.kill(parent.pid, signal.SIGCONT)
        await until(lambda: not _children(parent), "the process", PATIENCE)
        await function.start(tmp_path)
        await function.kill()
        function.close()

    asyncio.run(_with_parent(tmp_path, unanswered))


def test_end_of_a_fork_is_noticed_at_its_first_moment(tmp_path: Path) -> None:
    async def killed(parent: Parent) -> None:
        for _ in range(50):
            fork = await parent.fork(["--source", "main.py"], {}, tmp_path / "log")
            kill_group(fork)
            await asyncio.wait_for(fork.wait(), PATIENCE)
            assert fork.returncode

    _source(tmp_path)
    asyncio.run(_with_parent(tmp_path, killed))
