"""One line of the benchmark's table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """A figure and its limit; ``floor`` and ``ceiling`` are None where there is none."""

    what: str
    figure: float
    floor: float | None = None
    ceiling: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        """Tell whether the figure is within its limits."""
        above = self.floor is None or self.figure >= self.floor
        return above and (self.ceiling is None or self.figure <= self.ceiling)

    def __str__(self) -> str:
        limit = f">= {self.floor:g}" if self.floor is not None else ""
        limit += f"<= {self.ceiling:g}" if self.ceiling is not None else ""
        mark = ("ok" if limit else "") if self.holds else "MISSED"
        return f"{mark:6} {self.figure:9.4g}  {limit:8}  {self.what}\n{'':28}{self.note}"
