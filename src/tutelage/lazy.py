"""Public names that are imported on first use, so that importing a package imports nothing heavy."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_attributes(package: str, targets: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` (PEP 562) that imports a name when it is first asked for.

    Args:
        package: The module's ``__name__``.
        targets: For each name the module that holds it, relative to ``package`` (``"loop"``), or in full with the
            name it has there (``"other.module:Name"``).

    Example:
        >>> get = lazy_attributes("json", {"JSONDecoder": "decoder"})
        >>> get("JSONDecoder").__name__
        'JSONDecoder'
    """

    def get(name: str) -> Any:
        if name not in targets:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, full, attribute = targets[name].partition(":")
        return getattr(importlib.import_module(module if full else f"{package}.{module}"), attribute or name)

    return get
