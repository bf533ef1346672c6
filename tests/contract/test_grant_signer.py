"""The proof of a grant: an ID token that Google signed for one identity and one grant, and nothing else."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from google.auth import jwt

from local.google.iam.tokens import Tokens, certificates_app
from local.listener import Listener
from shared.clients.grant_signer import GrantSigner
from shared.decisions.rbac import grant_audience
from shared.values.codes import ErrorCode
from shared.values.errors import ReconcileError
from shared.values.target import target_of
from tests.contract.background import BackgroundLoop
from tests.unit.given import BLUE, BLUE_MEMBER, EDGE, SETTINGS, settings
from tests.unit.stub import sends, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("without_collection")

ACCOUNT = "grant-rbac@demo-fleet.iam.gserviceaccount.com"
TOKENS = Tokens()
AUDIENCE = grant_audience(target_of(BLUE, BLUE_MEMBER), SETTINGS)


@pytest.fixture(scope="module")
def certificates() -> Iterator[str]:
    with BackgroundLoop() as loop:
        listener = Listener(certificates_app(TOKENS))
        loop.run(listener.start())
        yield f"{listener.url}/"
        loop.run(listener.stop())


@pytest.fixture
def signer(certificates: str) -> GrantSigner:
    return GrantSigner(SETTINGS.function_account("grant-rbac"), certificates)


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def changed(token: str, index: int, **fields: Any) -> str:
    """The token with other fields in its header (0) or claims (1), and the signature that it had."""
    parts = token.split(".")
    padded = parts[index] + "=" * (-len(parts[index]) % 4)
    parts[index] = encoded({**json.loads(base64.urlsafe_b64decode(padded)), **fields})
    return ".".join(parts)


def test_proof_of_this_grant_holds_and_says_when(signer: GrantSigner) -> None:
    signed = signer.verify_grant(TOKENS.new_identity_token(ACCOUNT, AUDIENCE), AUDIENCE)
    assert signed is not None
    assert abs(datetime.now(UTC) - signed) < timedelta(minutes=5)


GOOD = TOKENS.new_identity_token(ACCOUNT, AUDIENCE)
FORGED = {
    "nothing": "",
    "what older versions sent": SETTINGS.grant,
    "no token": "a.b.c",
    "no text": "\ud800.\x00.x",
    "a list for a header": ".".join([encoded([]), *GOOD.split(".")[1:]]),
    "a number for a key": changed(GOOD, 0, kid=7),
    "deep JSON": ".".join([base64.urlsafe_b64encode(b"[" * 4000).decode(), *GOOD.split(".")[1:]]),
    "a very long token": GOOD + "A" * 100_000,
    "no signature": changed(GOOD, 0, alg="none").rpartition(".")[0] + ".",
    "another signature": GOOD.rpartition(".")[0] + "." + TOKENS.new_identity_token(ACCOUNT, "x").rpartition(".")[2],
    "a key that Google does not have": changed(GOOD, 0, kid="0" * 40),
    "a later end": changed(GOOD, 1, exp=9_999_999_999),
    "another audience": TOKENS.new_identity_token(ACCOUNT, "https://service.example"),
    "another identity": TOKENS.new_identity_token("write-secret@demo-fleet.iam.gserviceaccount.com", AUDIENCE),
    "the same name in another project": TOKENS.new_identity_token("grant-rbac@evil.iam.gserviceaccount.com", AUDIENCE),
    "an end that is past": TOKENS.new_identity_token(ACCOUNT, AUDIENCE, -120),
}


@pytest.mark.parametrize("kind", FORGED)
def test_forged_or_expired_proof_proves_nothing(signer: GrantSigner, kind: str) -> None:
    assert signer.verify_grant(FORGED[kind], AUDIENCE) is None
    assert signer.verify_grant(GOOD, AUDIENCE) is not None


@pytest.mark.parametrize(
    "claim", [{"iss": "https://evil.example"}, {"email_verified": False}, {"email_verified": "true"}]
)
def test_signed_token_with_another_issuer_or_unverified_e_mail(signer: GrantSigner, claim: dict[str, Any]) -> None:
    token = jwt.encode(TOKENS._signer, {**jwt.decode(GOOD, verify=False), **claim}).decode()
    assert signer.verify_grant(token, AUDIENCE) is None


OTHERS = {
    "another cluster": (replace(BLUE, name=replace(BLUE.name, cluster="green")), BLUE_MEMBER, SETTINGS),
    "a re-created cluster": (replace(BLUE, id="b" * 64), BLUE_MEMBER, SETTINGS),
    "another membership": (BLUE, replace(BLUE_MEMBER, name=EDGE.name), SETTINGS),
    "a membership that was registered again": (BLUE, replace(BLUE_MEMBER, unique_id="later"), SETTINGS),
    "an attached cluster": (None, BLUE_MEMBER, SETTINGS),
    "another role": (BLUE, BLUE_MEMBER, settings(ARGOCD_CLUSTER_ROLE="view")),
    "another Argo CD": (BLUE, BLUE_MEMBER, settings(ARGOCD_SERVICE_ACCOUNT="other@demo-fleet.iam.gserviceaccount.com")),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_proof_holds_for_one_grant_of_one_generation(signer: GrantSigner, kind: str) -> None:
    cluster, membership, under = OTHERS[kind]
    assert signer.verify_grant(GOOD, grant_audience(target_of(cluster, membership), under)) is None


def test_certificates_are_read_once() -> None:
    with serving() as stub:
        stub.give(sends({"key": "-----BEGIN CERTIFICATE-----"}))
        signer = GrantSigner(ACCOUNT, stub.url)
        for _ in range(3):
            assert signer.verify_grant(GOOD, AUDIENCE) is None
        assert [seen.path for seen in stub.seen] == ["/oauth2/v1/certs"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (sends({}), ErrorCode.UNUSABLE_ANSWER),
        (sends(b"<html>"), ErrorCode.UNUSABLE_ANSWER),
        (sends({"key": 1}), ErrorCode.UNUSABLE_ANSWER),
        (sends({"error": {"code": 503, "status": "UNAVAILABLE"}}, 503), ErrorCode.UNAVAILABLE),
    ],
)
def test_unread_certificates_are_retryable_and_prove_nothing(answer: Any, code: ErrorCode) -> None:
    with serving() as stub:
        stub.give(answer)
        with pytest.raises(ReconcileError) as caught:
            GrantSigner(ACCOUNT, stub.url).verify_grant(GOOD, AUDIENCE)
        assert caught.value.code is code


def test_account_is_named_in_the_project_of_the_topics() -> None:
    assert (
        settings(PUBSUB_PROJECT="my-run-1").function_account("grant-rbac")
        == "grant-rbac@my-run-1.iam.gserviceaccount.com"
    )
    old = settings(PUBSUB_PROJECT="example.com:apps-one")
    assert old.function_account("grant-rbac") == "grant-rbac@apps-one.example.com.iam.gserviceaccount.com"
