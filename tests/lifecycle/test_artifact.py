"""A report from a stranger's run is read whole and as it was meant, or refused in one line."""

import io
import json
import random
import re
import stat
import tracemalloc
import zipfile
import zlib
from html import unescape

import pytest
from test_report_page import HOSTILE, MARKDOWN, make_metric, make_month, make_slice, outline

from lifecycle.errors import RefusedError
from lifecycle.github.artifact import MOST_BYTES, read_report
from lifecycle.views.report_page import render_report

HEAD, BASE = "b" * 40, "a" * 40
# Of an archive's headers: that of the file, and that of the list at the end.
LOCAL, CENTRAL = b"PK\x03\x04", b"PK\x01\x02"
NASTY = [
    "@everyone #1 [x](https://evil.example) ![x](https://evil.example/x.png) www.evil.example <https://evil.example>",
    "</details></td></table><script>alert(1)</script><img src=x onerror=alert(1)><!--",
    "a\n\n# Heading\n\n- item\n\n> [!CAUTION]\n> text",
    "```\n\n```mermaid\npie\n```\n",
    '"]\n    bar [1]\n%%{init: {"securityLevel": "loose"}}%%\nclick x "javascript:alert(1)"',
    "` | ` \\| | **b** __b__ | a@evil.example \u202e\u200b",
]


def make_facts():
    """Make up a report of a change that passed, with every field filled."""
    return {
        "outcome": "pass",
        "model": "first",
        "champion": "model@v1.0.0",
        "reasons": ["mean_absolute_error is 3; the limit is 2."],
        "notes": ["mean_absolute_error overall 2.000 -> 1.900, 5 % better."],
        "figures": {"champion": 2.0, "latency_ms": 0.0125},
        "commit": HEAD,
        "base_commit": BASE,
        "same_test_rows": None,
        "uncommitted": True,
        "tolerance": 0.02,
        "slice_tolerance": 0.1,
        "confidence": 0.95,
        "metrics": [make_metric("mean_absolute_error", True, 1.9, 2.0), make_metric("r2_score", False, 0.75, 0.7)],
        "slices": [make_slice("Sunday", 3.0, 2.0, 0.5), make_slice("Monday", 1.5, 1.6, -0.0625)],
        "months": [make_month("2024-01", None, 90), make_month("2024-02", 100, 90)],
        "left_out": [{"reason": "size above 90", "rows": 12, "base_rows": 11}],
        "parameters": [{"name": "train.max_iter", "base": "60", "value": "600"}],
        "libraries": [{"name": "numpy", "base": "2.4.1", "value": "2.4.2"}],
        "stages": [{"stage": "train", "cause": "params", "what": ["train.max_iter"]}],
        "cross_validation": [{"fold": 1, "train_rows": 50, "test_rows": 25, "value": 2.1, "base": None}],
        "importance": [{"feature": "size", "value": 1.25, "spread": 0.1, "base": 1.0}],
        "drift": [{"name": "size", "distance": 0.25, "psi": 0.1, "missing": 0.02, "base_missing": 0.01}],
        "lock": {"state": "fresh", "reasons": ["train made what dvc.lock names"], "ran": ["train"]},
        "model_bytes": 1_500_000,
        "base_model_bytes": 1_000_000,
        "model_hash": "1" * 32,
        "base_model_hash": "2" * 32,
        "data_hash": f"{'3' * 32}.dir",
        "base_data_hash": f"{'4' * 32}.dir",
        "lock_hash": "5" * 32,
        "base_lock_hash": "6" * 32,
    }


def pack(content, name="report.json", method=zipfile.ZIP_DEFLATED, mode=stat.S_IFREG | 0o644):
    """Pack facts, a text or bytes as the one file of an archive."""
    content = json.dumps(content) if isinstance(content, dict | list) else content
    entry = zipfile.ZipInfo(name)
    entry.external_attr, entry.compress_type = mode << 16, method
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(entry, content)
    return archive.getvalue()


def pack_two(first, second):
    """Pack an honest report and something beside it."""
    archive = io.BytesIO(pack(make_facts(), name=first))
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr(second, "{}")
    return archive.getvalue()


def overwrite(archive, local, central, content):
    """Overwrite a field in both headers of an archive's one file, given where it stands in each."""
    changed = bytearray(archive)
    for start in (archive.index(LOCAL) + local, archive.rindex(CENTRAL) + central):
        changed[start : start + len(content)] = content
    return bytes(changed)


