"""Log in to this container's pgAdmin, open a configured server, and print pgAdmin's response."""

import os
import re
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

ADDRESS = f"http://localhost:{os.environ['PGADMIN_LISTEN_PORT']}"
browser = build_opener(HTTPCookieProcessor(CookieJar()))


def token(path: str) -> str:
    """Return the CSRF token from a page or script."""
    page = browser.open(ADDRESS + path).read().decode()
    found = re.search(r"(?:csrfToken|csrf_token)\W{1,12}([\w.-]{20,})", page)
    assert found, f"no token in {path}:\n{page}"
    return found[1]


form = {
    "csrf_token": token("/login"),
    "email": os.environ["PGADMIN_DEFAULT_EMAIL"],
    "password": Path(os.environ["PGADMIN_DEFAULT_PASSWORD_FILE"]).read_text(),
    "internal_button": "Login",
}
landed = browser.open(f"{ADDRESS}/authenticate/login", urlencode(form).encode()).geturl()
assert landed.endswith("/browser/"), f"not logged in: {landed}"

headers = {"X-pgA-CSRFToken": token("/browser/js/utils.js"), "Content-Type": "application/json"}
connect = Request(f"{ADDRESS}/browser/server/connect/1/1", b"{}", headers)  # noqa: S310 - to itself, over HTTP
print(browser.open(connect).read().decode())
