"""The environment file with which a service runs from an editor against the stack."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from components.microservice import JWT_ALGORITHM, JWT_ISSUER
from contract import StackOutputs
from operations.project import ROOT, OperationError
from settings.catalog import SERVICES
from settings.credentials import third_party


def write(service: str, outputs: StackOutputs[str]) -> Path:
    """Write `.env.<service>` with mode 0600. Return its path.

    Raises:
        OperationError: there is no such service.
    """
    path = ROOT / f".env.{service}"
    text = "".join(f"{name}={_quoted(value)}\n" for name, value in variables(service, outputs).items())
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(
            f"# The {service} service from an editor, against the running stack. Holds secrets; git ignores it.\n"
        )
        file.write(text)
    fresh.rename(path)
    return path


def variables(service: str, outputs: StackOutputs[str]) -> dict[str, str]:
    """Return the environment variables of the service."""
    known = {one.name: one for one in SERVICES}
    if service not in known:
        raise OperationError(f"There is no service '{service}'; the services are {', '.join(known)}.")
    postgres, redis, kafka, secrets = outputs.postgres, outputs.redis, outputs.kafka, outputs.credentials
    database = postgres.databases[service]
    password, migrator = secrets.postgres[database.app_role], secrets.postgres[database.migrator_role]
    server = f"{postgres.host}:{postgres.port}/{database.name}"
    server += "" if postgres.ssl_mode == "disable" else f"?sslmode={postgres.ssl_mode}"
    own_secrets = [third_party(secret).variable for secret in known[service].secrets]
    login = f":{quote(secrets.redis, safe='')}@" if secrets.redis else ""
    return {
        "SERVICE_NAME": service,
        "PORT": str(known[service].port),
        "DATABASE_HOST": postgres.host,
        "DATABASE_PORT": str(postgres.port),
        "DATABASE_NAME": database.name,
        "DATABASE_USER": database.app_role,
        "DATABASE_SSLMODE": postgres.ssl_mode,
        "DATABASE_POOL_MAX": str(database.pool_max),
        "DATABASE_PASSWORD": password,
        "DATABASE_URL": f"postgresql://{database.app_role}:{quote(password, safe='')}@{server}",
        "MIGRATION_DATABASE_URL": f"postgresql://{database.migrator_role}:{quote(migrator, safe='')}@{server}",
        "REDIS_HOST": redis.host,
        "REDIS_PORT": str(redis.port),
        "REDIS_TLS": str(redis.tls).lower(),
        "REDIS_PASSWORD": secrets.redis or "",
        "REDIS_URL": f"{'rediss' if redis.tls else 'redis'}://{login}{redis.host}:{redis.port}",
        "KAFKA_BROKERS": kafka.bootstrap_servers,
        "KAFKA_SECURITY_PROTOCOL": kafka.security_protocol,
        **({"KAFKA_USERNAME": kafka.username, "KAFKA_PASSWORD": secrets.kafka or ""} if kafka.username else {}),
        "JWT_ISSUER": JWT_ISSUER,
        "JWT_ALGORITHM": JWT_ALGORITHM,
        "JWT_SECRET": secrets.jwt_secret,
        **{name: secrets.third_parties[name] for name in own_secrets if name in secrets.third_parties},
    }


def _quoted(value: str) -> str:
    """Quote a value so that both shells and dotenv libraries read it literally."""
    if value.isascii() and all(character.isalnum() or character in "-._:/@%+," for character in value):
        return value
    if "'" not in value:
        return f"'{value}'"
    if any(character in value for character in '"$`\\'):
        raise OperationError(
            "A password contains both ' and one of \" $ ` \\, which parsers of environment files read differently. "
            "Set a password without these characters."
        )
    return f'"{value}"'
