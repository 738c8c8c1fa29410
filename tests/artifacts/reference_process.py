"""The reference service as a process, with the environment and secrets of its container."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, TypeVar

from tests.artifacts import reference_environment
from tests.ports import free_port

DEADLINE_S = 60.0
JWT_SECRET = "the tests' own signing key, 32 bytes and more"
ISSUER = "pti-calendar"

T = TypeVar("T")


@dataclass(frozen=True)
class Response:
    """One HTTP response."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""

    body: str

    @property
    def json(self) -> Any:
        """Return the body, parsed as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Service:
    """A running reference service."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def request(
        self, method: str, path: str, token: str | None = None, body: object = None, **headers: str
    ) -> Response:
        """Send one request on a new connection."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            if token is not None:
                given["Authorization"] = f"Bearer {token}"
            if body is not None:
                given["Content-Type"] = "application/json"
            connection.request(method, path, json.dumps(body) if body is not None else None, given)
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, names, response.read().decode())
        finally:
            connection.close()

    def transfer(self, method: str, path: str, token: str, content: bytes | None = None) -> tuple[int, bytes]:
        """Send one request with bytes as bodies; return the status and the response's body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, path, content, {"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def peak_memory_mib(self) -> float:
        """Return the largest resident memory since the last call."""
        (kib,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{self.process.pid}/status").read_text(), re.MULTILINE)
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return int(kib) / 1024

    def get(self, path: str, token: str | None = None) -> Response:
        """Send a GET request."""
        return self.request("GET", path, token)

    def dependencies(self) -> dict[str, str]:
        """Map each dependency to its state in the readiness response."""
        dependencies: dict[str, str] = self.get("/health").json["dependencies"]
        return dependencies

    def metrics(self) -> dict[str, float]:
        """Return every sample, by its name in the exposition format."""
        samples = re.findall(r"^([^#\s].*) (\S+)$", self.get("/metrics").body, flags=re.MULTILINE)
        return {sample: float(value) for sample, value in samples}

    def log_entries(self) -> list[dict[str, Any]]:
        """Return the service's log lines; raise if one isn't JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@dataclass
class ServiceEnvironment:
    """Environment and secrets of the service, to be changed before a start."""

    home: Path
    environment: dict[str, str]
    secrets: dict[str, str] = field(default_factory=dict)
    """Maps names to values; each is passed as a file."""

    @contextmanager
    def running(self) -> Iterator[Service]:
        """Run the service from its first response to `/health/live`; kill it at the end if it still runs."""
        port = free_port()
        log = self.home / f"{port}.log"
        with log.open("wb") as sink:
            process = self.start("reference_service", sink, PORT=str(port))
            service = Service(port, process, log)
            try:
                eventually(lambda: _is_live(service))
                yield service
            finally:
                process.kill()
                process.wait()

    def run(self, module: str, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run a module or a file with the service's Python to its end; return exit status and output."""
        process = self.start(module, subprocess.PIPE, *arguments, **environment)
        try:
            output, _ = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
        return process.returncode, output.decode()

    def start_migration(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a migration in the background."""
        return self.start("reference_service.migrate", subprocess.PIPE, **environment)

    def start(self, module: str, output: Any, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a module or a file with the service's Python."""
        folder = self.home / "secrets"
        folder.mkdir(exist_ok=True)
        files = {}
        for name, value in self.secrets.items():
            (folder / name).write_text(value)
            files[f"{name}_FILE"] = str(folder / name)
        return subprocess.Popen(
            [str(reference_environment.python()), *([] if module.endswith(".py") else ["-m"]), module, *arguments],
            env={
                "PYTHONPATH": str(reference_environment.EXAMPLES),
                "PYTHONDONTWRITEBYTECODE": "1",
                **self.environment,
                **files,
                **environment,
            },
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def eventually(condition: Callable[[], T], deadline_s: float = DEADLINE_S) -> T:
    """Return the condition's first true value; fail with its last one at the deadline."""
    deadline = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {deadline_s} s; the last value was {value!r}")
        time.sleep(0.05)
    return value


def token(tenant: str | None, *, expires_in_s: float = 300, issuer: str = ISSUER, secret: str = JWT_SECRET) -> str:
    """Return a signed token; without a tenant, it has no such claim."""
    claims: dict[str, object] = {"iss": issuer, "exp": int(time.time() + expires_in_s), "sub": "somebody"}
    if tenant is not None:
        claims["tenant_id"] = tenant
    return signed(claims, secret)


def signed(claims: Mapping[str, object], secret: str = JWT_SECRET) -> str:
    """Return a token with these claims."""
    content = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{content}.{_base64(hmac.digest(secret.encode(), content.encode(), hashlib.sha256))}"


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _is_live(service: Service) -> bool:
    if service.process.poll() is not None:
        raise RuntimeError(f"the service stopped with {service.process.returncode}: {service.log.read_text()}")
    try:
        return service.get("/health/live").status == 200
    except OSError:
        return False
