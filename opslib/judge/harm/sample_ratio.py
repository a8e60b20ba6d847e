"""Sample-ratio check: whether the observed split of the traffic matches the configured weight."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opslib.judge.harm.tables import log_e_share
from opslib.judge.values.mixture import Mixture

Floats = NDArray[np.float64]

# Odds by which the canary's share of requests may differ from the configured weight, and by which it is bet to
# differ. A few percent come from retries and from the seconds in which a new weight spreads.
TOLERATED = 1.05
FACTORS = (1.15, 1.5, 3.0)
MIXTURE = Mixture(prior=(1 / 6,) * 6, idle=0.25)
METRIC = "split"
"""Name of this evidence in a state and in a journal."""


def log_e_value(canary_n: ArrayLike, stable_n: ArrayLike, weight: float) -> Floats:
    """Return the log e-values of one interval's request counts against the configured weight.

    Parameters
    ----------
    canary_n, stable_n
        Requests of each version; shape (...) [count].
    weight
        Configured share of the canary; in (0, 100) [percent]. 0 and 100 give no evidence.

    Returns
    -------
    log_e
        Log e-values that the odds are too high by each factor, then too low; shape (..., 6).

    Notes
    -----
    Sequential sample-ratio check in the sense of Lindon & Malek (2022), NeurIPS, "Anytime-valid inference for
    multinomial count data", with a few fixed alternatives instead of a Dirichlet prior, so that evidence goes on
    multiplying when a stage changes the weight.
    """
    total = np.asarray(canary_n, dtype=np.float64) + np.asarray(stable_n, dtype=np.float64)
    if not 0 < weight < 100:
        return np.zeros((*total.shape, 2 * len(FACTORS)))
    odds, up = weight / (100.0 - weight), np.asarray(FACTORS)
    high = log_e_share(canary_n, total, _share(odds * up), _share(odds * TOLERATED))
    low = log_e_share(canary_n, total, _share(odds / up), _share(odds / TOLERATED))
    return np.concatenate([high, low], axis=-1)


def _share(odds: ArrayLike) -> Floats:
    value = np.asarray(odds, dtype=np.float64)
    return np.asarray(value / (1.0 + value))
