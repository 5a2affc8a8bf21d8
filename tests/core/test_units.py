from __future__ import annotations

import pytest

from hybridcast.core.units import unit_conversion


@pytest.mark.parametrize(
    ("units", "target", "scale", "offset"),
    [
        ("knots", "m s-1", 1852 / 3600, 0.0),
        ("km/h", "m s-1", 1 / 3.6, 0.0),
        ("m2 s-2", "J kg-1", 1.0, 0.0),
        ("%", "1", 0.01, 0.0),
        ("", "1", 1.0, 0.0),
        ("Celsius", "K", 1.0, 273.15),
        ("hPa", "Pa", 100.0, 0.0),
        ("kg m**-2", "mm", 1.0, 0.0),
        ("m", "mm", 1000.0, 0.0),
        ("kg m-2 s-1", "mm h-1", 3600.0, 0.0),
        ("kilometres", "m", 1000.0, 0.0),
    ],
)
def test_units_are_converted(units, target, scale, offset):
    assert unit_conversion(units, target) == pytest.approx((scale, offset), rel=1e-11)


@pytest.mark.parametrize(("units", "target"), [("dBZ", "mm h-1"), ("mm", "mm h-1"), ("pixels", "m"), ("a b ((", "m")])
def test_other_quantities_are_refused(units, target):
    assert unit_conversion(units, target) is None
