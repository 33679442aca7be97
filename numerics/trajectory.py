"""`Trajectory`: what an integration returns. Time is the first axis of every array.

Imported by integration, validation, figures and commands; xarray is imported only when asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from numerics.files import replacing
from numerics.status import IntegrationFailed, Status

Array: TypeAlias = npt.NDArray[np.float64]
EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """The moment at which a protocol goes over to its next phase.

    Attributes
    ----------
    t : float
    label : str
        What happens there, in words.
    dropped : tuple of tuples of int
        Places that each deletion there took out, counted among the entries present.
    """

    t: float
    label: str
    dropped: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trajectory:
    """A solution of  d state / dt = rhs  at the requested times that were reached.

    Attributes
    ----------
    t : (T,)
        Times, increasing; along a protocol the time of a switch stands twice, for the state before and after it.
    values : mapping name -> (T, ...)
        State arrays by symbol. Entries that a protocol has deleted are NaN from then on.
    status : Status
        How the integration ended; `detail` says where.
    observables : mapping name -> (T, ...)
    parameters : mapping name -> array
        What was passed in; (T, ...) for a parameter that depends on time.
    statistics : mapping
        steps, evaluations, seconds, method, rtol, atol (the smallest one used), and ``switched`` (time of a change of method).
    name : str
        Name of the system.
    switches : tuple of Switch
        Of a protocol: one for the beginning of every phase after the first.
    segments : tuple of Trajectory
        Of a protocol: its phases, each with arrays of its own size.
    """

    t: Array
    values: Mapping[str, Array]
    status: Status
    detail: str = ""
    observables: Mapping[str, Array] = field(default_factory=lambda: EMPTY)
    parameters: Mapping[str, Array] = field(default_factory=lambda: EMPTY)
    statistics: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
    name: str = ""
    switches: tuple[Switch, ...] = ()
    segments: tuple[Trajectory, ...] = ()

    @property
    def dropped(self) -> tuple[tuple[int, ...], ...]:
        """Places deleted by every `Drop` of a protocol, in order: what a simulation of the same deletions needs."""
        return tuple(places for switch in self.switches for places in switch.dropped)

    def at(self, index: int) -> dict[str, Array]:
        """The state at one of the times, by symbol."""
        return {name: array[index] for name, array in self.values.items()}

    def raise_if_failed(self) -> Trajectory:
        """The trajectory itself if the end of the time span was reached.

        Raises
        ------
        KeyboardInterrupt
            If the user stopped it.
        IntegrationFailed
            Otherwise, with the status, the place and the remedy.
        """
        if self.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        if not self.status.good:
            where = f" ({self.detail})" if self.detail else ""
            raise IntegrationFailed(f"{self.name or 'the system'}: {self.status.value}{where}: {self.status.message}")
        return self

    def to_xarray(self) -> Any:
        """The same data as an `xarray.Dataset`; axes are ``t`` and, for each array, ``<name>_0``, ``<name>_1``, ..."""
        import xarray as xr

        data = {}
        for kind, arrays in (("state", self.values), ("observable", self.observables)):
            for name, array in arrays.items():
                axes = ("t", *(f"{name}_{i}" for i in range(array.ndim - 1)))
                data[name] = xr.DataArray(array, dims=axes, attrs={"kind": kind})
        for name, value in self.parameters.items():
            array = np.asarray(value)
            data[f"parameter_{name}"] = xr.DataArray(
                array, dims=[f"parameter_{name}_{i}" for i in range(array.ndim)], attrs={"kind": "parameter"}
            )
        attrs: dict[str, Any] = {"system": self.name, "status": self.status.value, "detail": self.detail}
        attrs |= {key: value for key, value in self.statistics.items() if value is not None}
        if self.switches:
            attrs |= {"switch_times": [s.t for s in self.switches], "switch_labels": [s.label for s in self.switches]}
        return xr.Dataset(data, coords={"t": self.t}, attrs=attrs)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write netCDF-4 (HDF5), atomically; returns the path."""
        with replacing(path) as temporary:
            self.to_xarray().to_netcdf(temporary, engine="h5netcdf")
        return Path(path)
