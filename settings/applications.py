"""The application teams' images: the services and the front ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, create_model, model_validator

from contract.environment import is_reserved, reserved_names
from settings.base import (
    IMAGE_REFERENCE_PATTERN,
    REMOVE_COMMAND,
    Conflict,
    Image,
    Section,
    SettingsConflict,
    is_mutable_tag,
    selection,
    selection_schema,
    set_command,
)
from settings.catalog import FRONTENDS, SERVICES, FrontendSpec, ServiceSpec
from settings.scalars import Text

SERVICE_NAMES = [service.name for service in SERVICES]
FRONTEND_NAMES = [frontend.name for frontend in FRONTENDS]

VARIABLE_NAME_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

ServiceNames = Annotated[
    tuple[str, ...], BeforeValidator(selection(SERVICE_NAMES)), WithJsonSchema(selection_schema(SERVICE_NAMES))
]
FrontendNames = Annotated[
    tuple[str, ...], BeforeValidator(selection(FRONTEND_NAMES)), WithJsonSchema(selection_schema(FRONTEND_NAMES))
]


def _check_image_template(value: str) -> str:
    """Validate an image reference that contains `{name}` for the application's name."""
    match = IMAGE_REFERENCE_PATTERN.fullmatch(value.replace("{name}", "name"))
    if not match or is_mutable_tag(match):
        raise ValueError("an image reference with an exact tag; '{name}' in it stands for the application's name")
    return value


def _refuse_reserved_variable(value: str) -> str:
    """Refuse a variable that the platform sets itself."""
    if not VARIABLE_NAME_PATTERN.fullmatch(value) or is_reserved(value):
        raise ValueError(
            "variable names of letters, digits and '_' that the platform doesn't set itself "
            f"({', '.join(re.sub('_$', '_…', name) for name in reserved_names())}), each with text"
        )
    return value


VariableName = Annotated[str, AfterValidator(_refuse_reserved_variable)]

ImageTemplate = Annotated[str, AfterValidator(_check_image_template)]


class ScalingSettings(Section):
    """Autoscaling: the number of replicas follows the load."""

    min_replicas: int = Field(2, ge=1, le=1000, description="Minimum number of replicas.")
    max_replicas: int = Field(6, ge=1, le=1000, description="Maximum number of replicas.")
    cpu_percent: int = Field(70, ge=10, le=100, description="Target CPU use, in percent of `cpuRequest`.")

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.min_replicas > self.max_replicas:
            problem = f"is lower than minReplicas ({self.min_replicas})"
            raise SettingsConflict({"maxReplicas": Conflict(problem, set_command(f"{self.min_replicas} (or more)"))})
        return self


def _refuse_replicas_with_scaling(section: ApplicationsSettings | AppOverrides) -> None:
    """Refuse a fixed number of replicas together with `scaling`, because it would have no effect."""
    if {"replicas", "scaling"} <= section.model_fields_set and None not in (section.replicas, section.scaling):
        problem = "has no effect together with 'scaling', which sets the number of replicas"
        raise SettingsConflict({"replicas": Conflict(problem, f"remove one of them: {REMOVE_COMMAND}")})


class AppOverrides(Section):
    """Settings of one application, which override the common ones."""

    image: Image | None = Field(
        None,
        examples=["ghcr.io/pti-calendar/rdv-service:1.4.2"],
        description="Image, with an exact tag or a digest. Default: the common setting.",
    )
    replicas: int | None = Field(None, ge=1, le=1000, description="Number of replicas. Default: the common setting.")
    memory_mib: int | None = Field(None, ge=16, description="Memory limit in MiB. Default: the common setting.")
    cpu_request: float | None = Field(
        None, gt=0, le=64, description="CPU request in cores. Default: the common setting."
    )
    scaling: ScalingSettings | None = Field(
        None, description="Autoscaling instead of `replicas`. Default: the common setting."
    )

    @model_validator(mode="after")
    def _check_replicas(self) -> Self:
        _refuse_replicas_with_scaling(self)
        return self


INTERNAL_PATHS = ("health", "metrics")
"""First segments of the paths that a service only serves inside the platform."""


def _refuse_internal_path(path: str) -> str:
    if re.split(r"[./]", path.lower().lstrip("/."))[0] in INTERNAL_PATHS:
        raise ValueError(f"a path other than /{' and /'.join(INTERNAL_PATHS)}, which the gateway never publishes")
    return path


PublicPath = Annotated[
    str, Field(pattern=r"^(/\.?[A-Za-z0-9_-][A-Za-z0-9_.-]*)+/?$"), AfterValidator(_refuse_internal_path)
]


class ServiceOverrides(AppOverrides):
    """Settings of one service, which override the common ones."""

    database_pool_max: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Maximum number of database connections of each replica. Default: the common setting.",
    )
    public_paths: tuple[PublicPath, ...] = Field(
        (),
        strict=False,
        examples=[["/auth/login"]],
        description="Paths that need no token at the gateway, including everything below them.",
    )


class ApplicationsSettings(Section):
    """Common settings of the applications of a kind, which one application can override."""

    replicas: int = Field(1, ge=1, le=1000, description="Number of replicas of each application.")
    memory_mib: int = Field(192, ge=16, description="Memory limit of each application in MiB.")
    cpu_request: float = Field(0.05, gt=0, le=64, description="CPU request of each application, in cores.")
    scaling: ScalingSettings | None = Field(None, description="Autoscaling instead of `replicas`. Default: none.")

    @model_validator(mode="after")
    def _check_replicas(self) -> Self:
        _refuse_replicas_with_scaling(self)
        return self


