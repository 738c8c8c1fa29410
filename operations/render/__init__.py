"""The stack as a Compose file: the same program, evaluated in this process."""

from operations.render.render import render

__all__ = ["render"]
