"""The neutral model: what a container needs, said once, for every backend."""

from workloads.model import (
    Check,
    Exec,
    FileSet,
    HttpGet,
    Kind,
    Port,
    Probe,
    Scratch,
    TcpConnect,
    Volume,
    Workload,
    WorkloadError,
)

__all__ = [
    "Check",
    "Exec",
    "FileSet",
    "HttpGet",
    "Kind",
    "Port",
    "Probe",
    "Scratch",
    "TcpConnect",
    "Volume",
    "Workload",
    "WorkloadError",
]
