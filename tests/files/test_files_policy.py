"""Decisions about files: parts in any order make the whole, ranges stay inside, names and types mislead nobody."""

from __future__ import annotations

import io
import zipfile
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from moonbow.base import limits
from moonbow.base.errors import Refused
from moonbow.files import policy
from moonbow.files.model import ContentRange, File, Part, Span, Usage
from moonbow.files.sniff import UNKNOWN, sniff
from moonbow.gateway.files import disposition, matches

FILE = File(
    id="fil_emea_1", owner="usr_emea_1", name=b"", size=1000, received=0, state="uploading", type="", made_at=0.0,
    expires_at=None,
)  # fmt: skip


def code(call: object, *args: object) -> str:
    with pytest.raises(Refused) as caught:
        call(*args)  # type: ignore[operator]
    return caught.value.code


@given(
    size=st.integers(1, 60),
    tries=st.lists(st.tuples(st.integers(0, 70), st.integers(1, 20), st.booleans()), max_size=60),
)
def test_parts_in_any_order_with_any_repetition_and_loss_make_the_whole(
    size: int, tries: list[tuple[int, int, bool]]
) -> None:
    """What a catalogue does with `decide_part`: whatever arrives, parts are dense, and then an honest client finishes."""
    content = bytes(range(size))
    file, parts, kept = replace(FILE, size=size), dict[int, bytes](), b""
    honest = [(start, 7, False) for start in range(0, size, 7)]
    for first, length, lost in [*tries, *honest, *((at, 1, False) for at in range(size))]:
        said = ContentRange(first, min(first + length, size) - 1, size)
        if said.last < said.first:
            continue
        try:
            what = policy.decide_part(file, said)
        except Refused:
            assert said.first != file.received <= said.last
            continue
        if what == "store" and not lost:  # a lost one has its object, but no row
            parts[said.first] = content[said.first : said.last + 1]
            file = replace(file, received=said.last + 1, parts=file.parts + 1)
        kept = b"".join(parts[start] for start in sorted(parts))
        assert kept == content[: file.received]
    assert kept == content


@given(
    header=st.text(max_size=40) | st.from_regex(r"bytes=[0-9]{0,4}-[0-9]{0,4}", fullmatch=True),
    size=st.integers(1, 5000),
)
def test_a_range_that_is_answered_lies_inside(header: str, size: int) -> None:
    try:
        span = policy.parse_range(header, size)
    except Refused:
        return
    if span is not None:
        assert span.start >= 0
        assert span.size > 0
        assert span.start + span.size <= size


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None), ("", None), ("bytes=0-0", (0, 1)), ("bytes=0-", (0, 100)), ("bytes=90-200", (90, 10)),
        ("bytes=-10", (90, 10)), ("bytes=-500", (0, 100)), ("BYTES = 5 - 6", (5, 2)), ("bytes=6-5", None), ("bytes=-", None),
        ("bytes=0-1,5-6", None), ("items=0-1", None), ("bytes=0x1-2", None), ("bytes=" + "9" * 500 + "-", None),
    ],
)  # fmt: skip
def test_ranges(header: str | None, span: tuple[int, int] | None) -> None:
    assert policy.parse_range(header, 100) == (None if span is None else Span(*span))


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=-0", "bytes=100-200", "bytes=999999999999999-"])
def test_a_range_of_nothing_is_refused(header: str) -> None:
    assert code(policy.parse_range, header, 100) == "range_unsatisfiable"


@given(cuts=st.lists(st.integers(1, 99), unique=True), start=st.integers(0, 99), length=st.integers(1, 100))
def test_pieces_of_parts_are_the_span(cuts: list[int], start: int, length: int) -> None:
    content = bytes(range(100))
    edges = [0, *sorted(cuts), 100]
    parts = [Part(a, b - a, "x") for a, b in pairwise(edges)]
    span = Span(start, min(length, 100 - start))
    found = [content[part.start : part.start + part.size][first:end] for part, first, end in policy.pieces(parts, span)]
    assert b"".join(found) == content[span.start : span.start + span.size]
    assert all(found), "no part is fetched for nothing"


@pytest.mark.parametrize(
    "header",
    ["", "bytes", "bytes 0-9", "bytes 0-9/*", "bytes */10", "bytes 9-0/10", "bytes 0-10/10", "bytes 0-8/10", "bytes -1-8/10",
     "bytes 0-9/10, 0-9/10", "bytes 0-99999999999999999999/10", " bytes 0-9/10"],
)  # fmt: skip
def test_a_part_that_says_something_else_than_it_is(header: str) -> None:
    assert code(policy.parse_content_range, header, 10) == "content_range_malformed"


