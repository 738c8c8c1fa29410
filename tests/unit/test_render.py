"""The stack as a Compose file."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.configuration import read_configuration
from operations.project import ROOT, OperationError
from operations.render.compose import compose_file, compose_text_with_tokens
from operations.render.placeholders import Placeholders
from operations.render.resources import recorded_resources
from settings import Settings
from settings.catalog import FRONTENDS, SERVICES
from tests.full_run import only_in_full_runs

PRINT_RENDERED = (
    "import sys; from tests.unit.test_render import WHOLE_PLATFORM, rendered;"
    "sys.stdout.write(rendered(WHOLE_PLATFORM)[0])"
)
"""A program that prints the rendered platform."""

WELL_KNOWN = {"credentials": "well-known", "devTools": {"enabled": True}}
GENERATED: dict[str, Any] = {"kafka": {"mode": "kraft"}}
WHOLE_PLATFORM: dict[str, Any] = {
    "services": {"deploy": "all"},
    "frontends": {"deploy": "all"},
    "gateway": {"enabled": True},
}
"""The whole platform: every service, every front end, and the gateway."""


def rendered(settings: Mapping[str, Any], *supplied: str) -> tuple[str, Placeholders]:
    """Return the Compose file's text and its placeholders; results are cached per configuration."""
    return rendered_once(json.dumps(settings), supplied)


@functools.cache
def rendered_once(settings: str, supplied: tuple[str, ...]) -> tuple[str, Placeholders]:
    """Implement `rendered` for settings given as JSON."""
    return render_in_new_process(json.loads(settings), supplied)


def render_in_new_process(settings: Mapping[str, Any], supplied: Iterable[str] = ()) -> tuple[str, Placeholders]:
    """Return the Compose file's text and its placeholders from a new run of the program."""
    parsed = Settings.model_validate(settings)
    placeholders = Placeholders.of(parsed, set(supplied))
    with_tokens = compose_text_with_tokens(parsed, placeholders, "test")
    needed = placeholders.used_in(with_tokens)
    return needed.to_compose(with_tokens), needed


def load_compose(text: str) -> Any:
    """Return the file as Compose parses it, with the faster parser."""
    return yaml.load(text, yaml.CSafeLoader)


def references(text: str) -> set[str]:
    """Return the variables that Compose would substitute."""
    return set(re.findall(r"(?<!\$)(?:\$\$)*\$\{(\w+)", text))


@only_in_full_runs
def test_a_process_without_docker_and_pulumi_gives_the_same_text(tmp_path: Path) -> None:
    """`tests/e2e/test_compose_stack.py` does the same with two smaller stacks."""
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path), "PYTHONHASHSEED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PRINT_RENDERED], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == rendered(WHOLE_PLATFORM)[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("settings", [WELL_KNOWN, GENERATED, WHOLE_PLATFORM], ids=["well-known", "generated", "whole"])
def test_the_example_lists_exactly_the_variables_of_the_file(settings: dict[str, Any]) -> None:
    text, placeholders = rendered(settings)
    listed = set(re.findall(r"^(?:# )?([A-Z_]+)=", placeholders.example(), flags=re.MULTILINE))
    assert listed == references(text)
    assert "POSTGRES_PASSWORD" in listed


def test_a_generated_secret_must_come_from_the_environment() -> None:
    text, placeholders = rendered(GENERATED)
    assert placeholders.required
    assert "${REDIS_PASSWORD:?set REDIS_PASSWORD in the environment file}" in text
    assert "PLACEHOLDER" not in text


def test_a_well_known_secret_has_its_default() -> None:
    text, placeholders = rendered(WELL_KNOWN)
    assert not placeholders.required
    assert "${POSTGRES_PASSWORD:-postgres}" in text
    assert "REDIS_PASSWORD" not in text


def test_a_secret_supplied_in_the_configuration_must_come_from_the_environment() -> None:
    text, placeholders = rendered(WELL_KNOWN, "redisPassword")
    assert placeholders.required
    assert "${REDIS_PASSWORD:?" in text


def test_a_scripts_variables_are_not_substituted() -> None:
    document = load_compose(rendered(WELL_KNOWN)[0])
    script = document["configs"]["postgres-scripts-start-sh"]["content"]
    assert script.replace("$$", "$") == (ROOT / "assets/postgres/start.sh").read_text()


def test_a_dependent_starts_once_its_dependencies_are_ready_and_its_files_exist() -> None:
    services = load_compose(rendered(WELL_KNOWN)[0])["services"]
    assert services["databases"]["depends_on"] == {
        "postgres": {"condition": "service_healthy"},
        "databases-scripts": {"condition": "service_completed_successfully"},
        "databases-table": {"condition": "service_completed_successfully"},
        "databases-admin": {"condition": "service_completed_successfully"},
        "databases-roles": {"condition": "service_completed_successfully"},
    }


