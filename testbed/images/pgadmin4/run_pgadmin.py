"""pgAdmin as a web application for several users; importing it creates or migrates its own database."""

import builtins

builtins.SERVER_MODE = True  # type: ignore[attr-defined]

from pgAdmin4 import app  # type: ignore[import-not-found] # noqa: E402

__all__ = ["app"]
