"""Months come in from folders, HTTP and S3: all that were asked for, or none."""

import io
import itertools
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pyarrow.parquet as pq
import pytest
import s3fs
from dvc.repo import Repo
from moto.server import ThreadedMotoServer
from readings import NAME, generate_month, write_month, write_params

from lifecycle.data.months import SAMPLE_MARK
from lifecycle.errors import ContractError, MisuseError, SourceError
from lifecycle.ingest import download, fetch_months, main, parse_months, place_months
from lifecycle.params import read_params
from lifecycle.paths import INCOMING

DATA = Path("data")
# More than a client that asks for ranges reads at once.
LARGE_BYTES = 12 << 20


@pytest.fixture(autouse=True)
def fixture_folder(tmp_path, monkeypatch):
    """Work in a folder with parameters and no data."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write_params(Path())


@pytest.fixture(name="source")
def fixture_source(tmp_path):
    """A folder that months come from."""
    for month in ("2024-01", "2024-02", "2024-03"):
        write_month(tmp_path / "source", month)
    return tmp_path / "source"


class MonthServer(ThreadingHTTPServer):
    """Answers with one content, after the faults that it is told: a status, or "cut" for half of the content."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), MonthHandler)
        self.content = b""
        self.faults = iter(())
        self.asked = []
        self.address = f"http://127.0.0.1:{self.server_port}/{NAME}"


class MonthHandler(BaseHTTPRequestHandler):
    """Knows no ranges, as many plain servers."""

    def do_GET(self):  # pylint: disable=invalid-name  # the name is the library's
        """Send the content, or the next fault."""
        self.server.asked.append(self.path)
        fault = next(self.server.faults, None)
        if isinstance(fault, int):
            self.send_error(fault)
            return
        content = self.server.content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
        self.close_connection = True

    def log_message(self, *_arguments):
        """Say nothing."""


@pytest.fixture(name="server")
def fixture_server():
    """A web server on loopback."""
    with MonthServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(name="bucket", scope="module")
def fixture_bucket():
    """An S3 bucket on loopback."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    names = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (names | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}).items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        client = boto3.client("s3")
        client.create_bucket(Bucket="months")
        yield client
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def fetch(months, source, tmp_path, name="incoming"):
    """Fetch months into a new folder."""
    folder = tmp_path / name
    folder.mkdir()
    return fetch_months(months, str(source), read_params(), folder)


def ingest(months, source):
    """Bring months in."""
    main(["--months", ",".join(months), "--source", str(source)])


def list_data():
    """List data/."""
    return sorted(path.name for path in DATA.iterdir()) if DATA.exists() else []


def name_months(*months):
    """Name the files of months."""
    return [NAME.format(month=month) for month in months]


def write_sample(month):
    """Write a month into data/ that the domain's generator is said to have made."""
    DATA.mkdir(exist_ok=True)
    table = generate_month(month, 40, 1).replace_schema_metadata({SAMPLE_MARK: b"yes"})
    pq.write_table(table, DATA / NAME.format(month=month))


@pytest.mark.parametrize("suffix", ["", "/", f"/{NAME}"])
def test_month_comes_from_a_folder_as_it_is(suffix, source, tmp_path) -> None:
    fetched = fetch(["2024-01", "2024-02"], f"{source}{suffix}", tmp_path)

    assert list(fetched) == ["2024-01", "2024-02"]
    for month, path in fetched.items():
        assert path.name == NAME.format(month=month)
        assert path.read_bytes() == (source / path.name).read_bytes()


def test_month_comes_from_a_web_server_under_any_name(server, source, tmp_path) -> None:
    server.content = (source / NAME.format(month="2024-01")).read_bytes()

    fetched = fetch(["2024-01"], server.address.replace("readings", "other"), tmp_path)

    assert server.asked == ["/other_2024-01.parquet"]
    assert fetched["2024-01"].name == NAME.format(month="2024-01")
    assert fetched["2024-01"].read_bytes() == server.content


