"""The package of data sets: its public names resolve, and importing it loads no heavy package."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hybridcast import datasets


@pytest.mark.parametrize("name", datasets.__all__)
def test_every_name_resolves(name):
    assert getattr(datasets, name) is not None
    assert name in dir(datasets)


def test_importing_is_light():
    code = "import sys, hybridcast.datasets; from hybridcast.datasets import fetch, load_registry, scene_path\n"
    code += "print([name for name in ('xarray', 'pandas', 'scipy', 'numba', 'torch', 'pooch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fetsch'"):
        _ = datasets.fetsch
