"""What the data agents of a region tell each other: where each one's data node stands."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

REPORT_BYTES_MAX = 65_536
MEMBERS_MAX = 64

Word = Annotated[str, Meta(max_length=64)]


class DataReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """One site's data node.  An agent of a later release may say more.

    `running`: its engine has been started; `primary`: it is a part of the
    component that has the majority; `ready`: it has caught up there, and serves.
    `known`: whether `history` and `seqno` are: the cluster's history whose first `seqno` changes the node holds; no
    history (and -1) for one that holds nothing.  `safe`: its engine was the last to leave an orderly stop.
    `me`, `view`, `members`: the node's own id, and the last component with a majority that it was in; empty for none.
    `size`: nodes in its component now.  `reforming`: its engine was started from its saved view, and has not found a
    majority yet.
    """

    site: Word
    running: bool = False
    primary: bool = False
    ready: bool = False
    known: bool = False
    history: Word = ""
    seqno: Annotated[int, Meta(ge=-1, le=2**63 - 1)] = -1
    safe: bool = False
    me: Word = ""
    view: Word = ""
    members: Annotated[tuple[Word, ...], Meta(max_length=MEMBERS_MAX)] = ()
    size: Annotated[int, Meta(ge=0, le=MEMBERS_MAX)] = 0
    reforming: bool = False


encode_report = msgspec.json.Encoder().encode
decode_report = msgspec.json.Decoder(DataReport).decode
