"""A small stand-in for Grafana: it reads the provisioning files, returns them after a login, and queries the data
source.

It supports the paths, variables and files that the platform uses with Grafana, and refuses files that it can't parse;
it has no user interface.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

VERSION = "13.1.0-stand-in"
PROXY = "/api/datasources/proxy/uid/"
TIMEOUT_S = 30


class Grafana:
    """The provisioned objects, and the only account."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        provisioning = Path(environment.get("GF_PATHS_PROVISIONING", "/etc/grafana/provisioning"))
        self.password = setting(environment, "GF_SECURITY_ADMIN_PASSWORD", "admin")
        self.sources = {one["uid"]: one for one in provisioned(provisioning / "datasources", "datasources")}
        self.dashboards: dict[str, dict[str, Any]] = {}
        for provider in provisioned(provisioning / "dashboards", "providers"):
            for path in sorted(Path(provider["options"]["path"]).glob("*.json")):
                dashboard = json.loads(path.read_text())
                if dashboard["uid"] in self.dashboards:
                    raise ValueError(f"{path}: the uid {dashboard['uid']!r} is taken")
                self.dashboards[dashboard["uid"]] = dashboard

    def knows(self, authorization: str) -> bool:
        """Return whether a basic authentication header contains the account."""
        kind, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return False
        return kind == "Basic" and hmac.compare_digest(given, f"admin:{self.password}".encode())


def setting(environment: Mapping[str, str], name: str, default: str) -> str:
    """Return a setting from the file that `<name>__FILE` names or from the variable itself."""
    file = environment.get(f"{name}__FILE")
    return Path(file).read_text().strip() if file else environment.get(name, default)


def provisioned(folder: Path, key: str) -> list[dict[str, Any]]:
    """Return the entries under `key` in each YAML file of a folder."""
    documents = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))]
    return [entry for document in documents for entry in document[key]]


class Page(BaseHTTPRequestHandler):
    """Handles one request."""

    grafana: Grafana

    def do_GET(self) -> None:
        """Answer every known path."""
        path = urlsplit(self.path).path
        if path == "/api/health":
            self._json(200, {"database": "ok", "version": VERSION})
        elif path == "/metrics":
            self._answer(200, f'grafana_build_info{{version="{VERSION}"}} 1\n'.encode(), "text/plain; version=0.0.4")
        elif not self.grafana.knows(self.headers.get("Authorization", "")):
            self._json(401, {"message": "Invalid username or password"})
        elif path == "/api/search":
            self._json(200, [{"uid": uid, "title": one["title"]} for uid, one in self.grafana.dashboards.items()])
        elif path == "/api/datasources":
            self._json(200, [*self.grafana.sources.values()])
        elif path.startswith("/api/dashboards/uid/"):
            self._dashboard(path.rpartition("/")[2])
        elif path.startswith(PROXY):
            self._proxied()
        else:
            self._json(404, {"message": "Not found"})

    def _dashboard(self, uid: str) -> None:
        found = self.grafana.dashboards.get(uid)
        if found is None:
            self._json(404, {"message": "Dashboard not found"})
        else:
            self._json(200, {"dashboard": found, "meta": {"provisioned": True}})

    def _proxied(self) -> None:
        requested = urlsplit(self.path)
        uid, _, rest = requested.path.removeprefix(PROXY).partition("/")
        source = self.grafana.sources.get(uid)
        if source is None:
            self._json(404, {"message": "Data source not found"})
            return
        url = f"{source['url'].rstrip('/')}/{rest}?{requested.query}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - an address of the provisioning
                self._answer(answer.status, answer.read(), answer.headers["Content-Type"])
        except urllib.error.HTTPError as refused:
            self._answer(refused.code, refused.read(), refused.headers["Content-Type"])
        except OSError as error:
            self._json(502, {"message": str(error)})

    def _json(self, status: int, value: object) -> None:
        self._answer(status, json.dumps(value).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Don't log requests."""


def main() -> int:
    """Serve until stopped."""
    try:
        Page.grafana = Grafana(os.environ)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        print(f"what is provisioned can't be read: {error!r}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ.get("GF_SERVER_HTTP_PORT", "3000"))
    print(f"grafana (stand-in) answers on {port} with {len(Page.grafana.dashboards)} dashboards", flush=True)
    ThreadingHTTPServer(("", port), Page).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
