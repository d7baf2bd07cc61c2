"""Posterior of a proportion over new groups, from the images of each group: a beta-binomial model."""

from __future__ import annotations

from functools import reduce

import numpy as np
from scipy import stats
from scipy.special import expit, gammaln

QUANTILES = 200
MIDPOINTS = (np.arange(QUANTILES) + 0.5) / QUANTILES
# Quadrature over the intra-class correlation; its prior Beta(1, 3) has a mean of 1/4.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)
CORRELATIONS = stats.beta(1, 3).ppf((_NODES + 1) / 2)


def proportion_posterior(correct: np.ndarray, totals: np.ndarray, by_image: bool = True) -> np.ndarray:
    """Posterior of the mean proportion of correct images over new groups, as equally probable values.

    Each group has a probability of its own, drawn from a beta distribution. The mean of that distribution has a flat
    prior, and the correlation of two images of a group the prior Beta(1, 3).

    Args:
        correct: Correct images of each group, 0..totals, shape (groups,); fractions are allowed.
        totals: Images of each group, 1 or more, shape (groups,).
        by_image: Whether a group counts by its images. Its likelihood then has the exponent n * sum(n) / sum(n**2), for
            n images; these sum to Kish's effective number of groups, and are 1 for groups of equal size.

    Returns:
        Rising values, shape (QUANTILES,): the quantiles at `MIDPOINTS`.

    Source: Skellam, J. R. Stat. Soc. B 10 (1948) 257, for the model; Kish, Survey Sampling (1965), for the effective
    number. Ours: the prior of the correlation and the exponent, chosen by the simulation of `benchmarks/coverage.py`.
    """
    totals = np.asarray(totals, np.float64)
    if (totals == 1).all():  # no two images of a group: the correlation does not matter
        return np.asarray(stats.beta(correct.sum() + 1, (totals - correct).sum() + 1).ppf(MIDPOINTS))
    pairs, counts = np.unique(np.stack([correct, totals]), axis=1, return_counts=True)
    exponents = counts * (pairs[1] * totals.sum() / (totals**2).sum() if by_image else 1)
    logits = np.linspace(-14, 14, 57)
    density = _density(logits, pairs, exponents)
    for _ in range(2):  # zoom in on where the density is
        likely, step = logits[density > 1e-9 * density.max()], logits[1] - logits[0]
        logits = np.linspace(likely[0] - step, likely[-1] + step, 121)
        density = _density(logits, pairs, exponents)
    cumulated = np.cumsum(density) - density / 2
    return expit(np.interp(MIDPOINTS, cumulated / density.sum(), logits))


def posterior_means(correct: np.ndarray, totals: np.ndarray) -> tuple[float, float]:
    """Posterior means of the proportion over new groups, and of the correlation of two images of a group.

    Args:
        correct: As of `proportion_posterior`.
        totals: Likewise; each group counts once.
    """
    logits = np.linspace(-14, 14, 225)
    pairs, counts = np.unique(np.stack([correct, totals]), axis=1, return_counts=True)
    likelihood = _likelihood(logits, pairs, counts) * (expit(logits) * expit(-logits))[:, None]
    weights = likelihood * _WEIGHTS / (likelihood * _WEIGHTS).sum()
    return float((weights.sum(axis=1) * expit(logits)).sum()), float((weights.sum(axis=0) * CORRELATIONS).sum())


def _density(logits: np.ndarray, pairs: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Unnormalized density of the mean, at equally spaced logits of it; its prior is flat."""
    return np.asarray(_likelihood(logits, pairs, exponents) @ _WEIGHTS * expit(logits) * expit(-logits))


def _likelihood(logits: np.ndarray, pairs: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Likelihood of each mean and each of `CORRELATIONS`, up to a factor, shape (means, correlations)."""
    size = (1 - CORRELATIONS) / CORRELATIONS  # a + b of the beta distribution
    a, b = expit(logits)[:, None] * size, expit(-logits)[:, None] * size
    at_zero = gammaln(a) + gammaln(b) - gammaln(size)
    logarithm = np.zeros_like(a)
    for correct, total, exponent in zip(*pairs, exponents, strict=True):
        logarithm += exponent * (gammaln(a + correct) + gammaln(b + total - correct) - gammaln(size + total) - at_zero)
    return np.asarray(np.exp(logarithm - logarithm.max()))


def add_independent(*distributions: np.ndarray) -> np.ndarray:
    """Distribution of the sum of independent quantities; all are equally probable values, at `MIDPOINTS`."""
    return reduce(lambda one, other: np.quantile(one[:, None] + other, MIDPOINTS), distributions)
