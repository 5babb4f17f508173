"""Curves that tests share."""

from __future__ import annotations

import numpy as np

from tutelage.forecast import AnnealingLaw, LossCurve
from tutelage.schedules import WSD, Cosine

LAW = AnnealingLaw(L0=2.6, A=0.5, alpha=0.6, C=0.06, lam=0.99)


def made(kind="cosine", *, total=4000, every=20, noise=0.0, seed=0, law=LAW, peak=2e-3, warmup=0):
    """Return a curve that the annealing law made, with log-normal noise."""
    updates = np.arange(total)
    rates = {
        "cosine": lambda: Cosine(peak=peak, total_steps=total)(updates),
        "wsd": lambda: WSD(peak=peak, total_steps=total, decay=0.2, shape="linear")(updates),
        "constant": lambda: np.full(total, peak),
    }[kind]()
    if warmup:
        rates[:warmup] = peak * (np.arange(warmup) + 1) / warmup
    steps = np.arange(every, total + 1, every)
    losses = law.predict(rates, steps, warmup=warmup)
    losses = losses * np.exp(noise * np.random.default_rng(seed).standard_normal(len(steps)))
    return LossCurve.of(steps=steps, losses=losses, rates=rates, warmup=warmup, name=kind)


def published(folder, name, warmup=2160):
    """Return a published curve as its file has it."""
    from tutelage.training.curve_files import read_loss_curve

    return read_loss_curve(folder / f"{name}.csv", warmup=warmup).curve
