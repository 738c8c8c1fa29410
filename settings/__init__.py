"""Typed configuration of a stack."""

from settings.load import NAMESPACE, SettingsError, load, parse
from settings.models import Settings

__all__ = ["NAMESPACE", "Settings", "SettingsError", "load", "parse"]