def test_large_file_comes_from_a_server_without_ranges(server, tmp_path) -> None:
    server.content = bytes(range(256)) * (LARGE_BYTES // 256)

    download(server.address, tmp_path / "month")

    assert (tmp_path / "month").read_bytes() == server.content
    assert len(server.asked) == 1


@pytest.mark.parametrize("fault", ["cut", 500])
def test_download_that_breaks_off_twice_starts_again(fault, server, source, tmp_path, caplog) -> None:
    server.content = (source / NAME.format(month="2024-01")).read_bytes()
    server.faults = iter([fault, fault])

    with caplog.at_level(logging.WARNING, "lifecycle.ingest"):
        fetched = fetch(["2024-01"], server.address, tmp_path)

    assert fetched["2024-01"].read_bytes() == server.content
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "attempt=2" in caplog.text


@pytest.mark.parametrize("fault", ["cut", 503])
def test_download_that_always_breaks_off_gives_up_after_three_attempts(fault, server, tmp_path) -> None:
    server.content = bytes(1000)
    server.faults = itertools.repeat(fault)

    with pytest.raises(
        SourceError, match=r"_2024-01\.parquet could not be read in 3 attempts; the last one ended with"
    ):
        fetch(["2024-01"], server.address, tmp_path)
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [403, 404, 410])
def test_month_that_the_server_does_not_have_is_asked_for_once(status, server, tmp_path) -> None:
    server.faults = itertools.repeat(status)

    with pytest.raises(
        SourceError, match=r"_2024-01\.parquet does not exist at the source\. Correct MONTHS or SOURCE"
    ):
        fetch(["2024-01"], server.address, tmp_path)
    assert len(server.asked) == 1


def test_month_that_a_folder_does_not_have_is_told(source, tmp_path) -> None:
    with pytest.raises(SourceError, match=rf"^{source}/readings_2030-01\.parquet does not exist at the source\."):
        fetch(["2030-01"], source, tmp_path)


def test_month_comes_from_s3(bucket, source, tmp_path) -> None:
    content = (source / NAME.format(month="2024-01")).read_bytes()
    bucket.put_object(Bucket="months", Key="raw/readings_2024-01.parquet", Body=content)

    fetched = fetch(["2024-01"], f"s3://months/raw/{NAME}", tmp_path)

    assert fetched["2024-01"].read_bytes() == content


@pytest.mark.parametrize("address", [f"s3://months/raw/{NAME}", f"s3://no-such-bucket/{NAME}"])
@pytest.mark.usefixtures("bucket")
def test_month_that_s3_does_not_have_is_told(address, tmp_path) -> None:
    with pytest.raises(SourceError, match=r"_2030-01\.parquet does not exist at the source\."):
        fetch(["2030-01"], address, tmp_path)


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        """Say so."""
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal(), True), (io.StringIO(), False)])
def test_progress_is_shown_on_a_terminal_alone(stream, shown, server, tmp_path, monkeypatch) -> None:
    server.content = bytes(2_000_000)
    monkeypatch.setattr(sys, "stderr", stream)

    download(server.address.format(month="2024-01"), tmp_path / "month.parquet")

    assert ("month.parquet: 100%" in stream.getvalue()) == shown
    assert shown or not stream.getvalue()


def test_month_that_breaks_the_contract_is_refused(source, tmp_path) -> None:
    (source / NAME.format(month="2024-04")).write_bytes((source / NAME.format(month="2024-01")).read_bytes())

    with pytest.raises(ContractError, match="outside the file's month"):
        fetch(["2024-04"], source, tmp_path)


def test_first_real_month_sends_the_sample_away(source, tmp_path) -> None:
    write_sample("2024-02")
    write_sample("2024-09")

    changed = place_months(fetch(["2024-01", "2024-02"], source, tmp_path), read_params())

    assert changed == ["2024-01", "2024-02"]
    assert list_data() == name_months("2024-01", "2024-02")
    assert (DATA / NAME.format(month="2024-02")).read_bytes() == (source / NAME.format(month="2024-02")).read_bytes()


def test_real_months_and_files_of_others_stay(source, tmp_path) -> None:
    write_month(DATA, "2023-01")
    (DATA / "notes.txt").touch()

    place_months(fetch(["2024-01"], source, tmp_path), read_params())

    assert list_data() == ["notes.txt", *name_months("2023-01", "2024-01")]


