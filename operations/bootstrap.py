"""Set up a machine: virtual environment, requirements, Pulumi, a local state.

    python3 operations/bootstrap.py [--engine] [--pulumi] [--development]

Uses the standard library only, because nothing else is installed yet. Existing parts aren't changed, so a second run
takes no time. Missing prerequisites are reported before anything is changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from backends.docker.engine import Engine, EngineError
from operations.certificates import untrusted_hint, untrusted_hint_in
from operations.project import (
    PASSPHRASE,
    ROOT,
    STATE,
    TOOLS,
    VENV,
    OperationError,
    chosen_backend,
    chosen_passphrase,
    environment,
    is_checkout_backend,
)

MIN_PYTHON = (3, 11)
PULUMI_VERSION = "3.259.0"
INSTALLER_URL = "https://get.pulumi.com"
PACKAGE_INDEX_URL = "https://pypi.org"
CLOUD_URL = "https://api.pulumi.com"
DEV_STACK = ROOT / "Pulumi.dev.yaml"
REQUIREMENTS_FILE = ROOT / "requirements.txt"
DEVELOPMENT_REQUIREMENTS_FILE = ROOT / "requirements-dev.txt"
"""The requirements above, and those of lint, tests and documents."""

NO_PULUMI_HINT = "Without it, these still work: make test, make render STACK=dev, then docker compose up --wait."


def main() -> int:
    """Run the command line. Return 1 after one message if the machine lacks a prerequisite."""
    parser = argparse.ArgumentParser(description="Sets this machine up for the project.")
    parser.add_argument("--engine", action="store_true", help="require a running Docker engine")
    parser.add_argument("--pulumi", action="store_true", help="also install Pulumi, its plugins and a state")
    parser.add_argument("--development", action="store_true", help="also install the requirements of lint and tests")
    options = parser.parse_args()
    try:
        check_python()
        if options.engine:
            check_engine()
        command = pulumi_command() if options.pulumi else None
        if options.pulumi and command is None:
            check_installer()
        install_requirements(development=options.development)
        if options.pulumi:
            command = command or install_pulumi()
            install_plugins(command)
            select_state_backend()
    except OperationError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def check_python() -> None:
    """Check the running interpreter, which the virtual environment will use."""
    if sys.version_info < MIN_PYTHON:
        raise OperationError(
            f"Python {'.'.join(map(str, MIN_PYTHON))} or newer is required; '{sys.executable}' is "
            f"{'.'.join(map(str, sys.version_info[:3]))}.\nInstall it and select it: make PYTHON=python3.12 …"
        )


def check_engine() -> None:
    """Check that a Docker engine answers the docker command."""
    if shutil.which("docker") is None:
        raise OperationError(
            "The 'docker' command is missing. Install Docker Engine or Docker Desktop "
            "(https://docs.docker.com/get-docker/), start it, and run this again."
        )
    engine = Engine(_configured_host())
    try:
        engine.run("version", "--format", "{{.Server.Version}}")
    except EngineError as error:
        raise OperationError(
            f"The Docker engine doesn't respond:\n  {error}\n"
            "Start it (Docker Desktop, or: sudo systemctl start docker), make sure 'docker ps' works for your user, "
            "and run this again.\nThe engine is the one that the docker command uses (DOCKER_HOST, DOCKER_CONTEXT, "
            "'docker context use'), unless backend.host names another."
        ) from None


def _configured_host() -> str | None:
    """Return `backend.host` of the dev stack. Its file is read as text: no YAML parser is installed yet."""
    found = re.search(r"""^\s+host:\s*["']?((unix|tcp|ssh|npipe)://[^\s"']+)""", DEV_STACK.read_text(), re.MULTILINE)
    return found.group(1) if found else None


def check_installer() -> None:
    """Check that the installer can be downloaded, before anything is changed."""
    _read_installer(timeout_s=20)


def _read_installer(timeout_s: float) -> bytes:
    try:
        with urllib.request.urlopen(INSTALLER_URL, timeout=timeout_s) as response:
            installer: bytes = response.read()
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        raise OperationError(
            f"Pulumi {PULUMI_VERSION} is not installed and its installer is unreachable:\n  {INSTALLER_URL}: {error}"
            f"{untrusted_hint(INSTALLER_URL, error)}\n"
            "Allow that address, or install Pulumi another way (https://www.pulumi.com/docs/install/) so that "
            f"'pulumi version' works, and run this again.\n{NO_PULUMI_HINT}"
        ) from None
    return installer


def install_requirements(*, development: bool) -> None:
    """Install the pinned requirements into the virtual environment; those of development include the others."""
    if VENV.exists() and not _is_usable():
        _log_step("building .venv again: its Python was removed or upgraded")
        VENV.unlink() if VENV.is_symlink() else shutil.rmtree(VENV)
    if _is_installed(DEVELOPMENT_REQUIREMENTS_FILE) or (not development and _is_installed(REQUIREMENTS_FILE)):
        return
    requirements = DEVELOPMENT_REQUIREMENTS_FILE if development else REQUIREMENTS_FILE
    if not (VENV / "bin" / "python").exists():
        _log_step("creating the virtual environment .venv")
        created = _run([sys.executable, "-m", "venv", str(VENV)])
        if created.returncode:
            shutil.rmtree(VENV, ignore_errors=True)
            raise OperationError(
                f"The virtual environment can't be created:\n  {(created.stdout + created.stderr).strip()}\n"
                "On Debian and Ubuntu: sudo apt install python3-venv. Then run this again."
            )
    _log_step("installing the pinned requirements")
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installed = _run([*pip, "--require-hashes", "--requirement", str(requirements)])
    if installed.returncode:
        raise OperationError(
            f"The requirements can't be installed:\n  {installed.stderr.strip()[-2000:]}"
            f"{untrusted_hint_in(installed.stderr, PACKAGE_INDEX_URL)}\n"
            "A Python package index must be reachable (pip reads PIP_INDEX_URL and pip.conf). Then run this again."
        )
    _stamp_file(requirements).write_text(_digest(requirements))


def _is_usable() -> bool:
    """Return whether the virtual environment's Python runs and is the version for which its packages are installed."""
    program = "import sys; print('python%d.%d' % sys.version_info[:2])"
    try:
        # Without the module `site` (`-S`), this takes a hundredth of a second.
        done = subprocess.run([str(VENV / "bin" / "python"), "-ISc", program], capture_output=True, text=True)
    except OSError:
        return False
    return done.returncode == 0 and (VENV / "lib" / done.stdout.strip()).is_dir()


def _is_installed(requirements: Path) -> bool:
    stamp = _stamp_file(requirements)
    return stamp.exists() and stamp.read_text() == _digest(requirements)


def _stamp_file(requirements: Path) -> Path:
    """Return the path that records which content of the file was installed last."""
    return VENV / f"{requirements.stem}.sha256"


def _digest(requirements: Path) -> str:
    return hashlib.sha256(requirements.read_bytes()).hexdigest()


def pulumi_command() -> str | None:
    """Return the Pulumi command: the project's copy, or else the user's if it is recent enough."""
    command = shutil.which("pulumi", path=environment()["PATH"])
    if command is None:
        return None
    version = _run([command, "version"]).stdout.strip().removeprefix("v").partition("-")[0]
    try:
        return command if _version_numbers(version) >= _version_numbers(PULUMI_VERSION) else None
    except ValueError:
        return None


def install_pulumi() -> str:
    """Run Pulumi's installer, with a pinned version, in the project. Return the command."""
    _log_step(f"installing Pulumi {PULUMI_VERSION} into .tools")
    installer = _read_installer(timeout_s=60)
    arguments = ["--version", PULUMI_VERSION, "--install-root", str(TOOLS), "--no-edit-path"]
    done = subprocess.run(["sh", "-s", "--", *arguments], input=installer, capture_output=True)
    command = pulumi_command()
    if done.returncode or command is None:
        output = (done.stdout + done.stderr).decode().strip()
        hint = untrusted_hint_in(output, INSTALLER_URL)
        raise OperationError(f"Pulumi's installer failed:\n  {output[-2000:]}{hint}\n{NO_PULUMI_HINT}")
    return command


def install_plugins(command: str) -> None:
    """Install the provider plugins in the versions of the requirements with `pulumi install`."""
    listed = _run([command, "plugin", "ls", "--json"])
    present = {(plugin["name"], plugin.get("version")) for plugin in json.loads(listed.stdout or "[]")}
    missing = [f"{name} {version}" for name, version in _required_plugins() if (name, version) not in present]
    if not missing:
        return
    _log_step(f"installing the plugins {', '.join(missing)}")
    done = _run([command, "install", "--no-dependencies"])
    if done.returncode:
        output = (done.stdout + done.stderr).strip()
        raise OperationError(
            f"The plugins {', '.join(missing)} can't be installed:\n  {output[-2000:]}"
            f"{untrusted_hint_in(output, INSTALLER_URL)}\n"
            "Allow get.pulumi.com and github.com, or set PULUMI_PLUGIN_DOWNLOAD_URL_OVERRIDES to a mirror "
            f"(https://www.pulumi.com/docs/iac/cli/environment-variables/), and run this again.\n{NO_PULUMI_HINT}"
        )


def select_state_backend() -> None:
    """Create a local state and passphrase in this checkout, unless the user has chosen others.

    It changes nothing outside the checkout: no login, so that other projects keep theirs. An existing local state stays
    in use after a later login, which may be meant for another project.
    """
    if chosen_backend(os.environ) is not None or (not STATE.exists() and _logged_in_backend() is not None):
        return
    if not STATE.exists():
        _log_step("keeping the state in .state (you have chosen no other: see 'pulumi login --help')")
        STATE.mkdir(mode=0o700)
    if chosen_passphrase(os.environ) or PASSPHRASE.exists():
        return
    # Write a temporary file and rename it, so that a kill can't leave an empty file.
    temporary = PASSPHRASE.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))
    temporary.rename(PASSPHRASE)


def _logged_in_backend() -> str | None:
    """Return the state backend that the user is logged in to; None without a login.

    A pipeline logs in to Pulumi Cloud with a variable, without a file. Former releases logged in to the state of a
    checkout; that isn't a user's choice.
    """
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    try:
        current = json.loads((home / "credentials.json").read_text()).get("current")
    except (OSError, ValueError):
        current = None
    if current and not is_checkout_backend(str(current)):
        return str(current)
    return CLOUD_URL if os.environ.get("PULUMI_ACCESS_TOKEN") else None


def _required_plugins() -> list[tuple[str, str]]:
    """Return name and version of each provider plugin, which are those of its Python package."""
    lines = (ROOT / "requirements.in").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line.startswith("pulumi-"))
    return [(name.removeprefix("pulumi-"), version) for name, version in pairs]


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT)


def _log_step(what: str) -> None:
    print(f"· {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
