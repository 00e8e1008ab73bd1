"""Bring months of data in: download, check against the contract, move into place, hand over to DVC.

All of the months that were asked for arrive, or none: a bad one changes nothing.
"""

import argparse
import filecmp
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.callbacks import TqdmCallback

from lifecycle.data.contract import read_contract
from lifecycle.data.months import file_name, is_sample, list_months
from lifecycle.errors import AbsentError, MisuseError, SourceError, run
from lifecycle.params import MONTH, Params, read_params
from lifecycle.paths import DATA, INCOMING
from lifecycle.prepare import check_month
from lifecycle.repository import hash_file

# A download that breaks off starts again this many times.
ATTEMPTS = 3
# HTTP's words for a file that is not there; public buckets that may not be listed say 403.
ABSENT = (403, 404, 410)

log = logging.getLogger(__name__)


def locate_month(source: str, name: str, month: str) -> str:
    """Return a month's address.

    Parameters
    ----------
    source : str
        A folder, or an address with ``{month}`` in it.
    name : str
        The files' name, used in a folder.
    month : str
    """
    address = source if "{month}" in source else f"{source.rstrip('/')}/{name}"
    return address.replace("{month}", month)


def download(address: str, destination: Path) -> None:
    """Copy a file from a folder, an http(s) or an s3 address; start anew when it breaks off.

    Raises
    ------
    AbsentError
        If the source has no such file.
    SourceError
        If it broke off at every attempt.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _copy_stream(address, destination)
            return
        # Each kind of source has errors of its own.
        except Exception as error:  # pylint: disable=broad-exception-caught
            if isinstance(error, FileNotFoundError) or getattr(error, "status", None) in ABSENT:
                raise AbsentError(
                    f"{address} does not exist at the source. Correct MONTHS or SOURCE; the newest months come late."
                ) from error
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            log.warning("ingest address=%s attempt=%d failed=%r", address, attempt, reason)
    raise SourceError(f"{address} could not be read in {ATTEMPTS} attempts; the last one ended with {reason}.")


def _copy_stream(address: str, destination: Path) -> None:
    """Copy a file from its first byte to its last, with a progress bar on a terminal."""
    files, path = fsspec.url_to_fs(address)
    with TqdmCallback({"unit": "B", "unit_scale": True, "desc": destination.name, "disable": None}) as progress:
        files.get_file(path, str(destination), callback=progress)


def choose_outdated(folder: Path, name: str, arriving: Sequence[str], keep_months: int | None) -> list[Path]:
    """Choose the months that leave: the sample when the first real month arrives, and the oldest beyond the window.

    Parameters
    ----------
    folder : Path
    name : str
        The files' name, with ``{month}`` in it.
    arriving : sequence of str
        Months that come in.
    keep_months : int or None
        Length of the window; None keeps all.

    Returns
    -------
    list of Path
    """
    present = {month: path for month, path in list_months(folder, name).items() if month not in arriving}
    samples = {month for month, path in present.items() if is_sample(path)}
    real = sorted({*present, *arriving} - samples)
    old = real[:-keep_months] if keep_months else []
    return [folder / name.format(month=month) for month in sorted({*samples, *old})]


def fetch_months(months: Sequence[str], source: str, params: Params, folder: Path) -> dict[str, Path]:
    """Download months into a folder, and check each against the contract.

    Parameters
    ----------
    months : sequence of str
    source : str
    params : Params
    folder : Path

    Returns
    -------
    dict of str to Path
        By month.

    Raises
    ------
    SourceError, ContractError
        If one cannot be had, or is not what the contract says.
    """
    domain = params.load_domain()
    contract = read_contract(domain.CONTRACT)
    name = file_name(params.ingest.source)
    fetched = {month: folder / name.format(month=month) for month in months}
    for month, path in fetched.items():
        download(locate_month(source, name, month), path)
        count = check_month(path, month, contract, domain)
        log.info("ingest month=%s rows=%d clean=%d left_out=%s", month, count.rows, count.clean, count.left_out)
    return fetched


def place_months(fetched: dict[str, Path], params: Params) -> list[str]:
    """Move those of the months that are new or changed into data/, and remove the outdated ones.

    Parameters
    ----------
    fetched : dict of str to Path
        As ``fetch_months`` gives it.
    params : Params

    Returns
    -------
    list of str
        The months that are new or changed.
    """
    DATA.mkdir(exist_ok=True)
    outdated = choose_outdated(DATA, file_name(params.ingest.source), list(fetched), params.ingest.keep_months)
    changed = {month: path for month, path in fetched.items() if not _is_present(path)}
    for path in changed.values():
        path.replace(DATA / path.name)
    for path in outdated:
        log.info("ingest removed=%s", path.name)
        path.unlink()
    return list(changed)


def _is_present(path: Path) -> bool:
    """Tell whether data/ holds the same bytes already."""
    present = DATA / path.name
    return present.exists() and filecmp.cmp(path, present, shallow=False)


def save_to_cache(paths: Iterable[Path]) -> None:
    """Give files to DVC's cache before they are moved into data/.

    Otherwise a run that is killed between the move and ``dvc add`` leaves files of which DVC knows no copy, and
    the ``dvc pull`` of the next run refuses to put data/ in order.
    """
    # Importing DVC takes half a second, which a month that is refused does not pay.
    from dvc.repo import Repo  # pylint: disable=import-outside-toplevel

    with Repo() as repo:
        cache = repo.cache.local
        for path in paths:
            cache.add(str(path), cache.fs, hash_file(path))


def add_months(fetched: dict[str, Path], params: Params) -> list[str]:
    """Move months into data/ as `place_months` does, and hand data/ over to DVC.

    Raises
    ------
    SourceError
        If DVC cannot take them.
    """
    save_to_cache(fetched.values())
    changed = place_months(fetched, params)
    # Also when nothing changed: a run that was killed may have left the file and not its hash.
    # With --quiet, DVC would not say what failed either.
    added = subprocess.run([sys.executable, "-m", "dvc", "add", str(DATA)], stdout=subprocess.DEVNULL, check=False)
    if added.returncode:
        raise SourceError(
            f"the months lie in {DATA}/, but dvc add failed with {added.returncode}. Run the same again."
        )
    return changed


@contextmanager
def open_incoming() -> Iterator[Path]:
    """Give a new folder for months that arrive; what a killed run left behind is removed first."""
    shutil.rmtree(INCOMING, ignore_errors=True)
    INCOMING.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=INCOMING) as folder:
        yield Path(folder)


def parse_months(text: str) -> list[str]:
    """Read months such as ``2024-01,2024-02``.

    Raises
    ------
    MisuseError
        If one is no month.
    """
    months = [month.strip() for month in text.split(",") if month.strip()]
    for month in months:
        if not MONTH.fullmatch(month):
            raise MisuseError(f"{month!r} is no month; expected MONTHS=2024-01,2024-02.")
    if not months:
        raise MisuseError("no month is named; expected MONTHS=2024-01,2024-02.")
    return sorted(set(months))


def main(argv: Sequence[str] | None = None) -> None:
    """Bring months into data/ and hand them over to DVC."""
    parser = argparse.ArgumentParser(prog="python -m lifecycle.ingest", description=main.__doc__)
    parser.add_argument("--months", required=True, help="2024-01,2024-02")
    parser.add_argument("--source", help="a folder or an address; ingest.source of params.yaml by default")
    arguments = parser.parse_args(argv)
    params = read_params()
    months = parse_months(arguments.months)
    with open_incoming() as folder:
        fetched = fetch_months(months, arguments.source or params.ingest.source, params, folder)
        changed = add_months(fetched, params)
    log.info("ingest changed=%s", ",".join(changed) or "none")


if __name__ == "__main__":
    run(main)
