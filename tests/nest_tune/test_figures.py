"""One form for each quantity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nest_tune.figures import change, duration, figure, figures, percent


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (1234, "npu_cycles", "1,234"),
        (98816.0, "size_bytes", "98,816"),
        (0.34312, "latency_ms", "0.343"),
        (1234.5678, "latency_ms", "1,234.568"),
        (0.0116425, "latency_ms", "0.0116"),
        (0.1, "latency_ms", "0.100"),
        (0.0, "latency_ms", "0.000"),
        (0.9466666, "accuracy", "0.9467"),
        (-0.0022222, "accuracy_drop", "-0.0022"),
        (27.94, "sqnr_db", "27.9"),
        (None, "energy_mj", "–"),
        (float("nan"), "energy_mj", "nan"),
        (12350.7, "own_metric", "12,351"),
        (9999.4, "own_metric", "9,999"),
        (9999.6, "own_metric", "10,000"),
        (85.5, "own_metric", "85.5"),
    ],
)
def test_how_a_quantity_is_written(value: float | None, metric: str, text: str) -> None:
    assert figure(value, metric) == text


@given(st.floats(1e-9, 1e9))
def test_three_digits_are_always_shown(value: float) -> None:
    shown = float(figure(value, "latency_ms").replace(",", ""))
    assert shown == pytest.approx(value, rel=0.00501)


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (-16384, "dram_peak_bytes", "-16,384"),
        (123, "npu_cycles", "+123"),
        (0.01703, "latency_ms", "+0.0170"),
        (0.0, "accuracy_drop", "+0.0000"),
        (1.25, "sqnr_db", "+1.2"),
    ],
)
def test_differences_have_a_sign(value: float, metric: str, text: str) -> None:
    assert figure(value, metric, signed=True) == text


def test_shares_and_changes_have_one_form() -> None:
    assert percent(0.24587) == "24.6 %"
    assert percent(0.5, 0) == "50 %"
    assert percent(0.0123, signed=True) == "+1.2 %"
    assert percent(-0.0123, 2, signed=True) == "-1.23 %"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (89, "89 s"),
        (90, "1 min 30 s"),
        (125.4, "2 min 05 s"),
        (599, "9 min 59 s"),
        (600, "10 min"),
        (5399, "89 min"),
        (5400, "1.5 h"),
    ],
)
def test_how_time_that_passes_is_written(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("values", "metric", "texts"),
    [
        ((0.10412, 0.10393), "latency_ms", ["0.1041", "0.1039"]),
        ((0.10412, 0.104119, None), "latency_ms", ["0.104120", "0.104119", "–"]),
        ((0.104, 0.104), "latency_ms", ["0.104", "0.104"]),
        ((0.5, 0.5 + 1e-12, 0.25), "latency_ms", ["0.500", "0.500", "0.250"]),
        ((31.04, 30.99), "sqnr_db", ["31.04", "30.99"]),
        ((12350.7, 12350.9), "own_metric", ["12,350.7", "12,350.9"]),
        ((3693, 3694), "npu_cycles", ["3,693", "3,694"]),
        ((), "latency_ms", []),
    ],
)
def test_values_that_differ_look_different_side_by_side(
    values: tuple[float | None, ...], metric: str, texts: list[str]
) -> None:
    assert figures(values, metric) == texts


@pytest.mark.parametrize(
    ("share", "places", "text"),
    [
        (0.0, 1, "0 %"),
        (0.00000212, 1, "less than +0.01 %"),
        (-0.00004, 2, "less than -0.01 %"),
        (0.00032, 1, "+0.03 %"),
        (0.0019, 1, "+0.19 %"),
        (-0.1234, 1, "-12.3 %"),
        (-0.1234, 2, "-12.34 %"),
        (41.0, 1, "+4,100.0 %"),
    ],
)
def test_changes_have_no_more_digits_than_say_something(
    share: float, places: int, text: str
) -> None:
    assert change(share, places) == text


@given(
    st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=5),
    st.sampled_from(["latency_ms", "accuracy", "own_metric", "sqnr_db"]),
)
def test_no_value_loses_a_digit_beside_others(values: list[float], metric: str) -> None:
    for shown, value in zip(figures(values, metric), values, strict=True):
        assert len(shown) >= len(figure(value, metric))
