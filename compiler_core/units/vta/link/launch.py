"""What a segment launches: programs by core."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from compiler_core.units.vta.merge.run import MergedRun


@dataclass(frozen=True, eq=False)
class CoreProgram:
    """What one core executes in a launch.

    Attributes:
        core: Number of the core.
        instructions: ``uint8[n, 16]``.
    """

    core: int
    instructions: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class VtaLaunch:
    """One operator: a program, or several that start together on a core each.

    A launch that continues the one before has no instructions of its own: those of its layer are in
    the program of the first one of its run.

    Attributes:
        name: ``launch-000`` and so on within the segment.
        layer: Name of the operator.
        sources: Names of the graph nodes that it stands for.
        task: Id of its task.
        programs: By core, ascending.
        run: The program that it is a part of, where it holds several layers.
        part: Which of them it is.
    """

    name: str
    layer: str
    sources: tuple[str, ...]
    task: str
    programs: tuple[CoreProgram, ...]
    run: MergedRun | None = None
    part: int = 0

    @property
    def cores(self) -> tuple[int, ...]:
        """Numbers of the cores that take part, ascending."""
        return tuple(program.core for program in self.programs)

    @property
    def code(self) -> bytes:
        """Bytes of all programs, one after another."""
        return self.instructions.tobytes()

    @property
    def own_code(self) -> bytes:
        """Bytes of its layer's instructions, in the program of a run, too."""
        if self.run is not None:
            return bytes(self.run.instructions[self.run.layers == self.part])
        return self.code

    @property
    def instruction_count(self) -> int:
        """Of its layer, in all programs."""
        if self.run is not None:
            return self.run.instruction_count(self.part)
        return sum(len(program.instructions) for program in self.programs)

    def on_core(self, core: int) -> VtaLaunch:
        """The same on another core."""
        (program,) = self.programs
        return replace(self, programs=(replace(program, core=core),))

    @property
    def instructions(self) -> npt.NDArray[np.uint8]:
        """``uint8[n, 16]``: the programs of all cores, one after another."""
        if len(self.programs) == 1:
            return self.programs[0].instructions
        return np.concatenate([program.instructions for program in self.programs])
