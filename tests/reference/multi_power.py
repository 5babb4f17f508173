"""The multi-power law as its formula prints it: two loops, slow and obvious."""

from __future__ import annotations


def losses(rates, law, steps, warmup=0):
    """Losses after each of ``steps`` updates; ``law`` has L0, A, alpha, B, C, beta, gamma."""
    rates = [0.0, *(float(rate) for rate in rates)]  # eta_1 at index 1
    floor = 1e-9 * max(rates[warmup + 1 :])
    found = []
    for t in steps:
        drop = 0.0
        for k in range(warmup + 2, t + 1):
            since = sum(rates[k : t + 1])
            reached = law.C * max(rates[k], floor) ** -law.gamma * since
            drop += (rates[k - 1] - rates[k]) * (1 - (1 + reached) ** -law.beta)
        found.append(law.L0 + law.A * sum(rates[1 : t + 1]) ** -law.alpha - law.B * drop)
    return found