def _overrides_model(kind: str, names: Iterable[str], model: type[AppOverrides]) -> type[Section]:
    """Return a section model with one key per application of the catalog."""
    fields: dict[str, Any] = {
        name.replace("-", "_"): (model, Field(default_factory=model, description=f"Overrides for {name}."))
        for name in names
    }
    return create_model(f"OverridesBy{kind}", __base__=Section, __doc__=f"Overrides for one {kind.lower()}.", **fields)


OverridesByService = _overrides_model("Service", SERVICE_NAMES, ServiceOverrides)
OverridesByFrontend = _overrides_model("Frontend", FRONTEND_NAMES, AppOverrides)


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """Resolved settings of one application, with all defaults applied."""

    image: str
    replicas: int
    memory_mib: int
    cpu_request: float
    scaling: ScalingSettings | None


class ServicesSettings(ApplicationsSettings):
    """The services of the catalog."""

    deploy: ServiceNames = Field((), description="Services that the stack runs: a list of names, or `all`.")
    local: ServiceNames = Field(
        (),
        description="Services of `deploy` that run on the developer's machine instead, from an editor; the gateway "
        "routes to them. Docker only.",
    )
    image: ImageTemplate = Field(
        "pti-calendar/{name}-service:1.0.0",
        examples=["ghcr.io/pti-calendar/{name}-service:1.4.2"],
        description="Image of each service; `{name}` stands for its name.",
    )
    migration_command: tuple[Text, ...] = Field(
        (),
        strict=False,
        examples=[["npm", "run", "migrate"]],
        description="Command in the image that migrates the service's database. It runs as the migrator role and "
        "completes before a new image starts. Default: the update runs no migrations.",
    )
    database_pool_max: int = Field(
        5,
        ge=1,
        le=1000,
        description="Maximum number of database connections of each replica. The sum over all replicas of all services "
        "must fit into `postgres.maxConnections`.",
    )
    environment: Mapping[VariableName, Text] = Field(
        {},
        examples=[{"LOG_LEVEL": "debug"}],
        description="Additional environment variables for every service. Not for secrets.",
    )
    overrides: OverridesByService = Field(default_factory=OverridesByService, description="Overrides for one service.")  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if stray := [name for name in self.local if name not in self.deploy]:
            problem = f"contains services that services.deploy doesn't contain: {', '.join(stray)}"
            fix = "add them to pti-calendar:services.deploy, or remove them here"
            raise SettingsConflict({"local": Conflict(problem, fix)})
        return self

    @property
    def deployed(self) -> tuple[ServiceSpec, ...]:
        """Return the services that run in the stack."""
        return tuple(one for one in SERVICES if one.name in self.deploy and one.name not in self.local)

    @property
    def enabled(self) -> tuple[ServiceSpec, ...]:
        """Return the services that the gateway routes to, in the stack or on the developer's machine."""
        return tuple(one for one in SERVICES if one.name in self.deploy)

    def resolve(self, service: ServiceSpec) -> AppConfig:
        """Return the resolved settings of one service."""
        return _resolve_overrides(self, self.image, service.name, self.overrides_for(service))

    def pool_max_for(self, service: ServiceSpec) -> int:
        """Return the maximum number of database connections of each replica of one service."""
        own = self.overrides_for(service).database_pool_max
        return self.database_pool_max if own is None else own

    def overrides_for(self, service: ServiceSpec) -> ServiceOverrides:
        """Return the overrides of one service."""
        found: ServiceOverrides = getattr(self.overrides, service.name)
        return found


class FrontendsSettings(ApplicationsSettings):
    """The front ends of the catalog."""

    deploy: FrontendNames = Field((), description="Front ends that the stack runs: a list of names, or `all`.")
    memory_mib: int = Field(64, ge=16, description="Memory limit of each application in MiB.")
    image: ImageTemplate = Field(
        "pti-calendar/{name}:1.0.0",
        examples=["ghcr.io/pti-calendar/{name}:1.4.2"],
        description="Image of each front end; `{name}` stands for its name.",
    )
    overrides: OverridesByFrontend = Field(  # type: ignore[valid-type]
        default_factory=OverridesByFrontend, description="Overrides for one front end."
    )

    @property
    def deployed(self) -> tuple[FrontendSpec, ...]:
        """Return the front ends that run in the stack."""
        return tuple(one for one in FRONTENDS if one.name in self.deploy)

    def resolve(self, frontend: FrontendSpec) -> AppConfig:
        """Return the resolved settings of one front end."""
        return _resolve_overrides(
            self, self.image, frontend.name, getattr(self.overrides, frontend.name.replace("-", "_"))
        )


def _resolve_overrides(defaults: ApplicationsSettings, image: str, name: str, overrides: AppOverrides) -> AppConfig:
    def chosen(key: str) -> Any:
        value = getattr(overrides, key)
        return getattr(defaults, key) if value is None else value

    return AppConfig(
        image=overrides.image or image.replace("{name}", name),
        replicas=chosen("replicas"),
        memory_mib=chosen("memory_mib"),
        cpu_request=chosen("cpu_request"),
        # An application's own number of replicas overrides the common scaling.
        scaling=overrides.scaling or (defaults.scaling if overrides.replicas is None else None),
    )
