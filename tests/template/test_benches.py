"""The benches borrow from the tests, which change without anybody running a bench."""

import importlib
import pkgutil

import pytest

from tests import bench

NAMES = [module.name for module in pkgutil.iter_modules(bench.__path__)]


@pytest.mark.parametrize("name", NAMES)
def test_each_bench_finds_what_it_imports(name: str) -> None:
    importlib.import_module(f"tests.bench.{name}")
