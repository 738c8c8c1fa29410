"""The stack as manifests for kubectl."""

from __future__ import annotations

import base64
import functools
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.configuration import read_configuration
from operations.project import ROOT, OperationError
from operations.render.environment import read_secrets, read_variables
from operations.render.manifests import FOLDERS, RenderedObject, manifests, write_objects
from operations.render.placeholders import TLS_PAIR, Placeholders
from operations.render.resources import recorded_resources
from operations.render.text import document, documents
from recording.recorder import Registration
from settings import Settings
from settings.catalog import FRONTENDS, SERVICES
from settings.credential import Credential
from settings.credentials import POSTGRES_MONITOR
from settings.stores.postgres import POSTGRES_ADMIN
from settings.stores.redis import REDIS
from tests.full_run import only_in_full_runs
from tests.unit.kubernetes_recording import record_workloads, scheduled
from workloads import FileSet, Volume

PRINT_PROD = "import sys; from tests.unit.test_render_manifests import prod; sys.stdout.write(prod())"

CLUSTER: Mapping[str, Any] = {
    "backend": {"kind": "kubernetes"},
    "kubernetes": {"kubeconfig": "~/.kube/config", "context": "test", "namespace": "calendar"},
    "kafka": {"mode": "kraft"},
    "services": {"deploy": "all"},
    "frontends": {"deploy": "all"},
    "gateway": {"enabled": True},
}
"""The whole platform with self-signed TLS."""


def rendered(
    settings: Mapping[str, Any] = CLUSTER, values: Mapping[Credential, str] | None = None, **sections: Any
) -> list[RenderedObject]:
    """Return the objects of a stack, with values or placeholders as its secrets."""
    parsed, placeholders, with_placeholders = recorded_once(json.dumps({**settings, **sections}))
    with_values = recorded_resources(parsed, placeholders, "test", values) if values else None
    return manifests(with_placeholders, placeholders, with_values)


@functools.cache
def recorded_once(settings: str) -> tuple[Settings, Placeholders, list[Registration]]:
    """Return the settings that are given as JSON, with the recorded resources of a stack with placeholders."""
    parsed = Settings.model_validate(json.loads(settings))
    placeholders = Placeholders.of(parsed, ())
    return parsed, placeholders, recorded_resources(parsed, placeholders, "test")


def secret_values(settings: Mapping[str, Any] = CLUSTER, **given: str) -> dict[Credential, str]:
    """Return a value for every credential; supplied credentials use the name of their variable."""
    needed = Placeholders.of(Settings.model_validate(settings), ()).by_credential
    return {one: given.get(one.variable, f"value of {one.variable}") for one in needed}


def names(objects: list[RenderedObject], kind: str) -> set[str]:
    """Return the names of all objects of a kind."""
    return {one.manifest["metadata"]["name"] for one in objects if one.manifest["kind"] == kind}


def secret(objects: list[RenderedObject], prefix: str) -> Mapping[str, Any]:
    """Return the only Secret whose name starts with a prefix."""
    (found,) = [
        one.manifest
        for one in objects
        if one.manifest["kind"] == "Secret" and one.manifest["metadata"]["name"].startswith(prefix)
    ]
    return found


def decoded(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a filled Secret."""
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


def references_in(value: Any) -> Iterator[tuple[str, str]]:
    """Return kind and name of every ConfigMap and Secret that a manifest refers to."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            if key in ("configMap", "configMapRef", "configMapKeyRef"):
                yield "ConfigMap", one["name"]
            elif key == "secretName":
                yield "Secret", one
            elif key in ("secretKeyRef", "secretRef", "superuserSecret"):
                yield "Secret", one["name"]
            else:
                yield from references_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from references_in(one)


@functools.cache
def with_tokens() -> list[RenderedObject]:
    """The objects of `CLUSTER` with placeholders as its secrets."""
    return rendered()


@functools.cache
def with_secrets() -> list[RenderedObject]:
    """The same objects with a value for every secret."""
    return rendered(values=secret_values())


SPECIAL_CHARACTERS = """a"b'c\\d $e"""


@functools.cache
def with_odd_secrets() -> list[RenderedObject]:
    """The same objects; two of the values have characters that are escaped."""
    return rendered(values=secret_values(REDIS_PASSWORD=SPECIAL_CHARACTERS, STRIPE_SECRET_KEY=SPECIAL_CHARACTERS))


def prod() -> str:
    """Return every object of production with its file."""
    settings, supplied = read_configuration("prod")
    known = Placeholders.of(settings, supplied)
    objects = manifests(recorded_resources(settings, known, "prod"), known)
    return documents([one.folder, one.workload, one.manifest] for one in objects)


@only_in_full_runs
def test_another_process_gives_the_same_text() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINT_PROD],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "1", "PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == prod()


