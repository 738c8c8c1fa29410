"""Threads for blocking calls in hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

MAX_THREADS = 8

Result = TypeVar("Result")


class Threads:
    """Threads for hooks only. The SDK's registrations block the event loop's few threads, and many of them wait for a
    hook, which would wait for a thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="hooks")

    async def run(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Return the result of a blocking call."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *arguments)
