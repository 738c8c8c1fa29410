"""The generated files and their sources."""

from __future__ import annotations

import json
from pathlib import Path

from operations.dashboards import dashboard_files
from operations.documents.configuration import configuration_page, stack_file_schema
from operations.documents.diagram import with_diagrams
from operations.documents.outputs import outputs_page
from operations.documents.reliability import PAGE_PATH as RELIABILITY
from operations.documents.reliability import with_failures
from operations.documents.service_contract import PAGE_PATH as SERVICE_CONTRACT
from operations.documents.service_contract import with_environment
from operations.project import ROOT

ARCHITECTURE = Path("docs/architecture.md")


def generated() -> dict[Path, str]:
    """Return each generated file's path in the project and its text."""
    return {
        Path("settings/stack.schema.json"): json.dumps(stack_file_schema(), indent=2) + "\n",
        Path("docs/configuration.md"): configuration_page(),
        Path("docs/outputs.md"): outputs_page(),
        ARCHITECTURE: with_diagrams((ROOT / ARCHITECTURE).read_text()),
        SERVICE_CONTRACT: with_environment((ROOT / SERVICE_CONTRACT).read_text()),
        RELIABILITY: with_failures((ROOT / RELIABILITY).read_text()),
        **dashboard_files(),
    }


def write_documents() -> None:
    """Write every generated document that isn't up to date, and print its name."""
    for path, text in generated().items():
        target = ROOT / path
        if not target.exists() or target.read_text() != text:
            target.write_text(text)
            print(f"{path} is written")