def test_a_scheduled_task_is_rendered_after_what_it_uses() -> None:
    files = FileSet(name="keys", directory="/run/keys", files={"key": "k"})
    task = scheduled(file_sets=(files,), volumes=(Volume(name="dumps", mount="/dumps"),))
    objects = manifests(record_workloads(task).registrations, Placeholders({}))
    of_task = [one for one in objects if one.workload == "backup"]
    kinds = ["ServiceAccount", "ConfigMap", "PersistentVolumeClaim", "NetworkPolicy", "CronJob"]
    assert [one.manifest["kind"] for one in of_task] == kinds
    assert {one.folder for one in of_task} == {"infrastructure"}
    assert "annotations" not in of_task[-1].manifest["metadata"]


def test_each_layer_is_in_its_folder() -> None:
    files = {folder: {one.workload for one in with_tokens() if one.folder == folder} for folder in FOLDERS}
    services, frontends = {one.name for one in SERVICES}, {one.name for one in FRONTENDS}
    assert files["namespace"] == {"calendar"}
    assert files["infrastructure"] == {"postgres", "databases", "redis", "kafka"}
    assert files["services"] == services | frontends
    assert files["ingress"] == {"kong", "nginx"}
    assert files["secrets"] == services | {"postgres", "databases", "redis", "kong", "nginx"}


def test_the_secrets_folder_has_exactly_the_secrets() -> None:
    assert {one.manifest["kind"] for one in with_tokens() if one.folder == "secrets"} == {"Secret"}
    assert "Secret" not in {one.manifest["kind"] for one in with_tokens() if one.folder != "secrets"}


def test_the_namespace_comes_first_with_a_default_deny_policy() -> None:
    first, second = with_tokens()[:2]
    assert (first.manifest["kind"], first.manifest["metadata"]["name"]) == ("Namespace", "calendar")
    assert (second.manifest["kind"], second.manifest["metadata"]["name"]) == ("NetworkPolicy", "default-deny")
    assert first.workload == second.workload
    assert {one.manifest["metadata"].get("namespace") for one in with_tokens()[1:]} == {"calendar"}


def test_a_cluster_edge_is_in_the_ingress_folder() -> None:
    issued = {"enabled": True, "tls": {"source": "cert-manager", "issuer": "letsencrypt"}}
    kinds = {
        one.manifest["kind"] for one in rendered(gateway=issued, edge={"kind": "ingress"}) if one.folder == "ingress"
    }
    assert kinds >= {"Ingress", "Certificate", "NetworkPolicy", "Deployment"}


@pytest.mark.parametrize(
    "postgres", [{}, {"mode": "cloudnativepg"}], ids=["one PostgreSQL server", "a cluster of CloudNativePG"]
)
def test_every_reference_resolves_to_an_object(postgres: Mapping[str, Any]) -> None:
    objects = rendered(postgres=postgres)
    found = set(references_in([one.manifest for one in objects]))
    known = {(kind, name) for kind in ("ConfigMap", "Secret") for name in names(objects, kind)}
    assert found == known


def test_a_generated_name_is_the_resources_name_with_a_hash() -> None:
    (job,) = names(with_tokens(), "Job")
    assert re.fullmatch(r"databases-[0-9a-f]{8}", job)
    assert any(re.fullmatch(r"postgres-scripts-[0-9a-f]{8}", name) for name in names(with_tokens(), "ConfigMap"))


def test_only_changed_contents_change_a_name() -> None:
    changed = rendered(redis={"maxMemoryMib": 65})
    before, after = names(with_tokens(), "ConfigMap"), names(changed, "ConfigMap")
    assert {name.rpartition("-")[0] for name in before ^ after} == {"redis-configuration"}
    assert names(changed, "Job") == names(with_tokens(), "Job")


def test_no_name_depends_on_a_secret_value() -> None:
    for objects in (with_secrets(), with_odd_secrets()):
        for kind in ("Secret", "ConfigMap", "Job"):
            assert names(objects, kind) == names(with_tokens(), kind)
    assert with_odd_secrets() != with_secrets()


def test_no_annotation_for_pulumis_provider_is_written() -> None:
    text = document([one.manifest for one in (*with_tokens(), *with_secrets())])
    assert not re.search(r"pulumi\.com/|unnamed-|PLACEHOLDER", text)


def test_without_an_environment_file_secrets_are_conspicuous_placeholders() -> None:
    kept = secret(with_tokens(), "payment-secrets-")
    assert kept["stringData"]["STRIPE_SECRET_KEY"] == "REPLACE_WITH_STRIPE_SECRET_KEY"
    assert "data" not in kept
    assert secret(with_tokens(), "nginx-certificate-")["stringData"]["tls.key"] == "REPLACE_WITH_TLS_PRIVATE_KEY"


