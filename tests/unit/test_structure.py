"""Architecture rules, checked on the source: allowed imports and forbidden patterns."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pulumi
import pulumi_docker
import pulumi_random
import pulumi_tls
import pytest

from capabilities import BACKENDS
from tests.unit.paths import ROOT

OWN_PACKAGES = {
    *(
        "__main__",
        "backends",
        "capabilities",
        "components",
        "contract",
        "operations",
        "recording",
        "settings",
        "testbed",
    ),
    *("tests", "workloads"),
}
PROVIDER_SDKS = {"pulumi_docker", "pulumi_kubernetes"}
VALUE_SDKS = {"pulumi_random", "pulumi_tls"}
"""Providers that only compute values, wherever the platform runs."""

ALLOWED_IMPORTS = {
    "__main__": {
        *("settings", "backends.addresses", "backends.create", "backends.preflight", "components.platform", "pulumi"),
    },
    "components": {
        *("components", "backends.base", "backends.refusals", "capabilities", "workloads", "settings", "contract"),
        *("pulumi", *VALUE_SDKS),
    },
    "backends": {"backends", "capabilities", "workloads", "settings", "pulumi"},
    "backends.docker": {"pulumi_docker"},
    "backends.kubernetes": {"pulumi_kubernetes", "yaml"},
    "capabilities": set(),
    "settings": {"settings", "capabilities", "contract", "pulumi", "pydantic", "pydantic_core", "yaml"},
    "workloads": {"workloads", "pulumi"},
    "contract": {"contract"},
    "recording": {"recording", "backends.base", "workloads", "settings", "pulumi", "google.protobuf"},
}
"""Allowed imports besides the standard library; a package may also import what its parent package may."""


@cache
def syntax_tree(file: Path) -> ast.Module:
    """Parse a module."""
    return ast.parse(file.read_text(), filename=str(file))


def sources(*packages: str) -> dict[str, ast.Module]:
    """Map module names to syntax trees, for whole packages or single modules."""
    files: list[Path] = []
    for package in packages:
        place = ROOT / package.replace(".", "/")
        files += sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    return {module_name(file): syntax_tree(file) for file in files}


def module_name(file: Path) -> str:
    """Return the name under which a file is imported."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(tree: ast.Module) -> Iterator[str]:
    """Return the full names of a module's imports, anywhere in the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an import is absolute"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def is_within(name: str, package: str) -> bool:
    """Return whether a full name is the package or something in it."""
    return name == package or name.startswith(f"{package}.")


def allowed_imports(module: str) -> set[str]:
    """Return what a module may import."""
    return {name for package, names in ALLOWED_IMPORTS.items() if is_within(module, package) for name in names}


def product_modules() -> dict[str, ast.Module]:
    """Return all modules of the program."""
    return sources(
        "__main__", "components", "backends", "capabilities", "settings", "workloads", "contract", "recording"
    )


def repository_modules() -> dict[str, ast.Module]:
    """Return all of the project's modules except tests."""
    folders = [place for place in OWN_PACKAGES - {"testbed", "tests", "__main__"} if (ROOT / place).is_dir()]
    return sources("__main__", *sorted(folders))


PRODUCT = product_modules()
REPOSITORY = repository_modules()
"""The modules are parsed before any test runs: on Python 3.11, a finalizer that runs during `ast.parse` can make it
fail with "AST constructor recursion depth mismatch" (python/cpython#106905)."""


def test_imports_point_one_way() -> None:
    foreign = [
        (module, name)
        for module, tree in PRODUCT.items()
        for name in imports(tree)
        if name.partition(".")[0] not in sys.stdlib_module_names
    ]
    assert [
        (module, name)
        for module, name in foreign
        if not any(is_within(name, package) for package in allowed_imports(module))
    ] == []


def test_the_import_rule_covers_every_package() -> None:
    assert {module.partition(".")[0] for module in PRODUCT} == ALLOWED_IMPORTS.keys() - {
        "backends.docker",
        "backends.kubernetes",
    }
    assert "components.platform.Platform" in set(imports(PRODUCT["__main__"]))
    assert "backends.docker.container.Mount" in set(imports(PRODUCT["backends.docker.backend"]))


