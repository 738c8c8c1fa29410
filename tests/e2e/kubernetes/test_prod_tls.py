"""The platform's certificate from cert-manager: issued, served, renewed, and never stored by the stack itself.

Each test can run alone; in file order, they take the least time.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator

import pytest

from settings.catalog import API_SUBDOMAIN, FRONTENDS
from testbed.cluster import Cluster
from tests.e2e.kubernetes import cert_manager, configuration
from tests.e2e.kubernetes.stack import NAMESPACE, ClusterStack
from tests.e2e.platform import Platform
from tests.engine.waiting import until

CERTIFICATE = "pti-calendar-tls"
SMALL_CONFIGURATION = {
    "gateway": {"tls": {"source": "cert-manager", "issuer": cert_manager.ISSUER}},
    "services": {"deploy": ["user", "rdv"]},
    "monitoring": {"enabled": False},
}


@pytest.fixture(scope="module")
def authority(test_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The issuing authority's certificate, as PEM."""
    with cert_manager.installed(test_cluster, tmp_path_factory.mktemp("modules")) as certificate:
        yield certificate


@pytest.fixture(scope="module")
def platform(stack: ClusterStack, authority: str) -> Iterator[Platform]:
    """The stack as seen by users who only trust the authority; everything is removed at the end."""
    with stack.temporary_configuration():
        stack.change(SMALL_CONFIGURATION)
        try:
            stack.up().succeeded()
            yield stack.platform(certificate=authority)
        finally:
            # Remove the Certificates while their CRD is still installed.
            stack.change({"gateway": {"tls": {"source": "self-signed", "issuer": None}}})
            stack.up().succeeded()
            stack.kubectl("delete", "secret", CERTIFICATE, "--ignore-not-found")


def test_the_journey_passes_with_the_certificate_of_the_issuer(platform: Platform) -> None:
    platform.journey()


def test_the_certificate_has_every_host_name_and_is_signed_by_the_authority(
    stack: ClusterStack, platform: Platform
) -> None:
    (obtained,) = stack.objects("certificates.cert-manager.io")
    assert obtained["metadata"]["name"] == CERTIFICATE
    subdomains = {API_SUBDOMAIN, *(one.subdomain for one in FRONTENDS)}
    assert {*obtained["spec"]["dnsNames"]} == {f"{one}.{configuration.DOMAIN}" for one in subdomains}
    assert shown(platform) == fingerprint(stack)


def test_the_key_is_only_in_the_cluster(stack: ClusterStack, platform: Platform) -> None:
    assert private_key(stack).splitlines()[1] not in str(stack.export())


def test_a_renewed_certificate_is_shown_without_a_new_pod(stack: ClusterStack, platform: Platform) -> None:
    before, pods, key = shown(platform), stack.identities(), private_key(stack)
    cert_manager.renew(stack, CERTIFICATE)
    until("another certificate is issued", lambda: fingerprint(stack) != before)
    until("nginx serves it", lambda: shown(platform) == fingerprint(stack))
    assert private_key(stack) != key
    assert stack.identities() == pods
    platform.check_authentication()


def test_the_update_after_a_renewal_changes_nothing(stack: ClusterStack, platform: Platform) -> None:
    stack.preview("--expect-no-changes").succeeded()
    stack.up("--refresh").succeeded()
    stack.preview("--expect-no-changes").succeeded()


def shown(platform: Platform) -> str:
    """Return the fingerprint of the certificate that nginx serves."""
    return hashlib.sha256(platform.served_certificate()).hexdigest()


def fingerprint(stack: ClusterStack) -> str:
    """Return the fingerprint of the certificate that cert-manager stores, the first in its chain."""
    chain = cert_manager.secret(stack.cluster, NAMESPACE, CERTIFICATE)["tls.crt"]
    end = "-----END CERTIFICATE-----"
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(chain[: chain.index(end) + len(end)])).hexdigest()


def private_key(stack: ClusterStack) -> str:
    return cert_manager.secret(stack.cluster, NAMESPACE, CERTIFICATE)["tls.key"]
