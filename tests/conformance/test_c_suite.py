"""The backend tests of the ``onnx`` package as generated C: no other number, no crash."""

from __future__ import annotations

import pytest

from tests.conformance.c_suite.written import CaseInC, Written, written
from tests.conformance.onnx_suite.cases import node_cases, stored_cases

_LEAST = 0.7
"""Of the cases that onnxruntime runs, as many can be written."""

KINDS = {
    "functions": "rms_normalization_2d_axis0 group_normalization_example center_crop_pad_crop",
    "attention": "attention_4d_attn_mask rotary_embedding_with_rotary_dim",
    "losses": "nllloss_NC_expanded sce_mean_weight",
    "places": "gathernd_example_int32 scatternd scatter_elements_with_axis reversesequence_time",
    "numbers": "mod_mixed_sign_int64 add_uint32 div_int32_trunc cumsum_1d_int32_exclusive",
    "waves": "stft_with_window dft_axis_opset19",
    "truths": "isinf isnan triu_pos",
    "angles": "acosh atanh tan_example sinh",
    "reductions": "reduce_prod_keepdims_random reduce_log_sum_desc_axes lppool_2d_pads lrn_default",
    "scalars": "matmul_1d_1d reduce_sum_default_axes_keepdims_example",
}


def _check(found: list[CaseInC]) -> None:
    faults = [f for f in found if f.ending in (Written.CRASH, Written.MISMATCH)]
    assert [f"{f.case}: {f.ending}: {f.detail}" for f in faults] == []


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_every_kind(kind: str) -> None:
    cases = {case.name.removeprefix("test_"): case for case in node_cases()}
    found = [written(cases[name]) for name in KINDS[kind].split()]
    _check(found)
    assert len(found) == len(KINDS[kind].split())
    assert [f for f in found if f.ending is Written.REFUSED] == []


@pytest.mark.slow
def test_a_fifth_of_the_operators() -> None:
    found = [written(case) for case in node_cases()[::5]]
    _check(found)
    run = [f for f in found if f.ending is not Written.SKIPPED]
    assert sum(f.ending is Written.SAME for f in run) >= _LEAST * len(run)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["simple", "pytorch-converted", "pytorch-operator"])
def test_a_fifth_of_the_stored_models(kind: str) -> None:
    _check([written(case) for case in list(stored_cases(kind))[::5]])
