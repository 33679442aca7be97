"""Random streams: one for every (cell, replica, purpose), all from one root.

    stream = PCG64(SeedSequence(entropy=root, spawn_key=(cell, replica, purpose)))

The key is a position, not an order of calls: adding a replica, a cell or a worker changes no other stream.
Imported by everything in `numerics.simulate` that draws; imports NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Purposes and their place in the key. New ones are appended; the order is part of every published seed.
PURPOSES = ("train", "once", "observe", "start", "data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Position of a run in an ensemble; plain data, so it travels to worker processes.

    Attributes
    ----------
    root : int
        Seed of the whole ensemble.
    cell : int
        Which size or parameter setting.
    replica : int
        Which repetition.

    Examples
    --------
    >>> one, same = Stream(root=7).generator("train"), Stream(root=7).generator("train")
    >>> bool(one.random() == same.random()), bool(one.random() == Stream(root=7, replica=1).generator("train").random())
    (True, False)
    """

    root: int
    cell: int = 0
    replica: int = 0

    def generator(self, purpose: str) -> np.random.Generator:
        """Generator of this position for one purpose.

        Raises
        ------
        ValueError
            The purpose is not one of `PURPOSES`.
        """
        if purpose not in PURPOSES:
            raise ValueError(f"no random stream for {purpose!r}; the purposes are {', '.join(PURPOSES)}.")
        key = (self.cell, self.replica, PURPOSES.index(purpose))
        return np.random.default_rng(np.random.SeedSequence(entropy=self.root, spawn_key=key))
