"""Everything is lost but the off-site repository and its password: another server gets the rows back."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.artifacts.backup_scripts import Backups, backups_of
from tests.artifacts.offsite_repositories import Offsite, needs_restic, offsite_in
from tests.artifacts.postgres_server import Installation, give_to_unprivileged_user, running_server
from tests.artifacts.versions import on_the_newest_server
from tests.full_run import only_in_full_runs

pytestmark = [only_in_full_runs, needs_restic, on_the_newest_server]

DATABASE = "pti_rdv"


def test_another_server_restores_a_fetched_copy(installation: Installation, tmp_path: Path) -> None:
    repository = str(tmp_path / "repository")
    with running_server(installation) as server, backups_of(server, DATABASE) as lost:
        with lost.task.connect(DATABASE, f"{DATABASE}_migrator") as migrator:
            migrator.execute("CREATE TABLE kept (tenant_id uuid NOT NULL, mark text)")
        add(lost, "kept")
        name = lost.back_up()
        copied = offsite_of(lost, tmp_path / "lost", repository).run("copy")
        assert (copied.status, copied.errors) == (0, "")
        add(lost, "after the copy")

    with running_server(installation) as server, backups_of(server, DATABASE) as new:
        offsite = offsite_of(new, tmp_path / "new", repository)
        assert offsite.copies() == [name]
        fetched = offsite.run("fetch", name)
        assert (fetched.status, fetched.errors) == (0, "")
        # In the container, both tasks have the same user.
        for path in new.directory.parent.rglob("*"):
            give_to_unprivileged_user(path)
        assert new.run("backups.sh", "verify", name).status == 0
        restored = new.restore(name)
        assert restored.status == 0, restored
        assert marks(new) == ["kept"]
        # The stack goes on: its own backup follows the fetched one into the same repository.
        following = new.back_up()
        assert offsite.run("copy").status == 0
        assert offsite.copies() == [name, following]


def offsite_of(backups: Backups, home: Path, repository: str) -> Offsite:
    """Return the script for a server's backups, with the repository that both share."""
    home.mkdir()
    made = offsite_in(home)
    shutil.rmtree(made.backups)
    made.environment |= {
        "RESTIC_REPOSITORY": repository,
        "BACKUP_DIR": str(backups.directory),
        "OFFSITE_ERASED_FILE": str(backups.directory.parent / "erased-tenants"),
    }
    return made


def add(backups: Backups, mark: str) -> None:
    """Insert a row."""
    with backups.server.connect(DATABASE) as admin:
        admin.execute("INSERT INTO kept VALUES (gen_random_uuid(), %s)", [mark])


def marks(backups: Backups) -> list[str]:
    """Return the rows."""
    with backups.server.connect(DATABASE) as admin:
        return [str(mark) for (mark,) in admin.execute("SELECT mark FROM kept ORDER BY 1").fetchall()]
