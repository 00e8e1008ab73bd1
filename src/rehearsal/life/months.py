"""The months of a world that shifts: the task's own generator, and after a while with another seed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from lifecycle.data.months import is_sample
from lifecycle.errors import MisuseError
from lifecycle.params import Params
from rehearsal.replay import Replay, read_month


@dataclass(frozen=True)
class Months:
    """The months after the sample's newest one as files.

    Attributes
    ----------
    folder : Path
        Where they lie.
    params : Params
    shift : int
        From the month of this place on they are another world's, which the generator makes of another seed.
    """

    folder: Path
    params: Params
    shift: int

    def name(self, place: int) -> str:
        """Name the month that comes so many after the sample's newest one."""
        return str(np.datetime64(max(self.params.sample.months), "M") + place)

    def read(self, month: str) -> Replay:
        """Read a month's rows as requests, and what comes true of them."""
        return read_month(self.write(month, self.folder), self.params.load_domain())

    def write(self, month: str, folder: Path) -> Path:
        """Write a month as its source would; without the sample's mark it counts as real."""
        sample, name = self.params.sample, Path(self.params.ingest.source).name
        folder.mkdir(exist_ok=True)
        path = folder / name.format(month=month)
        seed = sample.seed + (month >= self.name(self.shift))
        table = self.params.load_domain().generate_month(month, sample.rows_per_month, seed)
        pq.write_table(table.replace_schema_metadata(None), path)
        return path


def unmark(folder: Path) -> None:
    """Let the synthetic months in a folder count as real ones.

    Raises
    ------
    MisuseError
        If one of them is real: what the generator makes does not follow it.
    """
    for path in sorted(folder.glob("*.parquet")):
        if not is_sample(path):
            raise MisuseError(f"{path.name} is no month of the sample, which alone the loop can go on from.")
        table = pq.read_table(path).replace_schema_metadata(None)
        # It may be a link into a cache that must not change.
        path.unlink()
        pq.write_table(table, path)