def make_bomb(megabytes):
    """Pack many zeros under headers that tell of a hundred bytes, checksum included."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(packer.compress(bytes(10**6)) for _ in range(megabytes)) + packer.flush()
    start, end = pack(bytes(100), method=zipfile.ZIP_STORED).split(bytes(100))
    place = len(start) + len(packed)
    # The list at the end moves back by what came in.
    archive = bytearray(start + packed + end)
    archive[-6:-2] = place.to_bytes(4, "little")
    sized = overwrite(bytes(archive), 18, 20, len(packed).to_bytes(4, "little"))
    return overwrite(sized, 8, 10, zipfile.ZIP_DEFLATED.to_bytes(2, "little"))


def change(facts, place, value):
    """Put a value at a place of a report, given as keys and positions."""
    key, *rest = place
    if isinstance(facts, dict):
        return {**facts, key: change(facts[key], rest, value) if rest else value}
    return [
        change(part, rest, value) if rest and n == key else value if n == key else part
        for n, part in enumerate(facts)
    ]


def list_places(value, place=()):
    """List the places of everything in a report."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*place, key), part
        yield from list_places(part, (*place, key))


def name_place(value):
    """Name a case by its place."""
    return ".".join(map(str, value)) if isinstance(value, tuple) else None


PLACES = list(list_places(make_facts()))
TEXTS = [place for place, part in PLACES if isinstance(part, str)]
RECORDS = [((), make_facts()), *((place, part) for place, part in PLACES if isinstance(part, dict))]
KEYS = [(*place, key) for place, record in RECORDS if place != ("figures",) for key in record]
TEXT = json.dumps(make_facts())
# By name: an archive, and what is said of it.
REFUSED = {
    "no archive": (b"{}", "no sound archive"),
    "no entry": (b"PK\x05\x06" + bytes(18), "holds 0 entries"),
    "a file more": (pack_two("report.json", "report.md"), "holds 2 entries"),
    "the file twice": (pack_two("report.json", "Report.json"), "holds 2 entries"),
    "another name": (pack(make_facts(), name="report.txt"), "holds report.txt, expected report.json"),
    "a path": (pack(make_facts(), name="../report.json"), "holds ../report.json"),
    "a folder": (pack("", name="report.json/"), "holds report.json/"),
    "a name that ends early": (
        pack(make_facts(), name="report.jsonX").replace(b"report.jsonX", b"report.json\0"),
        "holds report.json, expected|sound",
    ),
    "a link": (pack("/etc/passwd", mode=stat.S_IFLNK | 0o777), "a link or a device"),
    "a device": (pack(make_facts(), mode=stat.S_IFCHR | 0o644), "a link or a device"),
    "encryption": (overwrite(pack(make_facts()), 6, 8, b"\x01\x00"), "encrypted"),
    "another compression": (pack(make_facts(), method=zipfile.ZIP_BZIP2), "method 12"),
    "a large archive": (bytes(MOST_BYTES + 1), "has 1,000,001 bytes"),
    "a large file": (pack(bytes(MOST_BYTES + 1)), "has 1,000,001 bytes"),
    "a large file that tells less": (
        overwrite(pack(TEXT + " " * 2 * MOST_BYTES), 22, 24, (100).to_bytes(4, "little")),
        "no sound archive: Bad CRC",
    ),
    "a bomb": (make_bomb(3), "no JSON"),
    "no JSON": (pack("{"), "no JSON"),
    "no text": (pack(b"\xff\xfe"), "no JSON"),
    "NaN": (pack(TEXT.replace("0.95", "NaN")), "holds NaN"),
    "Infinity": (pack(TEXT.replace("0.95", "-Infinity")), "holds -Infinity"),
    "more than a number holds": (pack(TEXT.replace("0.95", "1e999")), "confidence is inf"),
    "too many digits": (pack(TEXT.replace("0.95", "9" * 5000)), "no JSON"),
    "a key twice": (pack(f'{TEXT[:-1]}, "outcome": "pass"}}'), "holds the key 'outcome' twice"),
    "a key twice further in": (pack(TEXT.replace('"psi": 0.1', '"psi": 0.1, "psi": 0.2')), "the key 'psi' twice"),
    "deep nesting": (pack("[" * 400_000), "nested too deeply"),
    "deep nesting in a field": (pack({**make_facts(), "reasons": [[[]]]}), "reasons.0 is list; expected"),
    "no object": (pack("[]"), "its top level is list"),
    "an unknown key": (pack({**make_facts(), "number": 7}), "number is unknown"),
    "a missing key": (pack({key: part for key, part in make_facts().items() if key != "drift"}), "drift is missing"),
    "a wrong type": (pack({**make_facts(), "uncommitted": 1}), "uncommitted is 1; expected"),
    "no metric": (pack({**make_facts(), "metrics": []}), "metrics is list; expected"),
    "a long list": (pack({**make_facts(), "notes": ["x"] * 5_001}), "notes is list; expected"),
    "a long name": (pack({**make_facts(), "champion": "x" * 201}), "champion is x+…; expected"),
    "a control character": (
        pack({**make_facts(), "champion": "\x1b[31m"}),
        "champion is .31m; expected: a name without",
    ),
    "half a character": (pack({**make_facts(), "notes": ["\ud800"]}), "notes.0 is .; expected"),
    "no verdict": (pack({**make_facts(), "outcome": "merge"}), "outcome is merge; expected"),
    "no state": (pack(change(make_facts(), ("lock", "state"), "good")), "lock.state is good; expected"),
    "no commit": (pack({**make_facts(), "commit": "main"}), "commit is main; expected"),
    "no hash": (pack({**make_facts(), "model_hash": "b" * 31 + "\n"}), "model_hash is b+; expected"),
    "a hostile key": (pack({**make_facts(), "\n::error::\x1b[31m@everyone": 1}), "[^:@]*everyone is unknown"),
}


