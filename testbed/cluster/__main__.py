"""A single-node Kubernetes cluster for tests, on a developer's machine, as root.

python -m testbed.cluster packages                  lists the Debian packages that this machine lacks
python -m testbed.cluster build                     builds the node's programs into the cache, once; takes minutes
python -m testbed.cluster up [--network-policies]   starts the node; prints the kubeconfig's path when it is ready
python -m testbed.cluster load IMAGE...             copies images of the Docker engine to the node
python -m testbed.cluster fresh-volumes             empties the volumes whose claim was deleted
python -m testbed.cluster apiserver --version V     starts only an API server of a version; prints its kubeconfig's path
python -m testbed.cluster schemas [--version V]     writes kubeconform's schemas of a version; prints the folder
python -m testbed.cluster pin VERSION [PROGRAM...]  pins a version of Kubernetes for the build
python -m testbed.cluster down                      stops everything; the data stays
python -m testbed.cluster reset                     stops everything and deletes objects and volumes; images stay
python -m testbed.cluster wipe                      stops everything and deletes the data
"""

from __future__ import annotations

import argparse
import sys

from testbed import cluster
from testbed.cluster import build, modules, packages, schemas
from testbed.cluster.constants import API_SERVER_VERSIONS, VERSION


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m testbed.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build")
    building.add_argument("--api-servers", action="store_true", help=f"also of {' and '.join(API_SERVER_VERSIONS)}")
    commands.add_parser("up").add_argument("--network-policies", action="store_true", help="enforce them")
    commands.add_parser("load").add_argument("images", nargs="+", metavar="IMAGE")
    commands.add_parser("fresh-volumes")
    commands.add_parser("apiserver").add_argument("--version", required=True)
    commands.add_parser("schemas").add_argument("--version", default=VERSION)
    pinning = commands.add_parser("pin")
    pinning.add_argument("version")
    pinning.add_argument("programs", nargs="*", metavar="PROGRAM")
    commands.add_parser("packages")
    commands.add_parser("down")
    commands.add_parser("reset")
    commands.add_parser("wipe")
    arguments = parser.parse_args()
    if arguments.command not in {"build", "pin", "packages"} and (reason := cluster.why_unavailable()):
        sys.exit(reason)
    match arguments.command:
        case "build":
            build.build_node()
            for tool in build.TOOLS:
                build.build_tool(tool)
            for version in API_SERVER_VERSIONS if arguments.api_servers else ():
                build.build_kubernetes(version, ("kube-apiserver",))
        case "up":
            print(cluster.up(network_policies=arguments.network_policies).kubeconfig)
        case "load":
            for image in cluster.load(arguments.images):
                print(f"loaded {image}")
        case "fresh-volumes":
            print(cluster.recycle_volumes())
        case "apiserver":
            print(cluster.api_server(arguments.version).kubeconfig)
        case "schemas":
            print(schemas.write(cluster.api_server(arguments.version)))
        case "pin":
            print(modules.pin(arguments.version, tuple(arguments.programs) or modules.NODE_PROGRAMS))
        case "packages":
            print(*packages.missing())
        case "down":
            cluster.down()
        case "reset":
            cluster.reset()
        case "wipe":
            cluster.wipe()


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as error:
        sys.exit(str(error))
