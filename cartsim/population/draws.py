"""Random numbers with an address: (seed, stream, patient), computed from the address alone.

So a patient is the same in any chunk, on any worker, in every arm and in a larger population. A stream is a name, such
as that of a parameter; varying one more parameter leaves the others as they were.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray

from cartsim.errors import InputError

FEW = 1024  # patients: at most 8 MB are kept


def uniforms(seed: int, stream: str, start: int, stop: int) -> NDArray[np.float64]:
    """Random numbers in (0, 1) of the patients start..stop-1 in one stream, shape (stop - start,).

    Streams are independent of each other. Noise that differs by visit takes a stream for each visit, such as
    "assay/mprotein/day28". The generator is Philox 4x64 (Salmon et al. 2011,
    doi:10.1145/2063384.2063405), keyed by the hash of seed and stream, its counter being the patient.
    The numbers of few patients, which arms, replicates and calibrations want again, are kept and cannot be written to.
    """
    if not 0 <= start <= stop:
        raise InputError(f"patients {start} to {stop}: patients are numbered from 0, and start <= stop")
    return (_kept if stop - start <= FEW else _drawn)(int(seed), stream, int(start), int(stop))


def _drawn(seed: int, stream: str, start: int, stop: int) -> NDArray[np.float64]:
    block, skip = divmod(start, 4)  # one step of the counter gives four numbers
    words = np.random.Philox(key=_key(seed, stream), counter=block).random_raw(stop - 4 * block)[skip:]
    # 52 bits and half a step keep out 0 and 1, and the numbers symmetric about 0.5.
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


@functools.lru_cache(maxsize=1024)
def _kept(seed: int, stream: str, start: int, stop: int) -> NDArray[np.float64]:
    numbers = _drawn(seed, stream, start, stop)
    numbers.setflags(write=False)
    return numbers


def sobol(seed: int, dimensions: int, start: int, stop: int) -> NDArray[np.float64]:
    """Scrambled Sobol points start..stop-1, shape (dimensions, stop - start), within (0, 1)."""
    from scipy.stats import qmc

    if dimensions == 0:
        return np.empty((0, stop - start))
    if stop > 2**30:
        raise InputError(f"patients {start} to {stop}: there are {2**30:,} Sobol points; use the random sampler")
    engine = qmc.Sobol(dimensions, rng=_key(seed, "sobol"))
    if start == 0:  # the first point by itself: scipy warns of a first request that is not a power of two
        points = np.vstack([engine.random(1), engine.random(stop - 1)])
    else:
        points = engine.fast_forward(start).random(stop - start)
    # Points are the lower edges of cells of width 2^-30; the middles are never 0.
    return np.ascontiguousarray(points.T) + 2.0**-31


def _key(seed: int, stream: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{int(seed)}/{stream}".encode()).digest()[:16], "little")
