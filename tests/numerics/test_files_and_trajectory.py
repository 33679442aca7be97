"""Atomic files, trajectories and reports: what is written can be read, and nothing is ever half-written."""

import json
import os

import numpy as np
import pytest
import xarray as xr

from derive.errors import CheckFailed
from numerics.files import replacing, write_json, write_text
from numerics.report import Check, Report
from numerics.status import Status
from numerics.trajectory import Trajectory

CHECK = Check(claim="c", statistic=1e-9, bound=1e-8, reason="r", seconds=0.5, seed=3, command="cmd")


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "a.json"
    write_text(path, "old")

    def interrupted_write():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"x": float("nan")})
    assert path.read_text() == "old"


def test_a_write_without_directory_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="create it first"):
        write_text(tmp_path / "none" / "a.txt", "x")


def test_a_file_has_the_usual_permissions(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    assert write_text(tmp_path / "ours", "x").stat().st_mode == plain.stat().st_mode


def trajectory(**changes):
    t = np.linspace(0, 1, 4)
    fields = {
        "t": t,
        "values": {"W": np.arange(24.0).reshape(4, 2, 3), "u": t**2},
        "status": Status.OK,
        "observables": {"loss": 1 - t},
        "parameters": {"s": np.array([1.0, 2.0]), "tau": np.array(1.0)},
        "statistics": {"steps": 7, "method": "DOP853", "switched": None},
        "name": "test",
    }
    return Trajectory(**fields | changes)


def test_netcdf_round_trip(tmp_path):
    """xarray is the second road: it reads the file without this project."""
    ours = trajectory()
    path = ours.save(tmp_path / "t.nc")
    with xr.open_dataset(path, engine="h5netcdf") as read:
        assert (read["W"].values == ours.values["W"]).all()
        assert read["W"].dims == ("t", "W_0", "W_1")
        assert (read["loss"].values == ours.observables["loss"]).all()
        assert (read["parameter_s"].values == [1.0, 2.0]).all()
        assert read.attrs["status"] == "ok"
        assert read.attrs["steps"] == 7
    assert os.listdir(tmp_path) == ["t.nc"]


def test_every_status_has_a_remedy():
    for status in Status:
        assert len(status.message) > 20
        assert Status(status.value) is status


def test_json_contract():
    data = json.loads(Report(system="s", checks=(CHECK,)).to_json())
    assert data == {
        "system": "s",
        "passed": True,
        "checks": [{"claim": "c", "statistic": 1e-9, "bound": 1e-8, "passed": True, "seconds": 0.5, "seed": 3}],
    }
    full = Report(system="s", checks=(CHECK,)).to_dict()["checks"][0]
    assert full["reason"] == "r"
    assert full["command"] == "cmd"


def test_nan_fails_and_is_null():
    bad = Check(claim="broken", statistic=float("nan"), bound=1.0, reason="why", detail="no value for s")
    report = Report(system="s", checks=(CHECK, bad))
    assert not report.passed
    assert json.loads(report.to_json())["checks"][1]["statistic"] is None
    with pytest.raises(CheckFailed, match=r"1 of 2 checks failed\n  broken: nan > 1 \(why\): no value for s"):
        report.raise_if_failed()


def test_an_empty_report_is_no_success():
    assert not Report(system="s").passed
    with pytest.raises(CheckFailed, match="nothing was checked"):
        Report(system="s").raise_if_failed()
