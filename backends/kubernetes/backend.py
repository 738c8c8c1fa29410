"""Workloads on a Kubernetes cluster, through the Kubernetes provider.

Per workload: a service account, a network policy, its files as ConfigMaps and Secrets, its Services, its claims, the
controller of its pods, its autoscaler and its disruption budget. Pods reach each other by the workloads' names; only
declared connections are allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pulumi

from backends.base import Addressing, DeployOptions
from backends.data_records import DataRecords, volume_settings
from backends.deployment_graph import DeploymentGraph
from backends.kubernetes import (
    controllers,
    exposure,
    kubectl,
    kubelets,
    labels,
    namespace_reader,
    network_policy,
    postgres_cluster,
    scaling,
)
from backends.kubernetes.certificate import certificate
from backends.kubernetes.claims import claims, fixed_storage_class, sizes_gib
from backends.kubernetes.client import ClusterUnreachable, unreachable_reason
from backends.kubernetes.files import files, tls_secret
from backends.kubernetes.manifest import Manifest, manifest, merged
from backends.kubernetes.pod import NATIVE_SLEEP_FROM, PodContext, pod_template
from backends.kubernetes.prerequisites import Prerequisites
from backends.kubernetes.registrar import KubernetesObject, ManifestRegistrar
from backends.kubernetes.rollout import Rollouts
from backends.kubernetes.rollout_wait import AwaitedController
from backends.kubernetes.services import PODS_SUFFIX, services
from backends.refusals import refuse_unsupported
from settings import Settings
from settings.backend import ImagesSettings, KubernetesSettings
from settings.base import for_stack
from workloads import (
    METRICS_PORT,
    CertificateRequest,
    Endpoint,
    Exposure,
    PostgresCluster,
    ScheduledTask,
    Service,
    SharedGateway,
    TlsKeyPair,
    Workload,
)

NO_KUBECTL_WARNING = (
    "kubectl isn't on PATH. An update needs it to wait for rollouts and to check who owns existing objects. "
    "This preview doesn't check that."
)


@dataclass(frozen=True)
class DataClaims:
    """A workload's claims, and the records that its controller waits for."""

    claims: list[KubernetesObject] = field(default_factory=list)
    records: list[pulumi.Stash] = field(default_factory=list)


def create(settings: Settings, stack: str) -> KubernetesBackend:
    """Return the backend of a stack's settings."""
    return KubernetesBackend(settings.kubernetes, settings.images, stack=stack, protect=settings.protect)


