"""Entries are found by file name; unknown names and settings are refused with the nearest known one."""

from __future__ import annotations

import pytest

from derive.catalog import UnknownName, load, names, settings
from derive.errors import InvalidSpec


def test_names_are_sorted_and_loadable() -> None:
    assert list(names()) == sorted(names())
    assert all(load(name).name == name for name in names())


def test_an_unknown_system_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'saxe_2014_deep_linear'"):
        load("saxe_2014_deep_liner")


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'depth'"):
        load("saxe_2014_deep_linear", dept=3)


def test_a_setting_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="depth=1"):
        load("saxe_2014_deep_linear", depth=1)


def test_settings_are_the_arguments_with_defaults() -> None:
    assert settings("goldt_2019_teacher_student")["train"] == "both"
