"""Blocking calls of other programs, awaited by hooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

COUNT = 8

Answer = TypeVar("Answer")


class Threads:
    """Threads for hooks alone: the SDK's registrations wait in the few that the loop has, and many of them wait for a
    hook, which would wait for a thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(COUNT, thread_name_prefix="hooks")

    async def run(self, question: Callable[..., Answer], *arguments: Any) -> Answer:
        """The answer to a blocking question."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, question, *arguments)
