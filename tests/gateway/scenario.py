"""The rows' configuration, as the program renders it, for a Kong on this machine.

`python -m tests.gateway.scenario FOLDER --services PORT --proxy PORT` writes it: `kong.json` and `environment`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.gateway import kong
from tests.gateway import rows
from tests.unit.platform_recording import record_platform_once

UNUSED_PORT = 1
"""Redis' port has no listener: Redis is unavailable, and requests pass."""


@dataclass(frozen=True)
class Scenario:
    """Kong's declarative file and its variables."""

    document: dict[str, Any]
    environment: dict[str, str]
    key: str

    def write(self, folder: Path) -> dict[str, str]:
        """Write the files into a folder, and return the variables that refer to them."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "kong.json"
        file.write_text(json.dumps(self.document, indent=2))
        file.chmod(0o600)
        return {**self.environment, "KONG_DECLARATIVE_CONFIG": str(file), "KONG_PREFIX": str(folder / "prefix")}


def scenario(
    services_port: int,
    proxy_port: int,
    *,
    configuration: Mapping[str, Any] | None = None,
    admin_port: int | None = None,
    status_port: int = 0,
    redis_port: int = UNUSED_PORT,
) -> Scenario:
    """Render the configuration with every service at `services_port`."""
    platform = record_platform_once(configuration or rows.load()[0])
    files = platform.files["kong/configuration"]
    document = json.loads(files["kong.json"])
    for one in document["services"]:
        one["host"], one["port"] = "127.0.0.1", services_port
    for plugin in document["plugins"]:
        if plugin["name"] == "rate-limiting":
            plugin["config"]["redis"] |= {"host": "127.0.0.1", "port": redis_port}
    (consumer,) = document["consumers"]
    environment = {name: str(value) for name, value in platform.workloads["kong"].environment.items()}
    del environment["KONG_SSL_CERT"], environment["KONG_SSL_CERT_KEY"]
    environment |= {
        "KONG_PROXY_LISTEN": f"127.0.0.1:{proxy_port}",
        "KONG_STATUS_LISTEN": f"127.0.0.1:{status_port}" if status_port else "off",
        "KONG_ADMIN_LISTEN": f"127.0.0.1:{admin_port}" if admin_port else "off",
        "KONG_PROXY_ACCESS_LOG": "off",
    }
    if admin_port:
        environment["KONG_NGINX_ADMIN_ACCESS_BY_LUA_FILE"] = str(Path("assets/kong/admin_access.lua").resolve())
    return Scenario(document, environment, consumer["jwt_secrets"][0]["secret"])


def main() -> None:
    """Write the scenario for a Kong that the user starts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--services", type=int, required=True, help="port of `python -m tests.gateway.check --echo`")
    parser.add_argument("--proxy", type=int, default=kong.PROXY.port)
    parser.add_argument("--admin", type=int)
    options = parser.parse_args()
    made = scenario(options.services, options.proxy, admin_port=options.admin)
    environment = made.write(options.folder)
    text = "".join(f"export {name}='{value}'\n" for name, value in environment.items())
    (options.folder / "environment").write_text(text + f"export PTI_KONG_KEY='{made.key}'\n")


if __name__ == "__main__":
    main()
