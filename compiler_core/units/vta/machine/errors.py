"""What can be wrong with a VTA program while it runs."""

from __future__ import annotations

from compiler_core.errors import NestTuneError


class ProgramError(NestTuneError):
    """A program asks for something that the machine cannot do: whoever made the program must act.

    Args:
        message: What is wrong, the value seen and what is allowed; one line.
        error_class: Short name of the kind of fault, as verifier findings name it.
        instruction: Index of the instruction in its stream; ``None`` where the whole program is
            meant.
        hint: What to do next.
    """

    def __init__(
        self, message: str, *, error_class: str, instruction: int | None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.error_class = error_class
        self.instruction = instruction
