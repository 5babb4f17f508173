"""Independent random streams from one seed, by name: adding a consumer does not shift the others.

A run has one integer seed. Whoever needs randomness names its purpose (``init``, ``data``, ``dropout``,
``bootstrap``) and any position on the run's clock; the stream is a hash of the three. Nothing has to be stored to
resume: position 1,000 of a stream is reached without drawing the 999 before it.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, name: str, *position: int) -> int:
    """Return a 63-bit seed for stream ``name`` of run ``seed`` at ``position``.

    Args:
        seed: The run's seed, any integer.
        name: Purpose of the stream, such as ``"data"``.
        position: Optional coordinates inside the stream (epoch, step, rank).

    Returns:
        An integer in ``[0, 2**63)``, equal on every machine and Python version.
    """
    text = "\x1f".join(["tutelage", str(int(seed)), name, *(str(int(part)) for part in position)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def numpy_generator(seed: int, name: str, *position: int) -> np.random.Generator:
    """Return a NumPy generator for stream ``name`` of run ``seed`` at ``position``."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, name, *position)))
