"""What every test shares: no network, one thread, reproducible Hypothesis, and where optional data sets are.

It acts when pytest starts, before anything heavy is imported and outside fixtures, so that the docstring examples
under ``src`` and the subprocesses that tests start are held to the same.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "JAX_PLATFORMS": "cpu",
    "MPLBACKEND": "Agg",
    "NO_COLOR": "1",
    "TERM": "dumb",
    "COLUMNS": "120",
}
os.environ.update(ENVIRONMENT)
for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
    os.environ.pop(name, None)
if "TUTELAGE_TEST_CACHE" not in os.environ:
    # Caches of the libraries below go to a folder of this test run; parallel workers and subprocesses inherit it.
    cache = tempfile.mkdtemp(prefix="tutelage-tests-")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    os.environ |= {
        "TUTELAGE_TEST_CACHE": cache,
        "TUTELAGE_CACHE": f"{cache}/tutelage",
        "HF_HOME": f"{cache}/huggingface",
        "MPLCONFIGDIR": f"{cache}/matplotlib",
    }


class NetworkBlocked(RuntimeError):
    """A test tried to leave the machine. No ``OSError``, so that code with a fallback for those cannot hide it."""


_LOCAL = ("localhost", "127.", "::1", "0.0.0.0", "::ffff:127.")
_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def _check_local(host: Any, what: str) -> None:
    text = host.decode() if isinstance(host, bytes) else str(host)
    if host not in (None, "", b"", socket.gethostname()) and not text.startswith(_LOCAL):
        raise NetworkBlocked(f"tests may not use the network: {what} {text}")


def _is_internet(sock: socket.socket) -> bool:
    return sock.family in (socket.AF_INET, socket.AF_INET6)


def _guarded_connect(self: socket.socket, address: Any) -> None:
    if _is_internet(self):
        _check_local(address[0], "connect to")
    _connect(self, address)


def _guarded_connect_ex(self: socket.socket, address: Any) -> int:
    if _is_internet(self):
        _check_local(address[0], "connect to")
    return _connect_ex(self, address)


def _guarded_getaddrinfo(host: Any, *arguments: Any, **keywords: Any) -> Any:
    _check_local(host, "look up")
    return _getaddrinfo(host, *arguments, **keywords)


def pytest_configure(config: pytest.Config) -> None:
    socket.socket.connect = _guarded_connect  # type: ignore[method-assign]
    socket.socket.connect_ex = _guarded_connect_ex  # type: ignore[method-assign]
    socket.getaddrinfo = _guarded_getaddrinfo


# The same examples on every machine: a failure found here is a failure found there. HYPOTHESIS_PROFILE=explore draws
# fresh ones. No deadline, because a shared machine can pause any test.
settings.register_profile("reproducible", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "reproducible"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """``shared_data("text_shakespeare")`` returns that data set's folder, or skips the test and says what is absent."""

    def folder(name: str) -> Path:
        places = [ROOT.parent / "shared" / "data"]
        if os.environ.get("TUTELAGE_DATA"):
            places.insert(0, Path(os.environ["TUTELAGE_DATA"]))
        for place in places:
            if (place / name).exists():
                return place / name
        pytest.skip(
            f'data set "{name}" is in none of: {", ".join(map(str, places))}; set TUTELAGE_DATA to have it used'
        )

    return folder