def test_a_filled_secret_is_escaped_for_each_file() -> None:
    objects = with_odd_secrets()
    assert decoded(secret(objects, "payment-secrets-"))["STRIPE_SECRET_KEY"] == SPECIAL_CHARACTERS
    kong = json.loads(decoded(secret(objects, "kong-configuration-"))["kong.json"])
    assert SPECIAL_CHARACTERS in {
        plugin["config"]["redis"]["password"] for plugin in kong["plugins"] if "redis" in plugin["config"]
    }


def test_a_secrets_value_can_change_without_a_new_name() -> None:
    assert [one.manifest for one in with_tokens() if one.folder == "secrets" and "immutable" in one.manifest] == []
    assert all(one.manifest["immutable"] for one in with_tokens() if one.manifest["kind"] == "ConfigMap")


def test_no_secret_value_is_outside_the_secrets_folder() -> None:
    assert "value of" not in document([one.manifest for one in with_secrets() if one.folder != "secrets"])


def test_files_are_rewritten_and_only_the_owner_can_read_secrets(tmp_path: Path) -> None:
    write_objects(with_tokens(), tmp_path, "test")
    (tmp_path / "services" / "gone.yaml").write_text("of an earlier configuration")
    write_objects(with_tokens(), tmp_path, "test")
    written = {(path.parent.name, path.stem) for path in tmp_path.glob("*/*")}
    assert written == {(one.folder, one.workload) for one in with_tokens()}
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "secrets").iterdir()}
    assert modes == {0o600}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


def test_a_file_holds_its_objects_as_documents(tmp_path: Path) -> None:
    write_objects(with_tokens(), tmp_path, "test")
    found = list(yaml.safe_load_all((tmp_path / "services" / "rdv.yaml").read_text()))
    assert found == [one.manifest for one in with_tokens() if (one.folder, one.workload) == ("services", "rdv")]
    assert found[-1]["kind"] == "Deployment"


def test_an_environment_file_is_read_as_compose_reads_it(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "# a comment\n\nPLAIN=a=b#c  # told\n"
        "export SINGLE='two\nlines $x \\n'\n"
        'DOUBLE="q\\"\\nr" # told\n'
        "EMPTY=\nLAST=z"
    )
    assert read_variables(file) == {
        "PLAIN": "a=b#c",
        "SINGLE": "two\nlines $x \\n",
        "DOUBLE": 'q"\nr',
        "EMPTY": "",
        "LAST": "z",
    }


def test_an_invalid_line_is_reported_without_its_text(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\nB='never ends\n")
    with pytest.raises(OperationError, match="line 2 is not NAME=value") as caught:
        read_variables(tmp_path / ".env")
    assert "never ends" not in str(caught.value)


def test_all_missing_variables_are_reported_together(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text('POSTGRES_PASSWORD=\nJWT_SECRET="two\nlines"\n')
    needed = Placeholders.of(Settings.model_validate(CLUSTER), ())
    with pytest.raises(OperationError) as caught:
        read_secrets(file, needed)
    message = str(caught.value)
    assert "JWT_SECRET is more than one line" in message
    missing = {one.variable for one in needed.by_credential} - {"JWT_SECRET"}
    assert set(re.findall(r"^  (\w+) is missing or empty", message, re.MULTILINE)) == missing


def test_an_unusable_password_is_reported_without_its_value(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("POSTGRES_MONITOR_PASSWORD='hunter 2'\n")
    with pytest.raises(OperationError, match="POSTGRES_MONITOR_PASSWORD contains a space") as caught:
        read_secrets(tmp_path / ".env", Placeholders({POSTGRES_MONITOR: None}))
    assert "hunter" not in str(caught.value)


def test_a_certificate_may_span_several_lines(tmp_path: Path) -> None:
    needed = Placeholders({POSTGRES_ADMIN: None, REDIS: None, **dict.fromkeys(TLS_PAIR)})
    (tmp_path / ".env").write_text(
        "POSTGRES_PASSWORD=a\nREDIS_PASSWORD='b c'\nTLS_CERTIFICATE='-----BEGIN\nx+/=\n-----END'\nTLS_PRIVATE_KEY=k\n"
    )
    assert read_secrets(tmp_path / ".env", needed) == {
        POSTGRES_ADMIN: "a",
        REDIS: "b c",
        TLS_PAIR[0]: "-----BEGIN\nx+/=\n-----END\n",
        TLS_PAIR[1]: "k\n",
    }
