"""What a running cloud leaves for people: certificates, the file to source, and a kubeconfig that is kept up to date."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local import environment
from local.listener import HOST
from local.names import FLEET, PERSON, key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from local.certificates import Authority


def write_certificates(directory: Path, authority: Authority) -> None:
    """Write the authority, and the certificate and key of our own https servers."""
    (directory / "ca.pem").write_bytes(authority.pem)
    environment.write_bundle(directory / "ca-bundle.pem", authority.pem)
    certificate, key_ = authority.issue(HOST, "localhost")
    (directory / "server.pem").write_bytes(certificate)
    private = directory / "server-key.pem"
    private.touch(mode=0o600)
    private.write_bytes(key_)


def write_env(
    directory: Path, settings: Mapping[str, str], overrides: Mapping[str, str], *, token: str, metadata: str
) -> None:
    """Write the file to source: the functions' settings, gcloud's endpoints (`overrides`) and token, certificates.

    `metadata` is the address of the person's metadata server.
    """
    bundle = str(directory / "ca-bundle.pem")
    environment.write_env(
        directory / "env",
        {
            **{name: value for name, value in settings.items() if value},
            "CLOUDSDK_CONFIG": str(directory / "gcloud"),
            "CLOUDSDK_CORE_PROJECT": FLEET,
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
    )


@dataclass
class Kubeconfig:
    """The kubeconfig of all clusters. `clusters` returns (server, administrator's token) by full name.

    The context of the cluster `central` is always named `central`.
    """

    directory: Path
    central: str
    clusters: Callable[[], Mapping[str, tuple[str, str]]]
    _written: set[str] = field(default_factory=set)
    _due: asyncio.TimerHandle | None = None

    def write_soon(self) -> None:
        """Write it in a moment: when hundreds of clusters come at once, once is enough."""
        self.cancel()
        self._due = asyncio.get_running_loop().call_later(0.05, self.write)

    def cancel(self) -> None:
        """Write nothing more."""
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def write(self) -> None:
        """One context per cluster, by its short name; clusters of one name go by their full keys."""
        clusters = self.clusters()
        short = [name.rpartition("/")[2] for name in clusters]
        contexts = []
        for name, (server, token) in clusters.items():
            last = name.rpartition("/")[2]
            unique = name == self.central or (last != "central" and short.count(last) == 1)
            contexts.append(environment.Context(last if unique else key(name), server, token))
        self._written = environment.write_kubeconfig(
            self.directory / "kubeconfig", self.directory / "ca.pem", contexts, self._written
        )
