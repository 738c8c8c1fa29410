"""A service's environment: the one definition of its variables, their values and their meaning.

The deployed service, `make env`, the names that a stack can't set itself and the tables of docs/service-contract.md are
derived from it. A store's variables are declared with the fields of its record (`contract/outputs.py`).
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Generic
from urllib.parse import quote

from contract.outputs import POOL_MAX, CredentialsOutput, PostgresOutput, Secret, StackOutputs, StoreOutput
from contract.record import Record, Variable, described


@dataclass(frozen=True, kw_only=True)
class Identity(Record):
    """Name and port of a service."""

    name: str = described("Short name.", variable=Variable("SERVICE_NAME", "the service's short name"))
    port: int = described("TCP port.", variable=Variable("PORT", "the TCP port that it listens on"))


@dataclass(frozen=True, kw_only=True)
class Tokens(Record):
    """How services verify tokens."""

    issuer: str = described("Issuer.", variable=Variable("JWT_ISSUER", "`pti-calendar`"))
    algorithm: str = described("Signature.", variable=Variable("JWT_ALGORITHM", "`HS256`"))


TOKENS = Tokens(issuer="pti-calendar", algorithm="HS256")

LOG_LEVEL = Variable("LOG_LEVEL", "`debug`, `info`, `warning`, `error`")
"""The only variable that a stack can set itself (`services.environment`)."""


@dataclass(frozen=True, kw_only=True)
class Environment(Generic[Secret]):
    """The variables and secrets of one service."""

    variables: Mapping[str, str]
    secrets: Mapping[str, Secret]
    """Deployed, each is a file that `<NAME>_FILE` names; in an editor, a variable."""


def service_environment(
    identity: Identity,
    stores: Mapping[str, StoreOutput],
    credentials: CredentialsOutput[Secret],
    third_parties: Iterable[str],
) -> Environment[Secret]:
    """Return the environment of a service.

    Args:
        stores: the stores by their names, with addresses that the service can reach.
        third_parties: the variables of the providers that it uses; those without a value are left out.
    """
    records = (identity, *stores.values(), TOKENS)
    variables = dict(pair for record in records for pair in _values(record, identity.name))
    secrets = dict(_secrets(credentials, stores, identity.name))
    secrets |= {name: credentials.third_parties[name] for name in third_parties if name in credentials.third_parties}
    return Environment(variables=variables, secrets=secrets)


def migration_environment(
    identity: Identity, postgres: PostgresOutput, credentials: CredentialsOutput[Secret]
) -> Environment[Secret]:
    """Return the environment of a service's migrations: only its database, as the migrator role."""
    database = postgres.databases[identity.name]
    as_migrator = replace(postgres, databases={identity.name: replace(database, app_role=database.migrator_role)})
    variables = {**dict(_values(identity, identity.name)), **dict(_values(as_migrator, identity.name))}
    # A migration opens one connection.
    del variables[POOL_MAX.name]
    secrets = dict(_secrets(credentials, {"postgres": as_migrator}, identity.name, own_only=True))
    return Environment(variables=variables, secrets=secrets)


def tool_urls(service: str, outputs: StackOutputs[str]) -> dict[str, str]:
    """Return the additional variables of `make env`: URLs with passwords for command-line tools."""
    postgres, redis, secrets = outputs.postgres, outputs.redis, outputs.credentials
    database = postgres.databases[service]
    server = f"{postgres.host}:{postgres.port}/{database.name}"
    server += "" if postgres.ssl_mode == "disable" else f"?sslmode={postgres.ssl_mode}"

    def url(role: str) -> str:
        return f"postgresql://{role}:{quote(secrets.postgres[role], safe='')}@{server}"

    login = f":{quote(secrets.redis, safe='')}@" if secrets.redis else ""
    return {
        "DATABASE_URL": url(database.app_role),
        "MIGRATION_DATABASE_URL": url(database.migrator_role),
        "REDIS_URL": f"{'rediss' if redis.tls else 'redis'}://{login}{redis.host}:{redis.port}",
    }


def plain_variables() -> tuple[Variable, ...]:
    """Return the variables whose values aren't secret."""
    stores = [hint for hint in typing.get_type_hints(StackOutputs).values() if _is_record(hint, StoreOutput)]
    platform, *others = (tuple(_declared(record)) for record in (Identity, *stores, Tokens))
    return (*platform, LOG_LEVEL, *(variable for declared in others for variable in declared))


def secret_variables() -> tuple[Variable, ...]:
    """Return the secrets that every service gets, if the stack has them."""
    return tuple(_declared(CredentialsOutput))


def reserved_names() -> tuple[str, ...]:
    """Return the names that a stack can't set: first whole names, then prefixes, which end in `_`."""
    prefixes = tuple(dict.fromkeys(f"{one.name.partition('_')[0]}_" for one in secret_variables()))
    names = [one.name for one in plain_variables() if one is not LOG_LEVEL]
    return (*(name for name in names if not name.startswith(prefixes)), *prefixes)


def is_reserved(name: str) -> bool:
    """Return whether the platform sets variables with this name."""
    return any(name.startswith(one) if one.endswith("_") else name == one for one in reserved_names())


def _values(record: Record, service: str) -> Iterator[tuple[str, str]]:
    """Yield the variables of a record; for a mapping of records, only those of the service's own record."""
    for part in fields(record):
        value, variable = getattr(record, part.name), part.metadata["variable"]
        if isinstance(value, Mapping) and isinstance(value.get(service), Record):
            yield from _values(value[service], service)
        elif variable is not None and value is not None:
            yield variable.name, str(value).lower() if isinstance(value, bool) else str(value)


def _secrets(
    credentials: CredentialsOutput[Secret], stores: Mapping[str, StoreOutput], service: str, *, own_only: bool = False
) -> Iterator[tuple[str, Secret]]:
    """Yield the secrets of a service, or only those that no other service has."""
    for part in fields(credentials):
        value, variable = getattr(credentials, part.name), part.metadata["variable"]
        if variable is not None and value is not None and (variable.key is not None or not own_only):
            yield variable.name, value if variable.key is None else value[variable.key(stores[part.name], service)]


def _declared(record: type[Record]) -> Iterator[Variable]:
    hints = typing.get_type_hints(record)
    for part in fields(record):
        if part.metadata["variable"] is not None:
            yield part.metadata["variable"]
        for nested in typing.get_args(hints[part.name]):
            if _is_record(nested, Record):
                yield from _declared(nested)


def _is_record(hint: Any, kind: type[Record]) -> bool:
    return isinstance(hint, type) and issubclass(hint, kind)
