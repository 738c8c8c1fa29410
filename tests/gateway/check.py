"""Check the observed behaviour of Kong on a gateway at a given address: `python -m tests.gateway.check https://…`.

Rows about the request that a service receives need the echo service behind it (`--echo PORT` runs one). Against a
platform with its own services, only the rows that Kong answers itself are run. PTI_KONG_KEY is the key that signs
tokens.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from tests.gateway import echo, rows


def main() -> int:
    """Check a gateway; the exit status is 1 if a row differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", help="of the gateway, such as https://api.pti-calendar.fr")
    parser.add_argument("--insecure", action="store_true", help="take any certificate")
    parser.add_argument("--echo", action="store_true", help="run the echo service instead, and print its port")
    options = parser.parse_args()
    if options.echo:
        with echo.running_echo() as port:
            print(port, flush=True)
            signal.pause()
    if not options.address:
        parser.error("the address of a gateway is missing")
    if not (key := os.environ.get("PTI_KONG_KEY")):
        parser.error("PTI_KONG_KEY: the key that signs tokens (jwtSecret) is missing")
    return check(rows.Gateway(options.address, key, verify=not options.insecure))


def check(gateway: rows.Gateway) -> int:
    """Run every row that this gateway supports, and print the differences."""
    _, all_rows = rows.load()
    services_echo = gateway.ask({"path": "/api/user/me", "token": "valid"}).is_from_service
    selected = [row for row in all_rows if services_echo or row.received == "nothing"]
    failed = 0
    for row in selected:
        if found := rows.differences(row, gateway.ask(row.request), services_echo=services_echo):
            failed += 1
            print(f"{row.name}: {'; '.join(found)}")
    skipped = f", {len(all_rows) - len(selected)} need the echo service" if len(selected) < len(all_rows) else ""
    print(f"{len(selected) - failed} of {len(selected)} rows as observed{skipped}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
