"""Write the synthetic months that the template is born with, made by the domain's own generator."""

import logging

import pyarrow as pa
import pyarrow.parquet as pq

from lifecycle.data.months import SAMPLE_MARK, file_name, is_sample, list_months
from lifecycle.errors import MisuseError, run
from lifecycle.params import read_params
from lifecycle.paths import DATA

log = logging.getLogger(__name__)


def mark_sample(table: pa.Table) -> pa.Table:
    """Mark a table as synthetic, so that nobody takes its figures for real ones."""
    return table.replace_schema_metadata({SAMPLE_MARK: b"made by the domain's generator"})


def main(_argv: list[str] | None = None) -> None:
    """Write the sample's months to data/."""
    params = read_params()
    generate_month = params.load_domain().generate_month
    name = file_name(params.ingest.source)
    DATA.mkdir(exist_ok=True)
    present = list_months(DATA, name).values()
    for path in present:
        if not is_sample(path):
            raise MisuseError(f"{path} is real data, which the sample must not mix with. Move it away first.")
    for path in present:
        path.unlink()
    for month in params.sample.months:
        path = DATA / name.format(month=month)
        table = generate_month(month, params.sample.rows_per_month, params.sample.seed)
        pq.write_table(mark_sample(table), path, compression="zstd")
        log.info("sample month=%s rows=%d bytes=%d", month, len(table), path.stat().st_size)


if __name__ == "__main__":
    run(main)
