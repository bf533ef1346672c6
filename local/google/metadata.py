"""The metadata server: how a process on Google Cloud learns its project, and who it is.

One listener per identity, because a client takes a host and a port (`GCE_METADATA_HOST`) but no path. It has what
google-auth and the Go libraries ask (https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys); it leaves
out instance attributes, waiting for changes, and scopes: a token carries what IAM grants its identity.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from local.google.iam.state import Iam

FLAVOR = {"Metadata-Flavor": "Google"}
SCOPES = ["https://www.googleapis.com/auth/cloud-platform", "https://www.googleapis.com/auth/userinfo.email"]
RENEWED_BEFORE = 300  # the real server hands out the same token until five minutes before its end


def metadata_app(iam: Iam, email: str, project: str, number: int, *, region: str, lifetime: int = 3600) -> ASGIApp:
    """Return the metadata server of one identity. Its tokens are known to `iam` and live for `lifetime` seconds."""
    token, expires = "", 0.0

    async def project_value(request: Request) -> Response:
        values = {"project-id": project, "numeric-project-id": str(number)}
        return _text(values.get(request.path_params["key"]))

    async def instance_value(request: Request) -> Response:
        values = {
            "id": "1",
            "region": f"projects/{number}/regions/{region}",
            "zone": f"projects/{number}/zones/{region}-1",
            "service-accounts/": f"default/\n{email}/\n",
        }
        return _text(values.get(request.path_params["key"]))

    async def universe(_request: Request) -> Response:
        return _text("googleapis.com")

    async def account(request: Request) -> Response:
        nonlocal token, expires
        if request.path_params["account"] not in {"default", email}:
            return _text(None)
        match request.path_params["key"]:
            case "" if "recursive" in request.query_params:
                return JSONResponse({"aliases": ["default"], "email": email, "scopes": SCOPES}, headers=FLAVOR)
            case "":
                return _text("aliases\nemail\nidentity\nscopes\ntoken\n")
            case "aliases":
                return _text("default\n")
            case "email":
                return _text(email)
            case "scopes":
                return _text("\n".join(SCOPES) + "\n")
            case "token":
                if time.monotonic() > expires - min(RENEWED_BEFORE, lifetime / 2):
                    token, expires = iam.token_for(email), time.monotonic() + lifetime
                left = int(expires - time.monotonic())
                return JSONResponse({"access_token": token, "expires_in": left, "token_type": "Bearer"}, headers=FLAVOR)
            case "identity":
                audience = request.query_params.get("audience")
                if not audience:
                    return PlainTextResponse("non-empty audience parameter required", 400, headers=FLAVOR)
                return _text(iam.tokens.new_identity_token(email, audience, lifetime))
            case _:
                return _text(None)

    async def root(_request: Request) -> Response:
        return _text("computeMetadata/\n")

    v1 = "/computeMetadata/v1"
    app = Starlette(
        routes=[
            Route("/", root),
            Route(f"{v1}/project/{{key}}", project_value),
            Route(f"{v1}/universe/{{key:path}}", universe),
            Route(f"{v1}/instance/service-accounts/{{account}}/{{key:path}}", account),
            Route(f"{v1}/instance/{{key:path}}", instance_value),
        ]
    )

    async def flavoured(scope: Scope, receive: Receive, send: Send) -> None:
        # Without the header the real server refuses everything but its root, so that no web page can make a browser ask.
        if scope["type"] == "http" and scope["path"] != "/" and (b"metadata-flavor", b"Google") not in scope["headers"]:
            await PlainTextResponse("Missing Metadata-Flavor:Google header.", 403, headers=FLAVOR)(scope, receive, send)
            return
        await app(scope, receive, send)

    return flavoured


def _text(value: str | None) -> Response:
    if value is None:
        return PlainTextResponse("not found", 404, headers=FLAVOR)
    # google-auth compares the media type exactly; the real server says application/text.
    return Response(value, headers=FLAVOR, media_type="application/text")