def test_changed_file_contents_replace_the_container() -> None:
    def labels(megabytes: int) -> Any:
        text, _ = rendered({**WELL_KNOWN, "redis": {"maxMemoryMib": megabytes}})
        return load_compose(text)["services"]["redis"]["labels"]

    assert labels(64) != labels(65)


def test_the_whole_platform_is_in_the_file() -> None:
    services = load_compose(rendered(WHOLE_PLATFORM)[0])["services"]
    applications = {one.name for one in (*SERVICES, *FRONTENDS)}
    assert services.keys() >= {*applications, "postgres", "redis", "kafka", "zookeeper", "databases", "kong", "nginx"}
    for name in {one.name for one in SERVICES}:
        assert services[name]["depends_on"].keys() >= {"databases", "redis", "kafka"}
    published = {port["published"] for name in ("kong", "nginx") for port in services[name]["ports"]}
    assert published == {"80", "443", "8000", "8443"}
    # Compose interpolates dollar signs in every text.
    zone = services["kong"]["environment"]["KONG_NGINX_HTTP_LIMIT_REQ_ZONE"]
    assert zone.startswith("$$binary_remote_addr ")


def test_a_self_signed_certificate_comes_from_the_environment() -> None:
    text, placeholders = rendered(WHOLE_PLATFORM)
    contents = {name: one["content"] for name, one in load_compose(text)["configs"].items()}
    for server in ("kong", "nginx"):
        assert contents[f"{server}-certificate-tls-crt"].startswith("${TLS_CERTIFICATE:?")
        assert contents[f"{server}-certificate-tls-key"].startswith("${TLS_PRIVATE_KEY:?")
    assert "TLS_CERTIFICATE=\n" in placeholders.example()


@pytest.mark.parametrize(("allowed", "read_only"), [(False, True), (True, None)])
def test_a_shared_volume_is_mounted_read_only_unless_writable(allowed: bool, read_only: bool | None) -> None:
    offsite = {"enabled": True, "repository": "volume", "allowFetch": allowed}
    text, placeholders = rendered({**GENERATED, "backups": {"enabled": True, "offsite": offsite}})
    services = load_compose(text)["services"]
    [own] = [one for one in services["backup"]["volumes"] if one["target"] == "/var/lib/postgresql"]
    [shared] = [one for one in services["offsite"]["volumes"] if one["target"] == "/var/lib/postgresql"]
    assert shared == own | ({} if read_only is None else {"read_only": read_only})
    assert services["offsite"]["depends_on"]["backup"]
    assert "OFFSITE_PASSWORD" in str(placeholders)


def test_docker_compose_accepts_the_whole_platform_and_fills_it_from_the_environment_file(tmp_path: Path) -> None:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "compose", "version"], capture_output=True).returncode
    ):
        pytest.skip("Docker Compose is missing")
    text, placeholders = rendered(WHOLE_PLATFORM)
    pem = "-----BEGIN CERTIFICATE-----\nMIIB+/==\n-----END CERTIFICATE-----\n"
    filled = re.sub(r"^(TLS_[A-Z_]+)=$", rf"\1='{pem}'", placeholders.example(), flags=re.MULTILINE)
    filled = re.sub(r"^([A-Z_]+)=$", r"\1=value-of-\1", filled, flags=re.MULTILINE)
    (tmp_path / "compose.yaml").write_text(text)
    (tmp_path / ".env").write_text(filled)
    arguments = ["docker", "compose", "-f", str(tmp_path / "compose.yaml"), "config", "--format", "json"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    contents = {name: one["content"] for name, one in json.loads(done.stdout)["configs"].items()}
    assert contents["nginx-certificate-tls-crt"] == pem
    assert contents["payment-secrets-stripe_secret_key"] == "value-of-STRIPE_SECRET_KEY"


def test_a_field_without_a_translation_is_an_error() -> None:
    parsed = Settings.model_validate(WELL_KNOWN)
    resources = recorded_resources(parsed, Placeholders.of(parsed, set()), "test")
    container = next(one for one in resources if one.type.endswith(":Container"))
    changed = replace(container, name="odd", inputs={**container.inputs, "gpus": "all"})
    with pytest.raises(OperationError, match="container 'odd': the field 'gpus' has no translation"):
        compose_file([changed], name="test")


def test_an_unknown_stack_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(OperationError, match=r"There is no Pulumi\.nowhere\.yaml; existing stacks: .*dev"):
        read_configuration("nowhere")
