"""The part of these tests that runs with `PTI_TESTS=all` only, as in CI, or with `PTI_TESTS=long`."""

from __future__ import annotations

import os

import pytest

IS_LONG_RUN = os.environ.get("PTI_TESTS") == "long"
IS_FULL_RUN = IS_LONG_RUN or os.environ.get("PTI_TESTS") == "all"

only_in_full_runs = pytest.mark.skipif(not IS_FULL_RUN, reason="runs with PTI_TESTS=all, as in CI")
"""Marks tests that start servers of their own, wait, or repeat in greater depth what a faster test shows."""
