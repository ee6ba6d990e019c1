"""Docstrings that users get to read, also under `python -OO`, which drops them from the compiled code."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any


def docstring_of(function: Callable[..., Any]) -> str:
    """The docstring of a function without its indentation, from the source where it was dropped; else nothing."""
    if function.__doc__:
        return inspect.cleandoc(function.__doc__)
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except OSError:  # the source is not there either
        return ""
    return (ast.get_docstring(tree) if isinstance(tree, ast.FunctionDef) else None) or ""
