"""The neutral model: what a container needs, independent of the backend."""

from workloads.checks import RECOVERY_S, Check, Exec, HttpGet, Liveness, Probe, TcpConnect
from workloads.connections import INTERNET, Endpoint, ExternalEndpoint, Health, Metrics, Port
from workloads.disk import FileSet, FixedSetting, Scratch, SharedVolume, Volume
from workloads.exposure import CertificateRequest, EdgeEntry, Exposure, Route, SharedGateway, TlsKeyPair
from workloads.model import (
    Autoscaling,
    LoadBalancer,
    LongRunning,
    ScheduledTask,
    Service,
    StatefulService,
    Task,
    Workload,
    WorkloadError,
)
from workloads.postgres_cluster import METRICS_PORT, PostgresCluster

__all__ = [
    "INTERNET",
    "METRICS_PORT",
    "RECOVERY_S",
    "Autoscaling",
    "CertificateRequest",
    "Check",
    "EdgeEntry",
    "Endpoint",
    "Exec",
    "Exposure",
    "ExternalEndpoint",
    "FileSet",
    "FixedSetting",
    "Health",
    "HttpGet",
    "Liveness",
    "LoadBalancer",
    "LongRunning",
    "Metrics",
    "Port",
    "PostgresCluster",
    "Probe",
    "Route",
    "ScheduledTask",
    "Scratch",
    "Service",
    "SharedGateway",
    "SharedVolume",
    "StatefulService",
    "Task",
    "TcpConnect",
    "TlsKeyPair",
    "Volume",
    "Workload",
    "WorkloadError",
]
