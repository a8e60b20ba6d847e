"""Evidence over time: a mixture over how large the canary's effect is, when it starts and how it moves.

A regression may double failures or multiply them by ten, be there from the first request or start in the
twentieth minute, stay or grow. The evidence is therefore a mixture over paths of a hidden effect that is absent or
one of a few sizes, may start at any moment and may change to another size. One number per size carries the whole
mixture (the "bet" on it: its share of the mixture times its e-value), so that the state fits into a small JSON and
an interval costs one matrix product.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Prior over the paths of an effect.

    Attributes
    ----------
    prior
        Share of the bet on each effect size; positive, sums to 1 (checked where criteria are made) [fraction].
    idle
        Share of the bet held back at the start for effects that set in later; in [0, 1) [fraction].
    onsets_per_minute
        Rate at which the bet held back is placed; >= 0 [1/minute].
    moves_per_minute
        Rate at which a placed bet is spread again over all sizes; >= 0 [1/minute].
    """

    prior: tuple[float, ...]
    idle: float = 0.3
    onsets_per_minute: float = 1 / 30
    moves_per_minute: float = 1 / 60


def begin(mixture: Mixture) -> Floats:
    """Return the log bet on (no effect yet, each effect size) before the first interval; shape (1 + sizes,)."""
    placed = (1.0 - mixture.idle) * np.asarray(mixture.prior, dtype=np.float64)
    return np.asarray(np.log(np.concatenate([[max(mixture.idle, 1e-300)], placed])), dtype=np.float64)


@lru_cache(maxsize=256)
def transition(mixture: Mixture, minutes: float) -> Floats:
    """Return the probabilities of going from each state to each within an interval.

    Parameters
    ----------
    mixture
        Prior over paths.
    minutes
        Length of the interval; >= 0 [minutes].

    Returns
    -------
    matrix
        Rows sum to 1; shape (1 + sizes, 1 + sizes); read-only. State 0 is "no effect yet".
    """
    prior = np.asarray(mixture.prior, dtype=np.float64)
    onset = -np.expm1(-mixture.onsets_per_minute * minutes)
    move = -np.expm1(-mixture.moves_per_minute * minutes)
    matrix = np.zeros((prior.size + 1, prior.size + 1))
    matrix[0, 0], matrix[0, 1:] = 1.0 - onset, onset * prior
    matrix[1:, 1:] = (1.0 - move) * np.eye(prior.size) + move * prior
    matrix.flags.writeable = False
    return matrix


def advance(log_bets: ArrayLike, log_e: ArrayLike, matrix: Floats) -> Floats:
    """Let the bets move, then multiply each by what the interval paid.

    Parameters
    ----------
    log_bets
        Log bets before the interval; shape (..., 1 + sizes).
    log_e
        Log e-values of the interval under each effect size; shape (..., sizes).
    matrix
        From `transition`.

    Returns
    -------
    log_bets
        Log bets after it; shape (..., 1 + sizes).

    Notes
    -----
    The sum of the bets is an e-process: each step multiplies it by a weighted mean of e-values whose weights were
    fixed before the interval. Ville (1939): it ever reaches 1/alpha with probability at most alpha. The path
    mixture is the fixed-share scheme of Herbster & Warmuth (1998), Mach. Learn. 32:151-178; bets on later onsets
    make it a finite relative of the e-detectors of Shin, Ramdas & Rinaldo (2023), New England J. Stat. Data Sci.
    2.
    """
    bets = np.asarray(log_bets, dtype=np.float64)
    top = bets.max(axis=-1, keepdims=True)
    moved = np.log(np.maximum(np.exp(bets - top) @ matrix, 1e-300)) + top
    gain = np.asarray(log_e, dtype=np.float64)
    return np.concatenate([moved[..., :1] + 0.0 * gain[..., :1], moved[..., 1:] + gain], axis=-1)


def log_evidence(log_bets: ArrayLike) -> Floats:
    """Sum the bets of every state, in logs; shape (...)."""
    bets = np.asarray(log_bets, dtype=np.float64)
    top = bets.max(axis=-1)
    return np.asarray(np.log(np.exp(bets - top[..., None]).sum(axis=-1)) + top, dtype=np.float64)


def limit_gain(log_before: Floats, log_bets: Floats, most: float) -> Floats:
    """Scale the bets down where one interval multiplied their sum by more than `most`.

    A cap is an e-value too (it only gives evidence away); it keeps one client that loops on a poisoned request
    within a single interval from deciding a release.
    """
    excess = np.maximum(log_evidence(log_bets) - log_evidence(log_before) - np.log(most), 0.0)
    return np.asarray(log_bets - excess[..., None], dtype=np.float64)
