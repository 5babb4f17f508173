"""The two areas of the annealing law as its formula prints them: double sums, slow and obvious."""

from __future__ import annotations


def areas(rates, lam):
    forward, annealed = [], []
    for s in range(1, len(rates) + 1):
        forward.append(sum(rates[:s]))
        total = 0.0
        for i in range(2, s + 1):
            for k in range(2, i + 1):
                total += (rates[k - 2] - rates[k - 1]) * lam ** (i - k)
        annealed.append(total)
    return forward, annealed
