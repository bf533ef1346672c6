"""A running cloud's files for people: certificates, the file to source, and logs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from local import environment
from local.config import SETTINGS
from local.names import PERSON
from local.reserved_port import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from local.certificates import Authority

# Variables that change whom gcloud and the client libraries call, or as whom.
OTHERS = (
    "CLOUDSDK_ACTIVE_CONFIG_NAME",
    "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE",
    "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE",
    "CLOUDSDK_AUTH_DISABLE_CREDENTIALS",
    "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT",
    "CLOUDSDK_BILLING_QUOTA_PROJECT",
    "CLOUDSDK_COMPUTE_REGION",
    "CLOUDSDK_COMPUTE_ZONE",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_CLOUD_QUOTA_PROJECT",
)


def write_certificates(directory: Path, authority: Authority) -> None:
    """Write the authority, and the certificate and key of our own https servers."""
    (directory / "ca.pem").write_bytes(authority.pem)
    environment.write_bundle(directory / "ca-bundle.pem", authority.pem)
    certificate, key_ = authority.issue(HOST, "localhost")
    (directory / "server.pem").write_bytes(certificate)
    private = directory / "server-key.pem"
    private.touch(mode=0o600)
    private.write_bytes(key_)


def set_logs_aside(directory: Path) -> None:
    """Move the logs of the run before to `log.previous`; those of earlier runs are deleted."""
    logs, previous = directory / "log", directory / "log.previous"
    if logs.is_dir():
        shutil.rmtree(previous, ignore_errors=True)
        logs.rename(previous)


def write_env(
    file: Path, settings: Mapping[str, str], overrides: Mapping[str, str], *, project: str, token: str, metadata: str
) -> None:
    """Write the file to source: the functions' settings, gcloud's endpoints (`overrides`) and token, certificates.

    `metadata` is the address of the person's metadata server.
    """
    directory = file.parent
    bundle = str(directory / "ca-bundle.pem")
    environment.write_env(
        file,
        {
            **{name: value for name, value in settings.items() if value},
            "CLOUDSDK_CONFIG": str(directory / "gcloud"),
            "CLOUDSDK_CORE_PROJECT": project,
            "CLOUDSDK_CORE_ACCOUNT": PERSON,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "0",
            "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": bundle,
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
            "CLOUDSDK_AUTH_ACCESS_TOKEN": token,
            **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": url for api, url in overrides.items()},
            "USE_GKE_GCLOUD_AUTH_PLUGIN": "True",
            "KUBECONFIG": str(directory / "kubeconfig"),
            "GCE_METADATA_HOST": metadata,
            "GCE_METADATA_IP": metadata,
            "SSL_CERT_FILE": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
            "NO_PROXY": f"{HOST},localhost",
            "no_proxy": f"{HOST},localhost",
            "LOCAL_CLOUD": str(directory),
        },
        others=(*SETTINGS, *OTHERS),
    )
