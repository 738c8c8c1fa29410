"""Another store, object storage, on both backends: what an engineer edits, and what the program derives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.full_run import only_in_full_runs
from tests.unit.edited_copy import changed_files, edited_copy, run_program

MODULE = '''
"""Object storage: MinIO, or a managed service that has S3's protocol."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

import contract.outputs as contract
from backends.base import DeployOptions
from components.stores.store import Store, StoreArgs
from settings.stores.object_storage import OBJECT_STORAGE, ObjectStorageSettings
from workloads import (
    Endpoint, ExternalEndpoint, FileSet, HttpGet, Metrics, Port, Probe, StatefulService, Volume, Workload
)

ENDPOINT = Endpoint("object-storage", 9000)
USER = "pti"


@dataclass(frozen=True, kw_only=True)
class ObjectStorageStore(Store[contract.ObjectStorageOutput]):
    """Object storage, run by the stack or managed elsewhere."""

    @property
    def secret(self) -> pulumi.Output[str]:
        """The secret key."""
        return self.args.credentials[OBJECT_STORAGE]


def deploy(args: StoreArgs, options: DeployOptions) -> ObjectStorageStore:
    """Deploy the server, unless it is external."""
    settings = args.settings.object_storage
    endpoint: Endpoint | ExternalEndpoint = ENDPOINT
    if settings.is_external:
        endpoint = ExternalEndpoint(settings.host or "", 443)
    else:
        args.backend.deploy(_server(settings, args.credentials[OBJECT_STORAGE]), options)
    host, port = args.published(endpoint, settings.port)
    return ObjectStorageStore(
        args=args,
        connects_to=(endpoint,),
        depends_on=() if settings.is_external else (ENDPOINT.workload,),
        internal=contract.ObjectStorageOutput(endpoint=str(endpoint), access_key=USER),
        published=contract.ObjectStorageOutput(endpoint=f"{host}:{port}", access_key=USER),
    )


def _server(settings: ObjectStorageSettings, password: pulumi.Output[str]) -> Workload:
    secrets = "/run/secrets/object-storage"
    return StatefulService(
        name=ENDPOINT.workload,
        image=settings.image,
        user=1000,
        environment={"MINIO_ROOT_USER": USER, "MINIO_ROOT_PASSWORD_FILE": f"{secrets}/password"},
        file_sets=(FileSet(name="admin", directory=secrets, files={"password": password}, secret=True),),
        ports=(Port(name="s3", number=ENDPOINT.port, publish=settings.port),),
        volumes=(Volume(name="object-storage-data", mount="/data", size_gib=settings.storage_gib),),
        memory_mib=512,
        readiness=Probe(check=HttpGet(port=ENDPOINT.port, path="/minio/health/ready")),
        metrics=(Metrics(port=ENDPOINT.port, job="object-storage", path="/minio/v2/metrics/cluster"),),
    )
'''

SETTINGS = '''
"""Object storage: how it is run, or where it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from settings.base import HostName, HostPort, Image
from settings.credential import Credential
from settings.stores.store import STORAGE_DESCRIPTION, StoreSettings

OBJECT_STORAGE = Credential("objectStoragePassword", "OBJECT_STORAGE_PASSWORD", "objectstorage", "object storage")


class ObjectStorageSettings(StoreSettings):
    """Object storage: attachments."""

    credentials: ClassVar = (OBJECT_STORAGE,)
    login: ClassVar = OBJECT_STORAGE

    mode: Literal["single", "external"] = Field("single", description="`single`: one server; `external`: managed.")
    image: Image = Field("minio/minio:RELEASE.2026-10-15", description="Server image.")
    port: HostPort = Field(9000, description="Host port (Docker).")
    storage_gib: int = Field(10, ge=1, description=STORAGE_DESCRIPTION)
    host: HostName | None = Field(None, examples=["s3.example.com"], description="Host name of an external server.")

    def external_hosts(self) -> Iterator[tuple[str, str | None]]:
        """Yield the host of an external server."""
        yield "host", self.host
'''

RECORD = '''
@dataclass(frozen=True, kw_only=True)
class ObjectStorageOutput(StoreOutput):
    """Connection data of the object storage."""

    endpoint: str = described("`host:port`.", variable=Variable("S3_ENDPOINT", "`host:port`"))
    access_key: str = described("Access key.", variable=Variable("S3_ACCESS_KEY", "access key"))


'''

EDITS: Mapping[str, Mapping[str, str]] = {
    "components/stores/object_storage.py": {"": MODULE.lstrip()},
    "settings/stores/object_storage.py": {"": SETTINGS.lstrip()},
    "settings/stores/__init__.py": {
        "from settings.stores.postgres import": "from settings.stores.object_storage import ObjectStorageSettings\n",
        "    @property\n    def stores(": "    object_storage: ObjectStorageSettings = "
        'Field(default_factory=ObjectStorageSettings, description="Object storage.")\n\n',
    },
    "contract/outputs.py": {
        "@dataclass(frozen=True, kw_only=True)\nclass ToolsOutput(": RECORD.lstrip(),
        "    jwt_secret: Secret": "    object_storage: Secret = described(\n"
        '        "Secret key of the object storage.",\n'
        '        variable=Variable("S3_SECRET_KEY", "every service"),\n    )\n',
        "    tools: Tools": '    object_storage: ObjectStorageOutput = described("Object storage.")\n',
    },
}
"""Maps each file to the inserted texts and the lines that they precede: one module, one settings model, one contract
record. The model also has a field in the section of all stores."""

PROGRAM = """
import json, sys
from contract import StackOutputs
from contract.environment import is_reserved
from operations import environment_file
from operations.documents.configuration import configuration_page
from operations.documents.service_contract import PAGE_PATH, with_environment
from operations.project import ROOT
from settings.credentials import supplied_credentials
from settings.load import SettingsError, parse
from settings.ports import published_ports
from tests.unit.platform_recording import CLUSTER, pulumi_config, record_platform_once
from tests.unit.conftest import deploy_platform

