"""Checks that the server's collations are those with which its indexes were built."""

from __future__ import annotations

from collections.abc import Iterator

from operations.doctor.context import Context, NotRunning
from operations.doctor.finding import CommandFailed, Finding
from operations.doctor.postgres import query

DATABASES_QUERY = """
SELECT datname, coalesce(datcollversion <> pg_database_collation_actual_version(oid), false)
FROM pg_database WHERE datallowconn ORDER BY 1
"""
"""Each database: its name, and whether the version of its default collation has changed."""

COLLATIONS_QUERY = """
SELECT DISTINCT quote_ident(nspname), quote_ident(collname) FROM pg_depend AS d
JOIN pg_collation AS c ON d.refclassid = 'pg_collation'::regclass AND d.refobjid = c.oid
JOIN pg_namespace AS n ON n.oid = c.collnamespace
WHERE c.collversion <> pg_collation_actual_version(c.oid) ORDER BY 1, 2
"""
"""Each collation of a database whose version has changed: schema and name. Without those that nothing uses, because
every server imports hundreds from its operating system."""


def changed_collations(context: Context) -> Iterator[Finding]:
    """Yield a warning if the version of a collation that is in use has changed since it was recorded.

    An index that was built with the other version may have another order: it then doesn't find rows, or accepts
    duplicates (docker-library/postgres#1356). Databases of this program use a builtin collation, which only a database
    from elsewhere, or a collation that a service names, lacks.
    """
    if context.settings.postgres.is_external:
        return
    try:
        databases = query(context, DATABASES_QUERY)
        changed = [f"the default of {name}" for name, is_changed in databases if is_changed == "t"]
        for name, _ in databases:
            changed += [
                f"{schema}.{collation} in {name}"
                for schema, collation in query(context, COLLATIONS_QUERY, database=name)
            ]
    except (NotRunning, CommandFailed):
        return  # The check of the connections reports it.
    if changed:
        yield Finding(
            "warning",
            "collations",
            f"The version of collations has changed, so that indexes may miss rows: {', '.join(changed)}.",
            "Rebuild the indexes: docs/store-upgrades.md#another-version-of-a-collation",
        )
