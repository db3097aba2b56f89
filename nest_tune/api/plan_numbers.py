"""The numbers of a model that is planned: which passes its programs have follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from compiler_core.compile.sources import FloatModel, QuantizedModel, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.partition.groups import build_groups
from compiler_core.partition.overlaps import LinkedModel, linked_model
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.quantize.profile import Profile
from compiler_core.targets.integer_units import integer_units, target_arithmetic
from compiler_core.targets.target import Target
from nest_tune.api.values import Arrays, Progress
from nest_tune.stores.default_scheme import with_default_scheme
from nest_tune.stores.profile_store import stored_profile


@dataclass(frozen=True, eq=False)
class PlanNumbers:
    """A model with calibration data, quantized as ``compile`` does it under one plan or another.

    Attributes:
        source: The model.
        given: Its scheme, where it has one, and what is decided of programs.
        target: The machine.
        samples: Calibration data.
        progress: Told what is being done.
    """

    source: FloatModel
    given: Configuration
    target: Target
    samples: Arrays
    progress: Progress

    def everywhere(self) -> QuantizedGraph | None:
        """With everything on the NPU that can run there: what searches go by.

        Returns:
            ``None`` where several units hold integers: each has numbers of its own.

        Raises:
            InputError: The samples do not fit the model.
        """
        if len(integer_units(self.target)) > 1:
            return None
        places = build_groups(self.source.graph, target_arithmetic(self.target)).untuned
        return self._quantized(replace(self.given, plan=dict(places)), is_pinned=True).quantized

    def of_plan(self, planned: Configuration, *, is_pinned: bool) -> QuantizedModel:
        """As the package of a plan has them.

        Args:
            planned: With the plan.
            is_pinned: Whether somebody decided it, so that nothing leaves its unit.

        Raises:
            InputError: The plan or the samples do not fit the model.
        """
        return self._quantized(planned, is_pinned=is_pinned)

    def linked(self, quantized: QuantizedModel) -> LinkedModel:
        """What a package takes, and its layers of their programs."""
        return linked_model(quantized, self.given, self.target)

    def _quantized(self, planned: Configuration, *, is_pinned: bool) -> QuantizedModel:
        arithmetic = target_arithmetic(self.target)
        decided = with_default_scheme(
            replace(planned, schedules={}),
            self.source,
            self._profile,
            arithmetic=arithmetic,
            progress=self.progress,
            pinned=is_pinned,
        )
        if dict(planned.plan) != dict(self.given.plan):  # exponents are those of one plan
            decided = replace(decided, scheme=replace(decided.scheme, exponents={}))
        return quantize_model(self.source, decided, self._profile, arithmetic=arithmetic)

    @cached_property
    def _profile(self) -> Profile:
        size = self.given.scheme.quantization().calibration
        return stored_profile(
            self.source.graph,
            self.samples,
            [size] if isinstance(size, int) else [],
            progress=lambda done, total: self.progress(f"calibrating: {done} of {total} samples"),
        )
