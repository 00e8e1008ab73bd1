"""The sample is written as params.yaml says, and never over real months."""

import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from readings import generate_month, write_month, write_params

from lifecycle.data.months import is_sample
from lifecycle.errors import MisuseError
from lifecycle.sample import main

DATA = Path("data")


pytestmark = pytest.mark.usefixtures("readings_folder")


def hash_data():
    """Hash every file of data/."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in DATA.iterdir()}


def test_sample_is_the_generators_months_with_a_mark() -> None:
    main()

    assert sorted(hash_data()) == ["readings_2024-01.parquet", "readings_2024-02.parquet"]
    path = DATA / "readings_2024-02.parquet"
    assert is_sample(path)
    assert pq.read_table(path).equals(generate_month("2024-02", 40, 5))


def test_sample_is_the_same_bytes_again() -> None:
    main()
    first = hash_data()

    main()

    assert hash_data() == first


def test_sample_of_other_months_takes_the_place_of_the_former_one(tmp_path) -> None:
    main()
    write_params(tmp_path, {"sample": {"months": ["2024-02", "2024-03"], "rows_per_month": 20}})

    main()

    assert sorted(hash_data()) == ["readings_2024-02.parquet", "readings_2024-03.parquet"]
    assert len(pq.read_table(DATA / "readings_2024-02.parquet")) == 20


def test_sample_leaves_other_files_alone() -> None:
    DATA.mkdir()
    (DATA / "notes.txt").write_text("mine", encoding="utf-8")

    main()

    assert (DATA / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("month", ["2024-01", "2025-06"])
def test_sample_is_refused_beside_real_months_and_changes_nothing(month) -> None:
    main()
    write_month(DATA, month)
    before = hash_data()

    with pytest.raises(
        MisuseError, match=rf"^data/readings_{month}\.parquet is real data, which the sample must not"
    ):
        main()

    assert hash_data() == before
