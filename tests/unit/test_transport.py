"""Every outside call ends in time, whatever the other side does, and carries the same identity through the same proxy."""

from __future__ import annotations

import gzip
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from shared.clients import answers, deadline, gateway, http, transport
from shared.clients.gateway import Gateway
from shared.clients.gke import Gke
from shared.clients.inventory import read_inventory
from shared.clients.publisher import Bus
from shared.clients.registration import Registration
from shared.clients.transport import authorized_session
from shared.runtime.services import Services
from shared.values.codes import ErrorCode
from shared.values.errors import ReconcileError, RetryableError
from shared.values.inventory import Listed
from tests.unit.given import BLUE, BLUE_MEMBER, settings
from tests.unit.stub import Handler, Identity, Stub, sends, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COLLECTION = "apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
# Far below what the other side would take, far above what the machine needs.
SECONDS = 0.25
LATE = 15.0

CALLS: dict[str, Callable[[str, Identity], Any]] = {
    "session": lambda url, who: http.get(authorized_session(who), f"{url}/v1/x", "reading x"),
    "registers": lambda url, who: Registration(who, url).create(BLUE_MEMBER.name, BLUE),
    "unregisters": lambda url, who: Registration(who, url).delete(BLUE_MEMBER.name),
    "gateway reads": lambda url, who: Gateway(who).get(url, COLLECTION, "x"),
    "gateway lists": lambda url, who: list(Gateway(who).list(url, COLLECTION, "a=b")),
    "gateway writes": lambda url, who: Gateway(who).delete(url, COLLECTION, "x", {}),
    "publishes": lambda url, _who: Bus(None, "demo-fleet", url.removeprefix("http://")).publish("sweep", b"{}", {}),
}
HTTP = [call for call in CALLS if call != "publishes"]


def called(call: str, url: str, who: Identity | None = None) -> Any:
    return CALLS[call](url, who or Identity())


@pytest.fixture
def stub() -> Iterator[Stub]:
    with serving() as running:
        yield running


def drips(stub: Stub, head: bytes) -> Callable[[Handler], None]:
    """Send a beginning, and then a byte at a time for as long as the client reads."""

    def answer(handler: Handler) -> None:
        handler.close_connection = True
        handler.wfile.write(head)
        while not stub.stopped.wait(0.02):
            handler.wfile.write(b" ")

    return answer


def ended(call: Callable[[], Any]) -> ReconcileError:
    """Return what a call raised, and see that it was in time."""
    began = time.monotonic()
    with pytest.raises(RetryableError) as raised:
        call()
    assert time.monotonic() - began < LATE
    return raised.value