SOME = {"services": {"deploy": ["user"]}, "monitoring": {"enabled": True}}
EXTERNAL = {**SOME, "objectStorage": {"mode": "external", "host": "s3.example.com"}}
PASSWORD = {"objectStoragePassword": "p"}
platform, outside = record_platform_once(SOME), record_platform_once(EXTERNAL, PASSWORD)
docker, kubernetes = deploy_platform(SOME), deploy_platform({**SOME, **CLUSTER})
user = platform.workloads["user"]
read = lambda configuration: parse(pulumi_config(configuration), with_secrets=False)
def mistakes(configuration):
    try:
        read(configuration)
    except SettingsError as error:
        return str(error)
json.dump({
    "in_pool": mistakes({"objectStorage": {"mode": "external", "host": "10.192.0.5"}}),
    "docker": [str(one) for one in docker.registrations],
    "kubernetes": [str(one) for one in kubernetes.registrations],
    "deployed": {
        "environment": dict(user.environment), "depends_on": user.depends_on,
        "connects_to": [str(one) for one in user.connects_to],
        "secrets": platform.files["user/secrets"],
    },
    "outside": {
        "environment": dict(outside.workloads["user"].environment), "depends_on": outside.workloads["user"].depends_on,
        "workloads": [*outside.workloads], "secrets": outside.files["user/secrets"],
    },
    "editor": environment_file.variables("user", StackOutputs.parse(platform.outputs)),
    "scraped": platform.files["prometheus/configuration"]["prometheus.yml"],
    "outputs": platform.outputs["object_storage"],
    "ports": dict(published_ports(read(SOME))),
    "supplied": [one.key for one in supplied_credentials(read(EXTERNAL))],
    "reserved": is_reserved("S3_ENDPOINT"),
    "configuration": configuration_page(),
    "contract": with_environment((ROOT / PAGE_PATH).read_text()),
}, sys.stdout)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the additional store."""
    return edited_copy(tmp_path_factory.mktemp("project"), EDITS)


@pytest.fixture(scope="module")
def program_output(project: Path) -> dict[str, Any]:
    """What the program does with the additional store."""
    return run_program(project, PROGRAM)


def test_a_store_is_one_module_one_settings_model_and_one_contract_record(project: Path) -> None:
    assert changed_files(project) == [
        "components/stores/object_storage.py",
        "contract/outputs.py",
        "settings/stores/__init__.py",
        "settings/stores/object_storage.py",
    ]


@only_in_full_runs
def test_both_backends_deploy_the_fourth_store(program_output: dict[str, Any]) -> None:
    assert "docker:index/container:Container object-storage" in program_output["docker"]
    assert {
        "kubernetes:apps/v1:StatefulSet object-storage",
        "kubernetes:core/v1:Service object-storage",
        "kubernetes:networking.k8s.io/v1:NetworkPolicy object-storage",
    } <= {*program_output["kubernetes"]}


@only_in_full_runs
def test_a_deployed_service_connects_to_the_fourth_store(program_output: dict[str, Any]) -> None:
    deployed = program_output["deployed"]
    assert deployed["environment"]["S3_ENDPOINT"] == "object-storage:9000"
    assert deployed["environment"]["S3_SECRET_KEY_FILE"] == "/run/secrets/service/S3_SECRET_KEY"
    assert deployed["secrets"]["S3_SECRET_KEY"] == "generated"
    assert "object-storage" in deployed["depends_on"]
    assert "object-storage:9000" in deployed["connects_to"]


@only_in_full_runs
def test_a_local_service_connects_to_the_fourth_store(program_output: dict[str, Any]) -> None:
    environment = {name: value for name, value in program_output["editor"].items() if name.startswith("S3_")}
    assert environment == {"S3_ENDPOINT": "127.0.0.1:9000", "S3_ACCESS_KEY": "pti", "S3_SECRET_KEY": "generated"}


@only_in_full_runs
def test_a_managed_fourth_store_requires_its_password_and_runs_no_workload(program_output: dict[str, Any]) -> None:
    outside = program_output["outside"]
    assert "object-storage" not in outside["workloads"]
    assert "object-storage" not in outside["depends_on"]
    assert outside["environment"]["S3_ENDPOINT"] == "s3.example.com:443"
    assert outside["secrets"]["S3_SECRET_KEY"] == "p"
    assert program_output["supplied"] == ["objectStoragePassword"]


@only_in_full_runs
def test_the_network_pool_must_not_contain_an_external_fourth_store(program_output: dict[str, Any]) -> None:
    assert "which contains 10.192.0.5 of objectStorage.host" in program_output["in_pool"]


@only_in_full_runs
def test_outputs_ports_metrics_and_documents_include_the_fourth_store(program_output: dict[str, Any]) -> None:
    assert program_output["outputs"] == {"endpoint": "127.0.0.1:9000", "access_key": "pti"}
    assert program_output["ports"]["objectStorage.port"] == 9000
    assert "object-storage/object-storage/object-storage:9000" in program_output["scraped"]
    assert program_output["reserved"]
    assert "`objectStorage.storageGib`" in program_output["configuration"]
    assert "`objectStoragePassword`" in program_output["configuration"]
    assert "`S3_SECRET_KEY`" in program_output["contract"]
