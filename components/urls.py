"""Public URLs of the platform."""

from __future__ import annotations

from dataclasses import dataclass

from settings.catalog import API_SUBDOMAIN, FRONTENDS, FrontendSpec
from settings.edge import EdgeSettings
from settings.gateway import GatewaySettings


@dataclass(frozen=True)
class Urls:
    """The URL of every host name of the gateway, without a path."""

    gateway: GatewaySettings
    edge: EdgeSettings

    @property
    def api(self) -> str:
        """Return the URL of the API."""
        return self._url(API_SUBDOMAIN)

    @property
    def frontends(self) -> list[str]:
        """Return the URL of every front end."""
        return [self.frontend(one) for one in FRONTENDS]

    def frontend(self, frontend: FrontendSpec) -> str:
        """Return the URL of one front end."""
        return self._url(frontend.subdomain)

    def _url(self, subdomain: str) -> str:
        own_port = self.edge.kind == "nginx" and self.edge.nginx.https_port != 443
        return f"https://{self.gateway.host(subdomain)}{f':{self.edge.nginx.https_port}' if own_port else ''}"
