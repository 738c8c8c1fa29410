"""The stack as files of other tools: the same program, evaluated in this process."""

from operations.render.render import render

__all__ = ["render"]