HEADS = {
    "says nothing": b"",
    "drips its headers": b"HTTP/1.1 200 OK\r\nX-Header: ",
    "drips its body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "drips chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    "drips a body without an end": b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("call", HTTP)
@pytest.mark.parametrize("head", HEADS)
def test_a_call_to_a_server_that_drips_ends_in_time(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, head: str, call: str
) -> None:
    monkeypatch.setattr(transport, "ANSWER_SECONDS", SECONDS)
    stub.give(drips(stub, HEADS[head]))
    assert ended(lambda: called(call, stub.url)).code in (ErrorCode.NO_ANSWER, ErrorCode.TIMED_OUT)


@pytest.mark.parametrize("call", CALLS)
def test_a_step_ends_before_its_deadline_whatever_a_server_does(stub: Stub, call: str) -> None:
    stub.give(drips(stub, HEADS["drips its body"]))
    with deadline.within(SECONDS):
        ended(lambda: called(call, stub.url))


def test_each_answer_has_its_own_time_within_the_whole() -> None:
    with deadline.within(LATE, each=SECONDS):
        for _ in range(3):  # progress does not use up the time of the next answer
            assert deadline.remaining(transport.ANSWER_SECONDS) == SECONDS
        with deadline.within(LATE):
            assert deadline.remaining(transport.ANSWER_SECONDS) == SECONDS
        with deadline.within(SECONDS / 2):
            assert deadline.remaining(transport.ANSWER_SECONDS) <= SECONDS / 2


def test_a_list_of_many_slow_pages_is_read_and_one_that_hangs_is_not(stub: Stub) -> None:
    def later(handler: Handler) -> None:
        stub.stopped.wait(0.4)
        sends({"resources": [], "nextPageToken": f"page-{len(stub.seen)}"})(handler)

    services = Services(settings(CLOUDSDK_API_ENDPOINT_OVERRIDES_GKEHUB=f"{stub.url}/"))
    services.credentials = Identity()
    stub.give(*[later] * 9, sends({"resources": []}))
    with deadline.within(60, each=3.0):  # less than the nine waits together
        assert services.fleet.list("demo-fleet") == Listed()
    assert len(stub.seen) == 10
    stub.give(drips(stub, HEADS["drips its body"]))
    with deadline.within(LATE, each=SECONDS):
        ended(lambda: services.fleet.list("demo-fleet"))


@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_sent_once_a_steps_time_is_used_up(stub: Stub, call: str) -> None:
    stub.give(sends({}))
    with deadline.within(0):
        ended(lambda: called(call, stub.url))
    assert stub.seen == []


@pytest.mark.parametrize("connection", [transport.HttpPool.ConnectionCls, transport.HttpsPool.ConnectionCls])
def test_no_connection_is_made_or_used_once_a_steps_time_is_used_up(stub: Stub, connection: Any) -> None:
    """A retry, or a token that is fetched first, may have used it up."""
    one = connection("127.0.0.1", int(stub.url.rpartition(":")[2]), timeout=60)
    with deadline.within(0):
        with pytest.raises(TimeoutError):
            one.connect()
        with pytest.raises(TimeoutError):
            one.send(b"GET / HTTP/1.1\r\n\r\n")
    assert one.sock is None


def test_a_membership_is_deleted_within_the_age_of_its_read(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fleet API takes no precondition: an answer that comes later is not waited for."""
    monkeypatch.setattr(deadline, "FRESH_SECONDS", SECONDS)
    stub.give(drips(stub, HEADS["drips its body"]))
    ended(lambda: called("unregisters", stub.url))


def test_a_token_is_fetched_within_a_steps_time(stub: Stub) -> None:
    stub.give(drips(stub, HEADS["drips its body"]))

    def fetch() -> None:
        with answers.translated("fetching a token"):
            transport.token_request()(stub.url, method="GET", timeout=60)

    with deadline.within(SECONDS):
        ended(fetch)


def test_a_publish_to_a_server_that_never_answers_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    handler = grpc.unary_unary_rpc_method_handler(lambda _request, _context: released.wait(60) and b"")
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", {"Publish": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setattr(transport, "ANSWER_SECONDS", SECONDS)
    try:
        assert ended(lambda: called("publishes", f"http://127.0.0.1:{port}")).status == 504
    finally:
        released.set()
        server.stop(None)


def test_a_host_that_takes_no_connection_ends_a_call_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        host, port = full.getsockname()
        queue = [socket.socket() for _ in range(3)]
        for each in queue:
            each.setblocking(False)
            each.connect_ex((host, port))
        with deadline.within(SECONDS):
            for call in HTTP:
                ended(lambda call=call: called(call, f"http://{host}:{port}"))  # type: ignore[misc]
        for each in queue:
            each.close()


def test_the_threads_of_a_sweep_have_its_deadline(stub: Stub) -> None:
    services = Services(settings())
    services.gke = Gke(authorized_session(Identity()), stub.url, {})
    services.central = SimpleNamespace(managed=list, unmanaged=list)
    services.fleet = SimpleNamespace(list=lambda _project: Listed())
    stub.give(drips(stub, HEADS["drips its body"]))
    began = time.monotonic()
    with deadline.within(SECONDS):
        inventory = read_inventory(services)
    assert time.monotonic() - began < LATE
    assert set(inventory.unread) == {"demo-fleet", "demo-apps"}


def floods(handler: Handler) -> None:
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + b'{"a":"')
    while True:
        handler.wfile.write(b"a" * 2**20)


@pytest.mark.parametrize("call", HTTP)
def test_of_a_body_without_an_end_no_more_than_the_limit_is_read(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(transport, "MAX_BYTES", 2**16)
    stub.give(floods)
    assert ended(lambda: called(call, stub.url)).code is ErrorCode.NO_ANSWER


def test_of_a_cluster_no_more_than_an_objects_size_is_read(stub: Stub) -> None:
    sent = {"kind": "ClusterRoleBinding", "metadata": {"name": "x"}, "filler": "a" * gateway.OBJECT_BYTES}
    stub.give(sends(sent))
    for call in ("gateway reads", "gateway writes"):
        assert ended(lambda call=call: called(call, stub.url)).code is ErrorCode.UNUSABLE_ANSWER  # type: ignore[misc]


@pytest.mark.parametrize("call", ["session", "gateway reads"])
def test_a_body_that_grows_when_it_is_unpacked_is_bounded(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(http, "MAX_BYTES", 2**20)
    stub.give(sends(gzip.compress(b" " * 2**26), Content_Encoding="gzip"))
    assert ended(lambda: called(call, stub.url)).code is ErrorCode.UNUSABLE_ANSWER


@pytest.mark.parametrize("call", HTTP)
def test_a_401_fetches_a_new_token_once(stub: Stub, call: str) -> None:
    stub.give(sends({"error": {"code": 401, "status": "UNAUTHENTICATED", "message": "no"}}, 401))
    who = Identity()
    assert ended(lambda: called(call, stub.url, who)).status == 401
    assert [seen.headers["authorization"] for seen in stub.seen] == ["Bearer token-0", "Bearer token-1"]
    assert who.refreshed == 1


@pytest.mark.parametrize("call", HTTP)
def test_every_call_names_the_quota_project(stub: Stub, call: str) -> None:
    stub.give(sends({"error": {"code": 503, "status": "UNAVAILABLE", "message": "later"}}, 503))
    ended(lambda: called(call, stub.url, Identity("billed")))
    assert stub.seen[0].headers["x-goog-user-project"] == "billed"


@pytest.mark.parametrize("call", HTTP)
def test_a_redirect_is_not_followed(stub: Stub, call: str) -> None:
    with serving() as elsewhere:
        elsewhere.give(sends({}))
        stub.give(sends(b"", 302, Location=f"{elsewhere.url}/x"))
        ended(lambda: called(call, stub.url))
        assert elsewhere.seen == []


@pytest.mark.parametrize("call", HTTP)
def test_a_netrc_does_not_replace_the_identity(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: str
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    stub.give(sends({"error": {"code": 503, "status": "UNAVAILABLE", "message": "later"}}, 503))
    ended(lambda: called(call, stub.url))
    assert stub.seen[0].headers["authorization"] == "Bearer token-0"


@pytest.mark.parametrize("call", HTTP)
@pytest.mark.parametrize(
    ("no_proxy", "goes_through"),
    [
        ("", True),
        ("localhost,.example.com", True),
        ("fleet.test", False),
        (".test", False),
        ("test", False),
        ("127.0.0.1,fleet.test", False),
    ],
)
def test_every_client_goes_through_the_proxy(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, call: str, no_proxy: str, *, goes_through: bool
) -> None:
    monkeypatch.setenv("HTTP_PROXY", stub.url)
    monkeypatch.setenv("http_proxy", stub.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, no_proxy)
    stub.give(sends({"error": {"code": 503, "status": "UNAVAILABLE", "message": "later"}}, 503))
    with deadline.within(2.0):  # the request is sent before, on a slow machine, too
        ended(lambda: called(call, "http://fleet.test"))
    assert bool(stub.seen) is goes_through


def test_one_client_uses_the_proxy_for_some_hosts_and_not_for_others(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, stub.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    stub.give(sends({"error": {"code": 503, "status": "UNAVAILABLE", "message": "later"}}, 503))
    client = Gateway(Identity())
    for url in (stub.url, "http://fleet.test", stub.url):
        ended(lambda url=url: client.get(url, COLLECTION, "x"))  # type: ignore[misc]
    assert [seen.path.partition("/apis/")[0] for seen in stub.seen] == ["", "http://fleet.test", ""]


@pytest.mark.parametrize("call", HTTP)
def test_a_connect_through_a_proxy_that_drips_ends_in_time(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    stub.give(drips(stub, HEADS["drips its headers"]))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, stub.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "localhost")
    with deadline.within(1.0):  # the request is sent before, on a slow machine, too
        ended(lambda: called(call, "https://fleet.test"))
    assert [seen.method for seen in stub.seen] == ["CONNECT"]


def test_a_connection_is_used_again(stub: Stub) -> None:
    stub.give(sends({"kind": "ClusterRoleBinding", "metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}}))
    ports: set[int] = set()
    answer = stub.answers[0]

    def noting(handler: Handler) -> None:
        ports.add(handler.client_address[1])
        answer(handler)

    stub.give(noting)
    clusters, session = Gateway(Identity()), authorized_session(Identity())
    for _ in range(3):
        clusters.get(stub.url, COLLECTION, "x")
    assert len(ports) == 1
    for _ in range(3):
        http.get(session, f"{stub.url}/v1/x", "reading x")
    assert len(ports) == 2


# A deletion follows a fresh read, or is not made.


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the clock go on as it does while an instance is frozen: the process's own clock stops."""
    now = time.time()
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: now + seconds)


def test_nothing_is_deleted_because_of_an_old_read(stub: Stub, frozen: Callable[[float], None]) -> None:
    binding = {"kind": "ClusterRoleBinding", "metadata": {"name": "x", "uid": "u", "resourceVersion": "1"}}
    stub.give(sends(binding))
    clusters = Gateway(Identity())
    with deadline.within(60):
        clusters.get(stub.url, COLLECTION, "x")
        frozen(deadline.FRESH_SECONDS + 1)
        assert ended(lambda: clusters.delete(stub.url, COLLECTION, "x", {})).code is ErrorCode.STALE_READ
        assert [seen.method for seen in stub.seen] == ["GET"]
        clusters.get(stub.url, COLLECTION, "x")
        assert clusters.delete(stub.url, COLLECTION, "x", {})


def test_no_membership_is_deleted_because_of_an_old_read(stub: Stub, frozen: Callable[[float], None]) -> None:
    services = Services(settings(CLOUDSDK_API_ENDPOINT_OVERRIDES_GKEHUB=f"{stub.url}/"))
    services.credentials = Identity()
    stub.give(sends({"name": str(BLUE_MEMBER.name), "uniqueId": "u"}))
    with deadline.within(60):
        services.fleet.membership(BLUE_MEMBER.name)
        frozen(deadline.FRESH_SECONDS + 1)
        assert ended(lambda: services.fleet.delete(BLUE_MEMBER.name)).code is ErrorCode.STALE_READ
    assert [seen.method for seen in stub.seen] == ["GET"]


def test_a_step_ends_before_its_function_and_its_ack_deadline() -> None:
    text = (Path(__file__).parents[2] / "infra/terraform/functions.tf").read_text()
    timeouts = dict(re.findall(r"(\w+)\s*=\s*\{ memory = \"\w+\", timeout = (\d+)", text))
    # A dead letter is published after the step, within one more call.
    assert int(timeouts["step"]) > deadline.STEP_SECONDS + transport.ANSWER_SECONDS
    assert int(timeouts["one_at_a_time"]) > deadline.SWEEP_SECONDS + transport.ANSWER_SECONDS
