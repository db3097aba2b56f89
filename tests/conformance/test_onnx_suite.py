"""The backend tests of the ``onnx`` package: a fifth here, all of them by ``make conformance``."""

from __future__ import annotations

import pytest

from tests.conformance.onnx_suite.cases import Case, node_cases, stored_cases
from tests.conformance.onnx_suite.guard import guarded
from tests.conformance.onnx_suite.outcome import Outcome, outcome

_EVERY = 5


def _check(found: list[Outcome]) -> None:
    assert [f"{item.case}: {item.cause}: {item.detail}" for item in found if item.failed] == []
    assert sum(not item.skipped for item in found) > len(found) / 2


@pytest.fixture(scope="module")
def nodes() -> tuple[Case, ...]:
    return node_cases()


KINDS = {
    "text": "string_concat strnormalizer string_split",
    "sequences": "sequence_map_identity_2_sequences sequence_insert split_to_sequence_1",
    "control flow": "test_if_opt test_if_seq test_loop11 test_loop16 test_scan9",
    "data decide": "test_nonzero test_unique_sorted test_compress_0 nonmaxsuppression_two",
    "nothing at all": "reduce_sum_empty_set test_concat_1d_axis_0 reshape_allowzero",
    "branches": "test_affine_grid_2d_expanded test_affine_grid_3d_align_corners_expanded",
    "empty": "test_causal_conv_with_state_kernel_size_one",
    "narrow": "cast_FLOAT_to_BFLOAT16 cast_FLOAT8E4M3FN_to_FLOAT UINT4_to_FLOAT",
    "on the unit": "test_conv_with_strides_padding test_relu test_averagepool_2d_strides",
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_every_kind(nodes: tuple[Case, ...], kind: str) -> None:
    patterns = KINDS[kind].split()
    chosen = [next(case for case in nodes if pattern in case.name) for pattern in patterns]
    _check([outcome(case) for case in chosen])


@pytest.mark.slow
def test_a_fifth_of_the_operators(nodes: tuple[Case, ...]) -> None:
    _check(list(guarded(list(nodes[::_EVERY]))))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["simple", "pytorch-converted", "pytorch-operator"])
def test_a_fifth_of_the_stored_models(kind: str) -> None:
    _check(list(guarded(list(stored_cases(kind))[::_EVERY])))