class KubernetesBackend:
    """Runs workloads in one namespace of a cluster.

    Args:
        settings: the cluster, the namespace and its storage.
        images: the mirrors that images are pulled from.
        stack: its name is a label of every object.
        protect: whether the namespace and the claims are protected from deletion. They outlive the stack either way.
    """

    kind = "kubernetes"

    def __init__(self, settings: KubernetesSettings, images: ImagesSettings, *, stack: str, protect: bool) -> None:
        self.edge = self.certificate_issuer = self.postgres_operator = self
        self._settings = settings
        domain = f"{settings.namespace}.svc.{settings.cluster_domain}"
        self.addressing = Addressing(
            admin_bind_address="127.0.0.1",
            domain=domain,
            # The name is fully qualified. Otherwise Prometheus tries the search domains, and if a DNS server refuses
            # one of them, it continues to scrape removed pods (`lookupWithSearchPath` in its discovery/dns).
            replicas=f"{{workload}}{PODS_SUFFIX}.{domain}.",
            port_forward_template=f"kubectl port-forward --namespace {settings.namespace} service/{{host}} {{port}}",
            namespace=settings.namespace,
        )
        self._mirrors = images
        self._records = DataRecords()
        self._rollouts = Rollouts(settings)
        self._stack = stack
        self._prerequisites = Prerequisites(settings, stack)
        self._registrar = ManifestRegistrar(settings, self._records, self._prerequisites, stack=stack, protect=protect)
        self._graph = DeploymentGraph()
        self._controllers: dict[str, KubernetesObject] = {}
        self._ready: dict[str, list[pulumi.Stash]] = {}
        self._selectors: dict[str, Mapping[str, str]] = {}
        self._data_claims: dict[str, DataClaims] = {}
        self._has_acme_solver_policy = False

    def preflight(self, published: Iterable[tuple[str, int]]) -> None:
        """Check that the cluster is reachable and has what the declared objects need. See `Backend.preflight`."""
        del published  # a cluster uses no host ports
        if reason := unreachable_reason(self._settings):
            warning = f"{reason}\nThis preview shows what the program declares. It is not compared with the cluster."
        elif not kubectl.available():
            reason = f"{kubectl.NOT_INSTALLED}\nAn update needs it to wait for rollouts."
            warning = NO_KUBECTL_WARNING
        else:
            self._prerequisites.check()
            return
        if not pulumi.runtime.is_dry_run():
            raise ClusterUnreachable(f"{reason}\nNothing has been changed.")
        self._registrar.ownership.can_check = False
        pulumi.log.warn(for_stack(warning, self._stack))

    def deploy(self, workload: Workload, options: DeployOptions) -> None:
        """Declare all objects of a workload. See `Backend.deploy`."""
        refuse_unsupported(workload, self.kind)
        self._graph.add(workload)
        self._selectors[workload.name] = labels.selector(workload.name)
        before = [
            self._register(one, workload, options)
            for one in (
                self._service_account(workload),
                network_policy.workload_policy(workload, selectors=self._selectors, dns=self._settings.dns),
                *services(workload),
                *(
                    kubelets.node_metrics_rbac(workload, self._settings.namespace)
                    if workload.reads_node_metrics
                    else ()
                ),
                *(namespace_reader.namespace_reader_rbac(workload) if workload.reads_deployed_objects else ()),
            )
        ]
        self._data_claims[workload.name] = self._claims(workload, options)
        used = [self._data_claims[name] for name in (workload.name, *_owners(workload))]
        before += [claim for one in used for claim in one.claims]
        context = self._pod_context(workload, options)
        controller = self._controllers[workload.name] = self._register(
            merged(controllers.controller(workload, pod_template(workload, context)), options.overrides),
            workload,
            options,
            resource_name=workload.name,
            depends_on=[*before, *(self._controllers[needed] for needed in workload.depends_on)],
            timeouts=controllers.timeouts(workload),
            hooks=self._rollouts.controller_hooks(workload),
            recorded=[
                *(record for one in used for record in one.records),
                *(one for needed in workload.depends_on for one in self._ready[needed]),
            ],
            ignore_changes=controllers.externally_managed_fields(workload),
        )
        if not isinstance(workload, ScheduledTask):
            self._ready[workload.name] = [
                self._rollouts.record(AwaitedController.for_workload(workload), controller, options)
            ]
        if isinstance(workload, Service) and workload.autoscaling:
            self._prerequisites.require_metrics(workload.name)
            self._register(scaling.autoscaler(workload, workload.autoscaling), workload, options)
        if budget := scaling.disruption_budget(workload):
            self._register(budget, workload, options)

    def expose(self, wanted: Exposure, options: DeployOptions) -> None:
        """Declare an Ingress, or a route per host, and allow the edge to connect to the workloads. See
        `Edge.expose`."""
        who = f"exposure {wanted.name!r}"
        ports: dict[str, set[int]] = {}
        for route in wanted.routes:
            self._graph.require(who, route.to)
            ports.setdefault(route.to.workload, set()).add(route.to.port)
        routes = (
            [*exposure.http_routes(wanted, wanted.through)]
            if isinstance(wanted.through, SharedGateway)
            else [exposure.ingress(wanted, wanted.through, self._tls_secret(wanted.name, wanted.through.tls, options))]
        )
        for one in routes:
            self._registrar.register(one, owner=who, options=options, timeouts=exposure.ACCEPT_TIMEOUT)
        for workload, opened in ports.items():
            edge_policy = network_policy.edge_policy(
                wanted.name, workload, sorted(opened), callers_namespace=wanted.edge_location
            )
            self._registrar.register(edge_policy, owner=who, options=options)

    def request_certificate(self, request: CertificateRequest, options: DeployOptions) -> None:
        """Declare a Certificate of cert-manager. See `CertificateIssuer.request_certificate`."""
        if not self._has_acme_solver_policy:
            self._has_acme_solver_policy = True
            self._registrar.register(network_policy.acme_solver_policy(), owner="certificates", options=options)
        self._registrar.register(certificate(request), owner=f"certificate {request.name!r}", options=options)

    def deploy_postgres_cluster(self, cluster: PostgresCluster, options: DeployOptions) -> Endpoint:
        """Declare a Cluster of CloudNativePG. See `PostgresOperator.deploy_postgres_cluster`."""
        self._graph.add_store(cluster.name, [postgres_cluster.POSTGRES_PORT, METRICS_PORT])
        self._selectors[cluster.name] = postgres_cluster.selector(cluster.name)
        admin = self._registrar.register(
            postgres_cluster.admin_secret_manifest(cluster),
            owner=cluster.name,
            options=options,
            resource_name=f"{cluster.name}-admin",
        )
        policy = postgres_cluster.cluster_network_policy(cluster, dns=self._settings.dns)
        instances = {f"{cluster.name}-{number}": cluster.size_gib for number in range(1, cluster.instances + 1)}
        self._prerequisites.require_storage(instances, of_cluster=cluster.name)
        settings = self._records.record_settings(
            f"{cluster.name}-data-settings",
            {cluster.name: [*cluster.fixed, fixed_storage_class(self._settings.storage_class)]},
            sizes_gib={cluster.name: cluster.size_gib},
            options=options,
        )
        # The servers keep running after the stack is destroyed; without the policy, every pod in the cluster could try
        # passwords.
        policy_object = self._registrar.register(policy, owner=cluster.name, options=options, retain=True)
        self._registrar.register(postgres_cluster.instances_service(cluster), owner=cluster.name, options=options)
        registered = self._controllers[cluster.name] = self._registrar.register(
            postgres_cluster.cluster_manifest(
                cluster,
                image=self._mirrors.pulled(cluster.image, is_upstream=True),
                admin_secret=admin.object_name,
                storage_class=self._settings.storage_class,
                pull_secrets=self._settings.image_pull_secrets,
            ),
            owner=cluster.name,
            options=options,
            depends_on=[policy_object],
            retain=True,
            recorded=[settings],
            hooks=self._records.identity_hooks(),
        )
        # Deleting a Cluster deletes its claims. Therefore dependents require the Cluster that contains the data.
        identity = self._records.record_identities(
            f"{cluster.name}-cluster", {cluster.name: registered.identity}, kind="Cluster", options=options
        )
        awaited = AwaitedController(cluster.name, postgres_cluster.KIND, cluster.startup_s)
        self._ready[cluster.name] = [identity, self._rollouts.record(awaited, registered, options)]
        return Endpoint(cluster.name, postgres_cluster.POSTGRES_PORT, alias=f"{cluster.name}-rw")

    @property
    def deployed(self) -> Sequence[Workload]:
        """Return the workloads that are deployed so far. See `Backend.deployed`."""
        return tuple(self._graph.workloads)

    def _register(
        self,
        one: Manifest,
        workload: Workload,
        options: DeployOptions,
        *,
        resource_name: str | None = None,
        depends_on: Iterable[pulumi.Resource] = (),
        retain: bool = False,
        timeouts: pulumi.CustomTimeouts | None = None,
        recorded: Iterable[pulumi.Resource] = (),
        hooks: pulumi.ResourceHookBinding | None = None,
        ignore_changes: Iterable[str] = (),
    ) -> KubernetesObject:
        return self._registrar.register(
            one,
            owner=workload.name,
            options=options,
            resource_name=resource_name,
            depends_on=depends_on,
            retain=retain,
            timeouts=timeouts,
            recorded=recorded,
            hooks=hooks,
            ignore_changes=ignore_changes,
        )

    def _claims(self, workload: Workload, options: DeployOptions) -> DataClaims:
        """Register the claims between the record of their settings and the record of their identities."""
        if not workload.volumes:
            return DataClaims()
        wanted = list(claims(workload, self._settings.storage_class))
        self._prerequisites.require_storage(sizes_gib(workload))
        settings = self._records.record_settings(
            f"{workload.name}-data-settings",
            volume_settings(workload.volumes, [fixed_storage_class(self._settings.storage_class)]),
            sizes_gib={volume.name: volume.size_gib for volume in workload.volumes},
            options=options,
        )
        registered = {
            str(claim["metadata"]["name"]): self._register(
                claim,
                workload,
                options,
                retain=True,
                recorded=[settings],
                hooks=self._records.identity_hooks(on_error=[self._rollouts.claim_error_hook]),
            )
            for claim in wanted
        }
        identities = self._records.record_identities(
            f"{workload.name}-claims",
            {name: claim.identity for name, claim in registered.items()},
            kind="claim",
            options=options,
        )
        return DataClaims([*registered.values()], [settings, identities])

    def _service_account(self, workload: Workload) -> Manifest:
        """Register a separate service account without permissions."""
        account = manifest(
            "v1",
            "ServiceAccount",
            name=workload.name,
            labels=labels.labels_for(workload),
            automountServiceAccountToken=False,
        )
        if self._settings.image_pull_secrets:
            account["imagePullSecrets"] = [{"name": name} for name in self._settings.image_pull_secrets]
        return account

    def _tls_secret(self, name: str, tls: str | TlsKeyPair, options: DeployOptions) -> pulumi.Input[str]:
        """Return the name of the Secret with the exposure's certificate; register the Secret if the certificate is
        given as a pair."""
        if isinstance(tls, str):
            return tls
        return self._registrar.register(
            tls_secret(tls, labels=labels.platform_labels()),
            owner=f"exposure {name!r}",
            options=options,
            resource_name=f"{name}-tls",
        ).object_name

    def _pod_context(self, workload: Workload, options: DeployOptions) -> PodContext:
        """Register the workload's files and secret values."""
        mounted: dict[str, pulumi.Input[str]] = {}
        for one in workload.file_sets:
            if one.external_secret is not None:
                mounted[one.name] = one.external_secret
            else:
                child = f"{workload.name}-{one.name}"
                mounted[one.name] = self._register(
                    files(workload, one), workload, options, resource_name=child
                ).object_name
        has_native_sleep = self._settings.min_minor >= NATIVE_SLEEP_FROM
        image = self._mirrors.pulled(workload.image, is_upstream=workload.has_upstream_image)
        owners = {shared.owner: self._graph.owner(shared) for shared in workload.shared_volumes}
        return PodContext(image, mounted, has_native_sleep, owners)


def _owners(workload: Workload) -> Iterable[str]:
    """Return the owners of the volumes that a workload shares, each once."""
    return dict.fromkeys(shared.owner for shared in workload.shared_volumes)
