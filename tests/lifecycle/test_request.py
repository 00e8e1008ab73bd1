"""What a caller sends: what is no JSON is told without its text, and what a row may hold is shown."""

import pytest

from lifecycle.data.contract import read_contract, read_request
from lifecycle.serving.openapi import make_example
from lifecycle.serving.request import RequestError, read_rows


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"size": "\xff"}', "byte 10 is not UTF-8"),
        (b'{"size": NaN}', "NaN is no JSON number"),
        (b"[" * 100_000, "it is nested too deeply"),
    ],
)
def test_body_that_is_no_json_is_refused_with_the_reason(body: bytes, said: str) -> None:
    with pytest.raises(RequestError, match=f"the body is no JSON: {said}") as refused:
        read_rows(body)

    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("bounds", "value"),
    [({}, 0), ({"minimum": 3}, 3), ({"maximum": -7}, -7), ({"maximum": 7}, 0), ({"minimum": -2, "maximum": 7}, -2)],
)
def test_example_holds_a_number_that_the_contract_takes(bounds: dict[str, float], value: float) -> None:
    stated = {"meaning": "of the probe", "unit": "mm", "known": "start", "max_broken_share": 0.2}
    end = stated | {"name": "seconds", "type": "number", "known": "end"}
    columns = [
        stated | {"name": "at", "type": "timestamp"},
        stated | {"name": "size", "type": "number"} | bounds,
        end,
    ]
    contract = read_contract({"time": "at", "target": "seconds", "title": "Readings", "columns": columns})

    example = make_example(contract)

    assert example["size"] == value
    assert read_request(contract, [example])["size"].tolist() == [value]
