"""The rates other libraries would use, to compare with ours value by value."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tutelage.durations import Clock, Duration, parse_duration
from tutelage.errors import ConfigError, MissingExtra, did_you_mean
from tutelage.specs import parse_spec

if TYPE_CHECKING:
    import torch


_TRANSFORMERS = (
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt",
)  # fmt: skip


def peer_rates(name: str, *, total_steps: int, peak: float) -> NDArray[np.float64]:
    """Return the rate another library uses for each update.

    Args:
        name: ``LIBRARY:SCHEDULE``, with an optional warm-up: ``transformers:cosine:warmup=0.1``, ``torch:cosine``,
            ``timm:cosine``, ``optax:cosine``.
        total_steps: Updates in the run.
        peak: Highest rate.

    Returns:
        Shape ``(total_steps,)``.

    Raises:
        ConfigError: An unknown library, schedule or argument.
        MissingExtra: The library is not installed.
    """
    library, _, rest = name.partition(":")
    libraries: dict[str, Callable[[str, int, int, float], NDArray[np.float64]]] = {
        "optax": _optax,
        "timm": _timm,
        "torch": _torch,
        "transformers": _transformers,
    }
    if library not in libraries or not rest:
        known = ", ".join(libraries)
        raise ConfigError(f"--against {name}: write LIBRARY:SCHEDULE, such as transformers:cosine; libraries: {known}.")
    if importlib.util.find_spec(library) is None:
        raise MissingExtra(f"--against {name} needs {library}: pip install {library}.")
    spec = parse_spec(rest)
    unknown = [key for key in spec.arguments if key != "warmup"]
    if unknown:
        raise ConfigError(f'--against {name}: no argument "{unknown[0]}"; it takes warmup.')
    warmup = parse_duration(spec.arguments.get("warmup", "0.0"), argument="warmup")
    steps = warmup.to_steps(Clock(total_steps)) if isinstance(warmup, Duration) else round(warmup * total_steps)
    return libraries[library](spec.name, total_steps, steps, peak)


def _drive(build: Callable[[torch.optim.Optimizer], Any], total_steps: int, peak: float) -> NDArray[np.float64]:
    """Step a PyTorch scheduler as a training loop does and note the rate each update would use."""
    import warnings

    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = build(optimizer)
    rates = np.empty(total_steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the order of optimizer and scheduler steps; nothing is trained here
        for step in range(total_steps):
            rates[step] = optimizer.param_groups[0]["lr"]
            optimizer.step()
            if step + 1 < total_steps:
                scheduler.step()
    return rates


def _unknown(library: str, schedule: str, known: Any) -> ConfigError:
    return ConfigError(
        f'{library} has no schedule "{schedule}" here.{did_you_mean(schedule, known)} Known: {", ".join(known)}.'
    )


def _transformers(schedule: str, total_steps: int, warmup: int, peak: float) -> NDArray[np.float64]:
    from transformers import get_scheduler

    if schedule not in _TRANSFORMERS:
        raise _unknown("transformers", schedule, _TRANSFORMERS)

    def build(optimizer: torch.optim.Optimizer) -> Any:
        return get_scheduler(schedule, optimizer, num_warmup_steps=warmup, num_training_steps=total_steps)

    return _drive(build, total_steps, peak)


def _torch(schedule: str, total_steps: int, warmup: int, peak: float) -> NDArray[np.float64]:
    from torch.optim import lr_scheduler as torch_schedulers

    length = total_steps - warmup
    builders: dict[str, Callable[[Any], Any]] = {
        "constant": lambda optimizer: torch_schedulers.ConstantLR(optimizer, factor=1.0),
        "cosine": lambda optimizer: torch_schedulers.CosineAnnealingLR(optimizer, T_max=length),
        "linear": lambda optimizer: torch_schedulers.LinearLR(optimizer, 1.0, 0.0, total_iters=length),
        "one-cycle": lambda optimizer: torch_schedulers.OneCycleLR(optimizer, max_lr=peak, total_steps=total_steps),
        "polynomial": lambda optimizer: torch_schedulers.PolynomialLR(optimizer, total_iters=length),
    }
    if schedule not in builders:
        raise _unknown("torch", schedule, builders)

    def build(optimizer: torch.optim.Optimizer) -> Any:
        if not warmup or schedule == "one-cycle":
            return builders[schedule](optimizer)
        rise = torch_schedulers.LinearLR(optimizer, 1.0 / warmup, 1.0, total_iters=warmup - 1 or 1)
        return torch_schedulers.SequentialLR(optimizer, [rise, builders[schedule](optimizer)], [warmup])

    return _drive(build, total_steps, peak)


def timm_cosine_scheduler() -> Any:
    """Return timm's ``CosineLRScheduler`` class, without running the package's own imports.

    timm as a whole needs torchvision; its schedulers do not.

    Raises:
        ImportError: timm is not installed.
    """
    found = importlib.util.find_spec("timm")
    if found is None or not found.submodule_search_locations:
        raise ImportError("No module named 'timm' (pip install --no-deps timm).")
    folder = found.submodule_search_locations[0]
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "timm"}
    try:
        for name, place in (("timm", folder), ("timm.scheduler", f"{folder}/scheduler")):
            if name not in before:
                sys.modules[name] = types.ModuleType(name)
                sys.modules[name].__path__ = [place]
        return importlib.import_module("timm.scheduler.cosine_lr").CosineLRScheduler
    finally:
        # The bare packages would pass for a broken timm wherever somebody looks for the real one.
        for name in [name for name in sys.modules if name.partition(".")[0] == "timm" and name not in before]:
            del sys.modules[name]


def _timm(schedule: str, total_steps: int, warmup: int, peak: float) -> NDArray[np.float64]:
    import torch

    if schedule != "cosine":
        raise _unknown("timm", schedule, ("cosine",))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = timm_cosine_scheduler()(optimizer, t_initial=total_steps, warmup_t=warmup, t_in_epochs=False)
    rates = np.empty(total_steps)
    for step in range(total_steps):
        scheduler.step_update(step)
        rates[step] = optimizer.param_groups[0]["lr"]
    return rates


def _optax(schedule: str, total_steps: int, warmup: int, peak: float) -> NDArray[np.float64]:
    import optax

    length = total_steps - warmup
    decays: dict[str, Callable[[], Any]] = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(peak, length),
        "linear": lambda: optax.linear_schedule(peak, 0.0, length),
    }
    if schedule not in decays:
        raise _unknown("optax", schedule, decays)
    curve = decays[schedule]()
    if warmup:
        curve = optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), curve], [warmup])
    return np.array([float(curve(step)) for step in range(total_steps)])
