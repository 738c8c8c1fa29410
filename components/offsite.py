"""The scheduled task that copies the backups off the machine. Its container also lists the copies, and fetches one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

from backends.base import Backend, DeployOptions
from components.assets import assets
from components.credentials import Credentials
from components.monitoring.servers import OTLP_PATH, PROMETHEUS
from components.stores.postgres.backup import BACKUP_TASK, BACKUP_VOLUME, BACKUPS_DIRECTORY, ERASED_FILE, MOUNT
from components.stores.postgres.server import UID
from settings.backups import BackupsSettings
from settings.offsite import OFFSITE_ACCESS_KEY, OFFSITE_PASSWORD, OFFSITE_SECRET_KEY, OFFSITE_SSH_KEY, OffsiteSettings
from workloads import Endpoint, ExternalEndpoint, FileSet, ScheduledTask, Scratch, SharedVolume, Volume

TYPE = "pti-calendar:index:Offsite"
OFFSITE_TASK = "offsite"
SCRIPT = ("sh", "/assets/offsite.sh")
REPOSITORY_MOUNT = "/tmp"  # noqa: S108 - in the container
"""Mount point of the volume with the repository. On Docker, a new volume gets the permissions of the image's directory,
and every user can write to this one."""

SCRATCH = "/scratch"
PASSWORD_DIRECTORY, ACCESS_KEY_DIRECTORY, SSH_DIRECTORY = (
    f"/run/secrets/{name}" for name in ("offsite", "access-key", "ssh")
)
TIMEOUT_S = 12 * 3600
"""Maximum run time. In a cluster, a run of the backup may wait as long for the volume, if it is on another node."""


@dataclass(frozen=True, kw_only=True)
class OffsiteArgs:
    """Arguments of the copies."""

    backups: BackupsSettings
    backend: Backend
    credentials: Credentials
    stack: str
    """Name of the stack, which each copy records."""

    has_monitoring: bool
    """Whether the stack has Prometheus, to which the results are sent."""


class Offsite(pulumi.ComponentResource):
    """The task that copies the backups off the machine. Deployed after the backups and the monitoring stack."""

    def __init__(self, name: str, args: OffsiteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(TYPE, name, None, opts)
        args.backend.deploy(offsite(args), DeployOptions(parent=self))
        self.register_outputs({"repository": args.backups.offsite.repository})


def offsite(args: OffsiteArgs) -> ScheduledTask:
    """Return the task."""
    backups, credentials = args.backups, args.credentials
    settings, has_monitoring = backups.offsite, args.has_monitoring
    calls: list[Endpoint | ExternalEndpoint] = [PROMETHEUS] if has_monitoring else []
    if settings.server:
        calls.append(ExternalEndpoint(*settings.server, cidrs=settings.cidrs))
    return ScheduledTask(
        name=OFFSITE_TASK,
        image=settings.image,
        # The user whom the backups belong to.
        user=UID,
        command=(*SCRIPT, "copy"),
        schedule=settings.schedule,
        environment={
            "RESTIC_REPOSITORY": f"{REPOSITORY_MOUNT}/restic" if settings.server is None else str(settings.repository),
            "RESTIC_PASSWORD_FILE": f"{PASSWORD_DIRECTORY}/password",
            "TMPDIR": SCRATCH,
            "BACKUP_DIR": BACKUPS_DIRECTORY,
            "OFFSITE_ERASED_FILE": ERASED_FILE,
            "OFFSITE_STACK": args.stack,
            "OFFSITE_KEEP": _keep_options(backups),
            "OFFSITE_CHECK_PARTS": str(settings.check_runs),
            **({"OFFSITE_METRICS_URL": f"http://{PROMETHEUS}{OTLP_PATH}"} if has_monitoring else {}),
            **({"AWS_SHARED_CREDENTIALS_FILE": f"{ACCESS_KEY_DIRECTORY}/credentials"} if settings.is_s3 else {}),
            **({"AWS_DEFAULT_REGION": settings.region} if settings.region else {}),
            **({"OFFSITE_SSH_DIR": SSH_DIRECTORY} if settings.is_sftp else {}),
        },
        file_sets=(
            FileSet(name="scripts", directory="/assets", files=assets("offsite")),
            *(
                FileSet(name=directory.rpartition("/")[2], directory=directory, files=files, secret=True)
                for directory, files in _secrets(settings, credentials).items()
            ),
        ),
        scratch=(
            Scratch(path=SCRATCH, size_mib=settings.memory_mib // 3),
            # ssh requires an entry of its user in /etc/passwd, which the script writes.
            *((Scratch(path="/etc", size_mib=1),) if settings.is_sftp else ()),
        ),
        volumes=(Volume(name="offsite-repository", mount=REPOSITORY_MOUNT, size_gib=settings.storage_gib),)
        if settings.server is None
        else (),
        shared_volumes=(
            SharedVolume(owner=BACKUP_TASK, name=BACKUP_VOLUME, mount=MOUNT, writable=settings.allow_fetch),
        ),
        memory_mib=settings.memory_mib,
        connects_to=tuple(calls),
        timeout_s=TIMEOUT_S,
    )


def _keep_options(backups: BackupsSettings) -> str:
    """Return the options of `restic forget`. A copy is kept at least as long as its backup: otherwise, each run would
    copy it again."""
    settings = backups.offsite
    if settings.add_only:
        return ""
    kept = {
        "last": backups.keep_count,
        "within": f"{backups.keep_days}d",
        "daily": settings.keep_daily,
        "weekly": settings.keep_weekly,
        "monthly": settings.keep_monthly,
    }
    return " ".join(f"--keep-{rule} {number}" for rule, number in kept.items() if number)


def _secrets(settings: OffsiteSettings, credentials: Credentials) -> dict[str, Mapping[str, pulumi.Input[str]]]:
    """Return the secret files of each directory."""
    found: dict[str, Mapping[str, pulumi.Input[str]]] = {
        PASSWORD_DIRECTORY: {"password": credentials[OFFSITE_PASSWORD]}
    }
    if settings.is_s3:
        keys = pulumi.Output.format(
            "[default]\naws_access_key_id = {0}\naws_secret_access_key = {1}\n",
            credentials[OFFSITE_ACCESS_KEY],
            credentials[OFFSITE_SECRET_KEY],
        )
        found[ACCESS_KEY_DIRECTORY] = {"credentials": keys}
    if settings.is_sftp and settings.server:
        host, port = settings.server
        name = host if port == 22 else f"[{host}]:{port}"
        known = "".join(f"{name} {key}\n" for key in settings.host_keys)
        # ssh refuses a key without a line end.
        key = credentials[OFFSITE_SSH_KEY].apply(lambda text: text.rstrip("\n") + "\n")
        found[SSH_DIRECTORY] = {"key": key, "known_hosts": known}
    return found