def imported_modules(modules: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Map each module to the project's modules that it imports."""

    def module_of(name: str) -> str:
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name

    return {module: {*map(module_of, imports(tree))} - {"", module} for module, tree in modules.items()}


def test_no_modules_import_each_other() -> None:
    assert [*TopologicalSorter(imported_modules(REPOSITORY)).static_order()] != []


def test_modules_that_import_each_other_would_be_found() -> None:
    modules = {"a": ast.parse("from b import B"), "b": ast.parse("def f():\n    import a")}
    with pytest.raises(CycleError):
        [*TopologicalSorter(imported_modules(modules)).static_order()]


def test_the_settings_model_has_fields_and_no_rules() -> None:
    models = [one for one in PRODUCT["settings.models"].body if isinstance(one, ast.ClassDef)]
    assert [model.name for model in models] == ["HostingSettings", "Settings"]
    assert [one.name for model in models for one in model.body if isinstance(one, ast.FunctionDef)] == []


def test_a_provider_is_only_imported_by_its_backend() -> None:
    importers = {
        (name.partition(".")[0], module)
        for module, tree in REPOSITORY.items()
        for name in imports(tree)
        if name.partition(".")[0] in PROVIDER_SDKS
    }
    assert {sdk for sdk, _ in importers} == PROVIDER_SDKS
    strays = [
        (sdk, module) for sdk, module in importers if not is_within(module, f"backends.{sdk.removeprefix('pulumi_')}")
    ]
    assert strays == []


def test_program_and_operations_import_no_tests_and_no_test_bed() -> None:
    needed = {name.partition(".")[0] for tree in REPOSITORY.values() for name in imports(tree)}
    assert needed & {"testbed", "tests", "matplotlib", "numpy", "PIL", "pytest"} == set()


def backend_comparisons(tree: ast.Module) -> list[int]:
    """Return the lines that compare a value with a backend's name or a collection of such names, or look it up in a
    dictionary of their own."""
    sides: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides += [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            sides.append(node.value)
        elif isinstance(node, ast.Dict):
            sides += [key for key in node.keys if key]
        elif isinstance(node, ast.Subscript):
            sides.append(node.slice)
    texts = [
        one for side in sides for one in (side.elts if isinstance(side, ast.Tuple | ast.List | ast.Set) else [side])
    ]
    return [one.lineno for one in texts if isinstance(one, ast.Constant) and one.value in BACKENDS]


def test_no_module_compares_the_backend_kind() -> None:
    found = {module: backend_comparisons(tree) for module, tree in REPOSITORY.items() if module != "capabilities"}
    assert {module: lines for module, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "offence",
    [
        "if settings.backend.kind == 'kubernetes': pass",
        "watch = kind not in ('docker', 'podman')",
        "match kind:\n    case 'docker': pass",
        "writers = {'docker': compose, 'kubernetes': manifests}",
        "row = BACKENDS['kubernetes']",
    ],
)
def test_a_module_that_compares_the_backend_kind_would_be_found(offence: str) -> None:
    assert backend_comparisons(ast.parse(offence)) != []


def modules_that_read(section: str) -> set[str]:
    """Return the modules that read a section of the settings."""
    return {
        module
        for module, tree in REPOSITORY.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == section
    }


def test_only_a_backends_own_modules_read_its_section() -> None:
    for row in BACKENDS.values():
        if row.section is not None:
            assert modules_that_read(row.section) == {row.module, row.runtime, row.renderer}


def test_the_contract_only_imports_the_standard_library() -> None:
    found = {name.partition(".")[0] for tree in sources("contract").values() for name in imports(tree)}
    assert found - sys.stdlib_module_names == {"contract"}


def stack_name_reads(tree: ast.Module) -> list[int]:
    """Return the lines that read the stack's name from Pulumi or compare it with a text."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name | ast.alias) and named(node) == "get_stack":
            lines.append(getattr(node, "lineno", 0))
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(named(side).strip("_").endswith(("stack", "stack_name")) for side in sides) and any(
                map(is_text, sides)
            ):
                lines.append(node.lineno)
        elif isinstance(node, ast.Match) and named(node.subject).strip("_").endswith("stack"):
            lines.append(node.lineno)
        elif isinstance(node, ast.Call) and named(node.func) in {"startswith", "endswith"}:
            assert isinstance(node.func, ast.Attribute)
            if named(node.func.value).strip("_").endswith("stack"):
                lines.append(node.lineno)
    return lines


def named(node: ast.AST) -> str:
    """Return the last part of a dotted name, or an empty text for other expressions."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    return node.name if isinstance(node, ast.alias) else ""


def is_text(node: ast.AST) -> bool:
    """Return whether an expression is a text or a collection of texts."""
    return any(isinstance(one, ast.Constant) and isinstance(one.value, str) for one in ast.walk(node))


def test_no_module_compares_the_stack_name() -> None:
    found = {module: stack_name_reads(tree) for module, tree in PRODUCT.items() if module != "__main__"}
    assert {module: lines for module, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "offence",
    [
        "import pulumi\nstack = pulumi.get_stack()",
        "from pulumi import get_stack",
        "if stack == 'prod': pass",
        "if self._stack in ('dev', 'test'): pass",
        "if 'prod' != args.stack: pass",
        "match stack:\n    case 'prod': pass",
        "if stack.startswith('prod'): pass",
    ],
)
def test_a_module_that_compares_the_stack_name_would_be_found(offence: str) -> None:
    assert stack_name_reads(ast.parse(offence)) != []


def test_the_entry_point_reads_the_stack_name_once() -> None:
    assert len(stack_name_reads(PRODUCT["__main__"])) == 1


RESOURCES = {
    name
    for sdk in (pulumi, pulumi_docker, pulumi_random, pulumi_tls)
    for name, one in vars(sdk).items()
    if inspect.isclass(one) and issubclass(one, pulumi.Resource)
} | {
    *("Platform", "Credentials", "DataLayer", "DevTools", "Microservice", "Frontend", "Gateway", "Monitoring"),
    *("deploy", "expose", "request_certificate", "deploy_postgres_cluster"),
}
"""Classes whose call registers a resource, and the backend methods that do so."""


def resources_in_apply(tree: ast.Module) -> list[str]:
    """Return what functions passed to `apply` create, directly or through a function of the same module."""
    functions: dict[str, list[ast.AST]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.setdefault(node.name, []).append(node)
    created: list[str] = []
    seen: set[str] = set()

    def inspect_body(body: ast.AST) -> None:
        for node in ast.walk(body):
            if isinstance(node, ast.Call):
                called = named(node.func)
                if called in RESOURCES:
                    created.append(called)
                inspect_function(called)

    def inspect_function(name: str) -> None:
        if name not in seen:
            seen.add(name)
            for function in functions.get(name, ()):
                inspect_body(function)

    for call in apply_calls(tree):
        for given in [*call.args, *(keyword.value for keyword in call.keywords)]:
            inspect_body(given)
            inspect_function(named(given))
    return created


def apply_calls(tree: ast.Module) -> list[ast.Call]:
    """Return the calls of `apply`."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and named(node.func) == "apply"]


def test_nothing_is_created_inside_apply() -> None:
    found = {module: resources_in_apply(tree) for module, tree in PRODUCT.items()}
    assert {module: created for module, created in found.items() if created} == {}


def test_the_program_does_use_apply() -> None:
    assert sum(len(apply_calls(tree)) for tree in PRODUCT.values()) >= 3


@pytest.mark.parametrize(
    "offence",
    [
        "password.apply(lambda value: docker.Volume('v', name=value))",
        "password.apply(lambda value: backend.deploy(value, parent=self))",
        "def make(value):\n    return random.RandomPassword(value)\npassword.apply(make)",
        "def make(value):\n    return Credentials(value)\npassword.apply(lambda value: make(value))",
        "class A:\n    def make(self, value):\n        pulumi.ComponentResource('t', value)\n"
        "    def b(self):\n        x.apply(func=self.make)",
    ],
)
def test_a_resource_created_inside_apply_would_be_found(offence: str) -> None:
    assert len(resources_in_apply(ast.parse(offence))) == 1


@dataclass(frozen=True)
class Component:
    """A class that groups resources, and the module that defines it."""

    definition: ast.ClassDef
    module: ast.Module


COMPONENTS = {
    node.name: Component(node, tree)
    for tree in PRODUCT.values()
    for node in tree.body
    if isinstance(node, ast.ClassDef) and any(named(base) == "ComponentResource" for base in node.bases)
}


def output_registrations(within: ast.AST) -> list[ast.AST]:
    """Return the calls of `register_outputs`."""
    return [node for node in ast.walk(within) if isinstance(node, ast.Call) and named(node.func) == "register_outputs"]


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_registers_its_outputs_once_and_last(name: str) -> None:
    definition = COMPONENTS[name].definition
    made = next(node for node in definition.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    last = made.body[-1]
    assert isinstance(last, ast.Expr)
    assert output_registrations(definition) == [last.value]
    assert isinstance(last.value, ast.Call)
    assert ast.unparse(last.value.args[0]) != "{}", "the console would show an empty component"


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_has_its_type_token_as_a_constant(name: str) -> None:
    assert f'TYPE = "pti-calendar:index:{name}"' in ast.unparse(COMPONENTS[name].module).replace("'", '"').splitlines()


def test_every_component_is_found() -> None:
    assert COMPONENTS.keys() == {
        *("Platform", "DataLayer", "DevTools", "Credentials", "Microservice", "Frontend", "Gateway", "Monitoring"),
        "Offsite",
    }


BACKEND_TERMS = "docker|kubernetes|kubectl|kubelet|cluster|namespace|ingress|deployment|statefulset|configmap|cronjob"
PRODUCTS = "postgres|redis|kafka|zookeeper|kong|nginx|prometheus|grafana|alertmanager|cert-manager|cloudnativepg|cnpg"


def test_the_workload_model_has_no_product_and_no_term_of_one_backend() -> None:
    model = {path.name: path.read_text() for path in (ROOT / "workloads").glob("*.py")}
    # docs/architecture.md gives the reason for this exception.
    del model["postgres_cluster.py"]
    model["__init__.py"] = re.sub("postgres_?cluster", "", model["__init__.py"], flags=re.IGNORECASE)
    terms = re.compile(f"{BACKEND_TERMS}|{PRODUCTS}", re.IGNORECASE)
    assert {f"{name}: {term}" for name, text in model.items() for term in terms.findall(text)} == set()