def test_a_part_says_where_it_goes() -> None:
    assert policy.parse_content_range("bytes 10-19/100", 10) == ContentRange(10, 19, 100)
    assert code(policy.decide_part, FILE, ContentRange(0, 9, 999)) == "content_range_malformed"
    assert code(policy.decide_part, replace(FILE, received=5), ContentRange(0, 9, 1000)) == "part_out_of_order"
    assert code(policy.decide_part, replace(FILE, parts=policy.PARTS_MAX), ContentRange(0, 9, 1000)) == "parts_too_many"
    assert policy.decide_part(replace(FILE, received=10), ContentRange(0, 9, 1000)) == "stored"


@pytest.mark.parametrize(
    ("size", "usage", "said"),
    [
        (limits.FILE_BYTES_MAX + 1, Usage(0, 0, 0), "file_too_large"),
        (2, Usage(limits.FILE_QUOTA_BYTES - 1, 0, 1), "quota_exceeded"),
        (1, Usage(0, limits.UPLOADS_MAX, limits.UPLOADS_MAX), "uploads_too_many"),
        (1, Usage(0, 0, limits.FILES_MAX), "files_too_many"),
    ],
)
def test_what_does_not_fit(size: int, usage: Usage, said: str) -> None:
    assert code(policy.check_room_for, size, usage) == said
    policy.check_room_for(1, Usage(limits.FILE_QUOTA_BYTES - 1, limits.UPLOADS_MAX - 1, limits.FILES_MAX - 1))


@pytest.mark.parametrize(
    "name", ["..", ".", "a/b", "..\\x", "a\0b", "a\nb", " a", "a ", "invoice\u202efdp.exe", "a\u2028b", "\ud800x"]
)
def test_names_that_mislead(name: str) -> None:
    assert code(policy.check_name, name) == "name_malformed"


@given(name=st.text(min_size=1, max_size=200))
def test_a_name_that_is_taken_can_stand_in_a_header(name: str) -> None:
    try:
        policy.check_name(name)
    except Refused:
        return
    said = disposition(name, "image/png")
    assert said.isascii()
    assert said.isprintable()
    assert said.count('"') == 2


def test_what_may_run_is_saved_and_never_shown() -> None:
    for kind in ("text/html", "image/svg+xml", "text/xml", "application/xhtml+xml", "text/javascript", "x/y"):
        assert disposition("a", kind).startswith("attachment;")
    assert disposition("a", "image/png").startswith("inline;")


def packed(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return out.getvalue()


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"), (b"%PDF-1.7\n", "application/pdf"), (b"hello\nworld", "text/plain"),
        ("grüße".encode(), "text/plain"), (b"<!DOCTYPE html><p>", "text/html"), (b" \n<html>", "text/html"),
        (b"\xef\xbb\xbf<script>1</script>", "text/html"), (b"<svg onload=x>", "image/svg+xml"),
        (b"<?xml version='1.0'?><svg/>", "image/svg+xml"), (b"<?xml version='1.0'?><a/>", "text/xml"),
        (b"MZ\x90\0", "application/vnd.microsoft.portable-executable"), (b"\x7fELF", "application/x-executable"),
        (b"#!/bin/sh\n", "text/x-script"), (b"\0\0\0\x18ftypmp42", "video/mp4"), (b"\0\0\0\x18ftypXXXX", "application/mp4"),
        (packed("a.txt"), "application/zip"), (packed("META-INF/MANIFEST.MF"), "application/java-archive"),
        (packed("[Content_Types].xml", "word/document.xml"),
         "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (bytes(range(128, 256)), "application/octet-stream"), (b"\0", "application/octet-stream"),
    ],
)  # fmt: skip
def test_types_are_what_the_content_says(head: bytes, kind: str) -> None:
    assert sniff(head) == kind


@given(st.binary(max_size=300))
def test_any_content_has_a_type_that_can_stand_in_a_header(head: bytes) -> None:
    assert policy._TYPE.fullmatch(sniff(head))


@pytest.mark.parametrize(
    ("header", "met"),
    [(None, False), ("*", True), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ('"b"', False), ("a", False)],
)
def test_tags(header: str | None, met: bool) -> None:
    assert matches(header, '"a"') is met


def test_a_type_that_other_regions_would_not_take_is_unknown() -> None:
    assert sniff(b"ISc(" + bytes(60)) == UNKNOWN