def read_refusal(archive):
    """Read why an archive is refused: in one short line that a log cannot obey."""
    with pytest.raises(RefusedError) as caught:
        read_report(archive)
    said = str(caught.value)
    assert said.isprintable()
    assert "::" not in said
    assert len(said) < 300
    return said


def assert_tame(page):
    """Hold that a page has no live HTML, link, image or mention."""
    html = re.sub(r"<code.*?</code>", "", MARKDOWN.render(page), flags=re.S)
    assert not re.search(
        r"<(?!/?(h2|h3|p|ul|li|blockquote|details|summary|table|thead|tbody|tr|t[hd]|strong|em|pre)\b)", html
    )
    assert not re.search(r"@\w|#\d", unescape(html))
    assert not re.search(r"https?:|www\.", re.sub(r"```.*?```|`[^`\n]*`", "", page, flags=re.S))


@pytest.mark.parametrize("nothing", [None, "lock", "base_commit", "same_test_rows", "model_bytes", "data_hash"])
def test_honest_report_is_read_as_it_was_written(nothing):
    facts = {**make_facts(), **({nothing: None} if nothing else {})}
    assert read_report(pack(facts)) == facts
    assert read_report(pack(facts, method=zipfile.ZIP_STORED, mode=0)) == facts


@pytest.mark.parametrize(("archive", "said"), REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused_in_one_line(archive, said):
    assert re.search(said, read_refusal(archive))


def test_bomb_is_not_unpacked():
    bomb = make_bomb(100)
    assert len(bomb) < MOST_BYTES
    tracemalloc.start()
    try:
        read_refusal(bomb)
        assert tracemalloc.get_traced_memory()[1] < 10 * MOST_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("place", KEYS, ids=name_place)
def test_every_key_is_needed(place):
    *above, key = place
    record = make_facts()
    for part in above:
        record = record[part]
    rest = {name: value for name, value in record.items() if name != key}
    assert f"{key} is missing" in read_refusal(pack(change(make_facts(), above, rest) if above else rest))


@pytest.mark.parametrize("record", [place for place, _ in RECORDS if place not in ((), ("figures",))], ids=name_place)
def test_no_record_takes_another_key(record):
    facts = change(make_facts(), (*record, "number"), 7) if record else {}
    assert "number is unknown" in read_refusal(pack(facts))


@pytest.mark.parametrize(
    ("place", "part"), [(place, part) for place, part in PLACES if part is not None], ids=name_place
)
def test_every_field_has_its_type(place, part):
    others = ["1", 1, 1.5, True, [1], {"a": {}}]
    # JSON writes a figure that is a whole number without a point.
    right = (float, int) if isinstance(part, float) else (type(part),)
    for other in others:
        if type(other) not in right:
            read_refusal(pack(change(make_facts(), place, other)))


@pytest.mark.parametrize("place", TEXTS, ids=name_place)
def test_no_text_of_any_field_leaves_its_place(place):
    """It is refused, or the page is made of the same parts as with a harmless text."""
    shown = 0
    for text in NASTY:
        for outcome in ("pass", "refuse"):
            facts = change({**make_facts(), "outcome": outcome}, place, text)
            try:
                page = render_report(read_report(pack(facts)))
            except RefusedError as error:
                assert str(error).isprintable()
                continue
            shown += 1
            assert_tame(page)
            assert outline(page) == outline(render_report(change(facts, place, "harmless")))
    is_free = place[-1] not in ("outcome", "model", "month", "part", "state", "commit", "base_commit")
    assert bool(shown) == (is_free and not str(place[-1]).endswith("_hash"))


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_all_fields_at_once_are_tame(text):
    facts = make_facts()
    for place in TEXTS:
        changed = change(facts, place, text)
        try:
            facts = read_report(pack(changed))
        except RefusedError:
            continue
    assert_tame(render_report(facts))


def test_damaged_archive_is_read_or_refused():
    chance, archive = random.Random(0), pack(make_facts())
    for _ in range(2000):
        damaged = bytearray(archive[: chance.choice([len(archive), chance.randrange(len(archive))])])
        for _ in range(chance.randrange(1, 4)):
            if damaged:
                damaged[chance.randrange(-120, 60) % len(damaged)] = chance.randrange(256)
        try:
            assert read_report(bytes(damaged)) == make_facts()
        except RefusedError as error:
            assert str(error).isprintable()
