"""What a file is, by its first bytes: what somebody calls it counts for nothing.

Law: a type that browsers may show (`policy.INLINE`) is given only for a signature of that very type; what may run as a
page or a program never gets one, whatever else its bytes resemble.
"""

from __future__ import annotations

import puremagic

from .policy import INLINE, is_type

HEAD_BYTES = 65_536
UNKNOWN = "application/octet-stream"
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"\xff\xf1", "audio/aac"),
    (b"\xff\xf9", "audio/aac"),
    (b"MZ", "application/vnd.microsoft.portable-executable"),
    (b"\x7fELF", "application/x-executable"),
    (b"\xca\xfe\xba\xbe", "application/x-executable"),
    (b"\xcf\xfa\xed\xfe", "application/x-executable"),
    (b"#!", "text/x-script"),
    (b"\x1f\x8b", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
)
_BRANDS = {  # of ISO base media (ISO/IEC 14496-12): the major brand
    b"avif": "image/avif", b"avis": "image/avif", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4",
    b"qt  ": "video/quicktime",
    b"mp41": "video/mp4", b"mp42": "video/mp4", b"isom": "video/mp4", b"iso2": "video/mp4", b"iso4": "video/mp4",
    b"iso5": "video/mp4", b"iso6": "video/mp4", b"avc1": "video/mp4", b"dash": "video/mp4", b"M4V ": "video/mp4",
    b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heif",
}  # fmt: skip
_PACKED = (  # what the names inside a ZIP say
    (b"mimetypeapplication/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
    (b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "application/vnd.oasis.opendocument.spreadsheet"),
    (b"mimetypeapplication/vnd.oasis.opendocument.presentation", "application/vnd.oasis.opendocument.presentation"),
    (b"mimetypeapplication/epub+zip", "application/epub+zip"),
    (b"word/", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    (b"xl/", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    (b"ppt/", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    (b"META-INF/MANIFEST.MF", "application/java-archive"),
    (b"AndroidManifest.xml", "application/vnd.android.package-archive"),
)
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<iframe", b"<svg", b"<?xml", b"<!--")


def sniff(head: bytes) -> str:
    """The media type of a file that begins with `head` (up to `HEAD_BYTES` of it)."""
    head = head[:HEAD_BYTES]
    return _signed(head) or _written(head) or _guessed(head)


def _signed(head: bytes) -> str | None:
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"WAVE"):
        return "image/webp" if head[8:12] == b"WEBP" else "audio/wav"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "application/mp4")
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0" and len(head) > 26:
        return "image/bmp"
    if head.startswith(b"OggS"):
        return "video/ogg" if b"theora" in head[:512] else "audio/ogg"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return next((kind for mark, kind in _PACKED if mark in head), "application/zip")
    return None


def _written(head: bytes) -> str | None:
    """Text, if it is that: pages apart, which are shown to nobody as pages."""
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:256].lower()
    if begin.startswith(_PAGES):
        return (
            "image/svg+xml" if b"<svg" in head[:4096].lower() else "text/html" if b"<?xml" not in begin else "text/xml"
        )
    if b"\0" in head:
        return None
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if len(head) < HEAD_BYTES or error.start < len(head) - 4:  # cut in the middle of a character
            return None
    return "text/plain"


def _guessed(head: bytes) -> str:
    try:
        found = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return UNKNOWN
    kind: str = found[0].mime_type if found and found[0].confidence >= 0.4 else ""
    return kind if is_type(kind) and kind not in INLINE else UNKNOWN
