"""Kernels of these tests go to a cache of their own."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache_directory(tmp_path_factory):
    before = os.environ.get("GRADIENTFLOW_CACHE")
    path = tmp_path_factory.mktemp("kernels")
    os.environ["GRADIENTFLOW_CACHE"] = str(path)
    yield path
    if before is None:
        del os.environ["GRADIENTFLOW_CACHE"]
    else:
        os.environ["GRADIENTFLOW_CACHE"] = before
