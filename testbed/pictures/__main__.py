"""Draw Grafana's dashboards with data from a running Prometheus.

python -m testbed.pictures --prometheus http://127.0.0.1:9090 [--minutes 60] [--folder docs/images]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from operations.project import OperationError
from testbed.pictures import draw_all


def main() -> int:
    """Return exit code 1, with one message, if Prometheus doesn't respond."""
    parser = argparse.ArgumentParser(prog="python -m testbed.pictures", description="Draws Grafana's dashboards.")
    parser.add_argument("--prometheus", required=True, metavar="URL", help="for instance http://127.0.0.1:9090")
    parser.add_argument("--minutes", type=float, default=60, help="length of the time range (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("docs/images"), help="default: %(default)s")
    arguments = parser.parse_args()
    try:
        for path in draw_all(arguments.prometheus, arguments.minutes, arguments.folder):
            print(path)
    except OperationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
