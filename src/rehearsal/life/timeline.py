"""What happened when, in lines of at most 80 columns, and what should not have happened."""

import sys
import textwrap
import time
from dataclasses import dataclass, field

from lifecycle.errors import RefusedError

WIDTH = 80
BOLD, RED, PLAIN = "\033[1m", "\033[31m", "\033[0m"


@dataclass
class Timeline:
    """What happened when; ``faults`` are what should not have."""

    start: float = field(default_factory=time.monotonic)
    faults: list[str] = field(default_factory=list)

    def begin(self, phase: str) -> None:
        """Print a phase's name."""
        print(f"\n{_colour(phase, BOLD)}", flush=True)

    def say(self, text: str, colour: str = "", follows: bool = False) -> None:
        """Print what happened, with the seconds since the start; without them what follows from the line before."""
        stamp = " " * 12 if follows else f"{time.monotonic() - self.start:6.1f} s  "
        lines = textwrap.wrap(text, WIDTH - len(stamp), break_long_words=True) or [""]
        for place, line in enumerate(lines):
            print(f"{'' if place else stamp:{len(stamp)}}{_colour(line, colour)}", flush=True)

    def expect(self, holds: object, what: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.faults.append(what)
            self.say(f"NOT AS EXPECTED: {what}", RED)

    def close(self) -> None:
        """End it.

        Raises
        ------
        RefusedError
            If anything was not as expected.
        """
        if self.faults:
            raise RefusedError(f"{len(self.faults)} not as expected: {'; '.join(self.faults)}")
        self.say("all as expected")


def _colour(text: str, colour: str) -> str:
    """Colour a text, on a terminal alone."""
    return f"{colour}{text}{PLAIN}" if colour and sys.stdout.isatty() else text
