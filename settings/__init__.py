"""Typed configuration of a stack."""

from settings.base import NAMESPACE
from settings.load import SettingsError, load, parse
from settings.models import Settings

__all__ = ["NAMESPACE", "Settings", "SettingsError", "load", "parse"]