@pytest.mark.parametrize(
    ("keep", "months", "kept"),
    [
        (2, ["2024-02"], ["2024-01", "2024-02"]),
        (2, ["2024-02", "2024-03"], ["2024-02", "2024-03"]),
        (1, ["2024-01", "2024-02", "2024-03"], ["2024-03"]),
        (9, ["2024-02"], ["2023-11", "2023-12", "2024-01", "2024-02"]),
        (None, ["2024-02"], ["2023-11", "2023-12", "2024-01", "2024-02"]),
        # One that is older than the window comes in vain.
        (2, ["2023-10"], ["2023-12", "2024-01"]),
    ],
)
def test_window_keeps_the_newest_months(keep, months, kept, source, tmp_path) -> None:
    write_params(Path(), {"ingest": {"keep_months": keep}})
    write_month(source, "2023-10")
    for month in ("2023-11", "2023-12", "2024-01"):
        write_month(DATA, month)

    place_months(fetch(months, source, tmp_path), read_params())

    assert list_data() == name_months(*kept)


def test_changed_month_takes_the_place_of_the_former_one_and_an_equal_one_does_not(source, tmp_path) -> None:
    place_months(fetch(["2024-01", "2024-02"], source, tmp_path), read_params())
    same = DATA / NAME.format(month="2024-01")
    inode = same.stat().st_ino
    write_month(source, "2024-02", seed=2)

    changed = place_months(fetch(["2024-01", "2024-02"], source, tmp_path, "again"), read_params())

    assert changed == ["2024-02"]
    assert same.stat().st_ino == inode
    name = NAME.format(month="2024-02")
    assert (DATA / name).read_bytes() == (source / name).read_bytes()


def test_ingested_months_are_handed_to_dvc_and_the_same_again_change_nothing(source) -> None:
    Repo.init(no_scm=True).close()
    ingest(["2024-01", "2024-02"], source)
    first, file = Path("data.dvc").read_bytes(), DATA / NAME.format(month="2024-01")
    changed_at = file.stat().st_mtime_ns

    ingest(["2024-02", "2024-01", "2024-01"], source)

    assert b"nfiles: 2" in first
    assert Path("data.dvc").read_bytes() == first
    assert file.stat().st_mtime_ns == changed_at
    assert not list(INCOMING.iterdir())


@pytest.mark.parametrize("bad", ["absent", "broken"])
def test_several_months_come_all_or_none(bad, source) -> None:
    if bad == "broken":
        (source / NAME.format(month="2024-04")).write_bytes(b"PAR1")
    write_sample("2024-02")
    before = (DATA / NAME.format(month="2024-02")).read_bytes()

    with pytest.raises((SourceError, ContractError)):
        ingest(["2024-01", "2024-02", "2024-04"], source)

    assert list_data() == name_months("2024-02")
    assert (DATA / NAME.format(month="2024-02")).read_bytes() == before
    assert not Path("data.dvc").exists()
    assert not list(INCOMING.iterdir())


def test_what_a_killed_run_left_behind_goes_away(source) -> None:
    (INCOMING / "killed").mkdir(parents=True)
    (INCOMING / "killed" / NAME.format(month="2024-01")).touch()

    with pytest.raises(SourceError):
        ingest(["2030-01"], source)

    assert not list(INCOMING.iterdir())


def test_months_that_dvc_does_not_take_are_told(source, capfd) -> None:
    Repo.init(no_scm=True).close()
    # DVC can write no data.dvc here.
    Path("data.dvc").mkdir()

    with pytest.raises(
        SourceError, match=r"^the months lie in data/, but dvc add failed with \d+\. Run the same again\.$"
    ):
        ingest(["2024-01"], source)
    assert "data.dvc' is not a .dvc file" in capfd.readouterr().err


def test_months_are_read_sorted_and_once() -> None:
    assert parse_months(" 2024-02, 2023-12,2024-02,") == ["2023-12", "2024-02"]


@pytest.mark.parametrize(
    "month", ["2024-1", "2024-13", "2024-00", "202401", "24-01", "2024-01-01", "latest", "../2024-01"]
)
def test_malformed_month_is_misuse(month) -> None:
    with pytest.raises(MisuseError, match=rf"^'{month}' is no month; expected MONTHS=2024-01,2024-02\.$"):
        parse_months(f"2024-01,{month}")


@pytest.mark.parametrize("months", ["", " , "])
def test_no_month_is_misuse(months) -> None:
    with pytest.raises(MisuseError, match=r"^no month is named; expected MONTHS=2024-01,2024-02\.$"):
        main(["--months", months])
