"""The signed zone, judged by dnspython: every signature, every denial, the key's files; and when signatures are made."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from moonbow.base.errors import ConfigError
from moonbow.director.adapters.keyfiles import COOKIE_ROOT, DNSKEY, DS, ZONE_KEY, keep_secrets
from moonbow.director.addresses import Ranges
from moonbow.director.cookies import Jar
from moonbow.director.desk import Desk
from moonbow.director.dns import Printer, Responder
from moonbow.director.dnssec import DAY_S, SIGNATURES_PER_S_MAX, ZoneKey, next_name, window_at
from moonbow.director.limiter import Rates
from moonbow.director.model import Overrides
from moonbow.director.snapshot import Snapshot, take_snapshot
from moonbow.director.zone import zone_names
from moonbow.world import World, parse_world

from .nameservers import AFRICA, FRANCE, JAPAN, ZONE, query, scope_in

NOW = 1_700_000_000
PRIVATE = ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())
APEX = dns.name.from_text(ZONE)
HERE = "194.2.0.53"
NSEC, RRSIG, SOA = dns.rdatatype.NSEC, dns.rdatatype.RRSIG, dns.rdatatype.SOA


@pytest.fixture(scope="module")
def snapshot(laptop: World, ranges: Ranges) -> Snapshot:
    return take_snapshot(laptop, ranges, changed_at_s=NOW)


@pytest.fixture(scope="module")
def printer(laptop: World) -> Printer:
    return Printer(laptop, ZoneKey(PRIVATE))


@pytest.fixture(scope="module")
def responder(printer: Printer, snapshot: Snapshot) -> Responder:
    return printer.make(snapshot, NOW)


def asked(responder: Responder, name: str, kind: str = "A", net: str | None = None, **how) -> dns.message.Message:
    message = query(name, kind, net, want_dnssec=True, **how)
    reply = responder.respond(message.to_wire(), HERE)
    assert reply is not None
    return dns.message.from_wire(reply)


def keys_of(responder: Responder) -> dict[dns.name.Name, dns.rrset.RRset]:
    found = asked(responder, ZONE, "DNSKEY")
    return {APEX: next(rrset for rrset in found.answer if rrset.rdtype == dns.rdatatype.DNSKEY)}


def check(message: dns.message.Message, keys: dict[dns.name.Name, dns.rrset.RRset]) -> list[dns.rrset.RRset]:
    """Every record set has one good signature beside it; the record sets."""
    found = []
    for section in (message.answer, message.authority):
        for rrset in section:
            if rrset.rdtype == RRSIG:
                continue
            signature = message.find_rrset(section, rrset.name, rrset.rdclass, RRSIG, rrset.rdtype)
            dns.dnssec.validate(rrset, signature, keys, now=NOW)
            assert signature.ttl == rrset.ttl
            found.append(rrset)
    return found


def test_every_record_of_the_zone_is_signed(responder: Responder, snapshot: Snapshot) -> None:
    keys, kinds = (
        keys_of(responder),
        ("A", "AAAA", "TXT", "SOA", "NS", "CAA", "DNSKEY", "CDS", "ANY", "NSEC"),
    )
    answered = set()
    for name in zone_names(snapshot.world):
        for kind in kinds:
            for net in (FRANCE, JAPAN, AFRICA):
                message = asked(responder, name, kind, net)
                assert message.rcode() == 0
                for rrset in check(message, keys):
                    answered.add((rrset.name.to_text(), rrset.rdtype))
    assert {
        (f"{name}.", 1) for name in (ZONE, f"edge.{ZONE}", f"turn.{ZONE}", f"media.{ZONE}", f"ns.{ZONE}")
    } <= answered
    assert (f"edge.why.{ZONE}.", 16) in answered


def test_the_ds_of_the_operator_leads_to_the_key(tmp_path: Path) -> None:
    secrets = keep_secrets(tmp_path / "director", ZONE)
    lines = {name: (tmp_path / "director" / name).read_text() for name in (DS, DNSKEY)}
    key = dns.rrset.from_text(APEX, 3600, "IN", "DNSKEY", lines[DNSKEY].split("DNSKEY ")[1])[0]
    ds = dns.rrset.from_text(APEX, 3600, "IN", "DS", lines[DS].split("DS ")[1])[0]
    assert dns.dnssec.make_ds(APEX, key, "SHA256") == ds
    assert dns.dnssec.key_id(key) == secrets.key.tag


def reference(message: dns.message.Message, rrset: dns.rrset.RRset, length: int, turn: list[str]) -> bytes:
    """The signed answer as dnspython builds and signs it."""
    window = window_at(NOW)
    keyed = dns.dnssec.make_dnskey(PRIVATE.public_key(), dns.dnssec.Algorithm.ECDSAP256SHA256, flags=257)
    canonical = dns.rrset.from_rdata_list(rrset.name.canonicalize(), rrset.ttl, list(rrset))
    signed = dns.dnssec.sign(
        canonical, PRIVATE, APEX, keyed, inception=window.inception, expiration=window.expiration, deterministic=True
    )
    reply = dns.message.make_response(message, our_payload=1232)
    reply.flags = (reply.flags | dns.flags.AA) & ~dns.flags.RA
    owner = message.question[0].name
    for address in turn:
        reply.answer.append(dns.rrset.from_text(owner, rrset.ttl, "IN", "A", address))
    reply.answer.append(dns.rrset.from_rdata(owner, rrset.ttl, signed))
    option = dns.edns.ECSOption(message.options[0].address, message.options[0].srclen, length)
    reply.use_edns(0, dns.flags.DO, 1232, options=[option])
    return reply.to_wire()


@settings(max_examples=80, deadline=None)
@given(
    label=st.sampled_from(["", "dOOr.", "api.", "EDGE.", "media.", "turn."]),
    net=st.sampled_from([FRANCE, JAPAN, AFRICA, "53.0.0.0/8", "2001:660::/48"]),
    ident=st.integers(0, 65535),
)
def test_a_signed_reply_is_what_dnspython_would_build(responder: Responder, label: str, net: str, ident: int) -> None:
    message = query(label + ZONE, net=net, want_dnssec=True)
    message.id = ident
    reply = responder.respond(message.to_wire(), HERE)
    found = dns.message.from_wire(reply)
    rrset = next(rrset for rrset in found.answer if rrset.rdtype == dns.rdatatype.A)
    assert reply == reference(message, rrset, scope_in(found), [record.address for record in rrset])


@pytest.mark.parametrize(
    ("name", "kind"), [("nope", "A"), ("a.b.c.door", "TXT"), ("\\000x", "A"), ("*", "A"), ("ns9", "AAAA")]
)
def test_an_absent_name_is_denied_compactly(responder: Responder, name: str, kind: str) -> None:
    message = asked(responder, f"{name}.{ZONE}", kind)
    assert message.rcode() == dns.rcode.NOERROR
    rrsets = {rrset.rdtype: rrset for rrset in check(message, keys_of(responder))}
    assert set(rrsets) == {SOA, NSEC}
    assert rrsets[NSEC].name == message.question[0].name
    assert kinds_in(rrsets[NSEC][0]) == {128, 46, 47}
    assert rrsets[NSEC].ttl == rrsets[SOA].ttl == 30
    plain = dns.message.from_wire(responder.respond(query(f"{name}.{ZONE}", kind).to_wire(), HERE))
    assert plain.rcode() == dns.rcode.NXDOMAIN
    assert [rrset.rdtype for rrset in plain.authority] == [SOA]
    knows = query(f"{name}.{ZONE}", kind, want_dnssec=True)
    knows.ednsflags |= 0x4000
    assert dns.message.from_wire(responder.respond(knows.to_wire(), HERE)).rcode() == dns.rcode.NXDOMAIN


def kinds_in(nsec: dns.rdata.Rdata) -> set[int]:
    return {
        window * 256 + number * 8 + bit
        for window, bits in nsec.windows
        for number, byte in enumerate(bits)
        for bit in range(8)
        if byte & 0x80 >> bit
    }


def test_absent_records_are_denied_with_what_is_there(responder: Responder) -> None:
    found = {rrset.rdtype: rrset for rrset in check(asked(responder, f"door.{ZONE}", "AAAA"), keys_of(responder))}
    assert kinds_in(found[NSEC][0]) == {1, 46, 47}
    apex = {rrset.rdtype: rrset for rrset in check(asked(responder, ZONE, "MX"), keys_of(responder))}
    assert kinds_in(apex[NSEC][0]) == {1, 2, 6, 46, 47, 48, 257}
    assert asked(responder, f"door.{ZONE}", "TYPE128").rcode() == dns.rcode.FORMERR


@given(st.lists(st.binary(min_size=1, max_size=63), min_size=1, max_size=6))
def test_the_next_name_comes_next(labels: list[bytes]) -> None:
    labels = [label.lower() for label in labels]
    if sum(len(label) + 1 for label in labels) + 1 > 255:
        labels = labels[:3]
    name = dns.name.Name([*labels, b""])
    following, _ = dns.name.from_wire(next_name(name.to_wire()), 0)
    assert name < following
    assert len(following.to_wire()) <= 255
    if len(name.to_wire()) <= 253:
        assert following == dns.name.Name([b"\0", *name.labels])


@pytest.mark.parametrize("size", [254, 255])
@pytest.mark.parametrize("last", [b"a", b"@", b"\xff"])
def test_the_longest_names_have_a_next_one_too(size: int, last: bytes) -> None:
    rest = [b"x" * 63, b"x" * 63, b"x" * 63]
    first = b"a" * (size - 1 - 3 * 64 - 2) + last
    name = dns.name.Name([first, *rest, b""])
    assert len(name.to_wire()) == size
    following, _ = dns.name.from_wire(next_name(name.to_wire()), 0)
    assert name < following


def test_what_can_be_is_signed_ahead(printer: Printer, snapshot: Snapshot, responder: Responder) -> None:
    signer = responder.signer
    before = signer.signed
    for name in ("", "door.", "edge.", "media."):
        for net in (FRANCE, JAPAN, AFRICA):
            asked(responder, name + ZONE, net=net)
    assert signer.signed == before, "no question for a pool makes a signature"
    printer.make(snapshot, NOW + 60)
    assert signer.signed == before, "nor does the same snapshot again"
    overrides = Overrides(down=frozenset({"paris"}))
    moved = take_snapshot(snapshot.world, snapshot.ranges, snapshot.map, overrides=overrides, changed_at_s=NOW + 60)
    printer.make(moved, NOW + 60)
    assert 0 < signer.signed - before < 30, "another decision signs what is new"


def test_signatures_are_made_anew_long_before_they_end(laptop: World, snapshot: Snapshot) -> None:
    printer = Printer(laptop, ZoneKey(PRIVATE))
    first = printer.make(snapshot, NOW)
    for days in range(8):
        now_s = NOW + days * DAY_S
        window = window_at(now_s)
        assert window.inception < now_s - 3_000
        assert window.expiration - now_s > 5 * DAY_S
        assert printer.is_due(now_s) is (days > 0)
        responder = printer.make(snapshot, now_s)
        assert not printer.is_due(now_s)
    keys = keys_of(responder)
    rrset, signature = asked(first, ZONE, net=FRANCE).answer
    with pytest.raises(dns.dnssec.ValidationFailure):
        dns.dnssec.validate(rrset, signature, keys, now=NOW + 8 * DAY_S)
    rrset, signature = asked(responder, ZONE, net=FRANCE).answer
    dns.dnssec.validate(rrset, signature, keys, now=NOW + 8 * DAY_S)


def test_questions_that_take_signatures_are_sent_to_tcp_when_there_are_too_many(
    printer: Printer, snapshot: Snapshot
) -> None:
    desk = Desk(printer.make(snapshot, NOW), Jar(bytes(32), NOW), Rates(0))
    desk.tick(NOW)
    cut, source = 0, bytes(4)
    for number in range(SIGNATURES_PER_S_MAX + 20):
        message = query(f"n{number}.{ZONE}", want_dnssec=True, id=1)
        reply = desk.handle(message.to_wire(), source)
        cut += bool(reply[2] & 2)
    assert cut == 20
    assert not desk.handle(query(f"door.{ZONE}", net=FRANCE, want_dnssec=True).to_wire(), source)[2] & 2
    last = query(f"one-more.{ZONE}", want_dnssec=True)
    assert dns.message.from_wire(desk.handle(last.to_wire(), source)).flags & dns.flags.TC
    check(dns.message.from_wire(desk.handle_stream(last.to_wire(), source)), keys_of(desk.responder))
    desk.tick(NOW + 1)
    assert (
        not dns.message.from_wire(desk.handle(query(f"n-a.{ZONE}", want_dnssec=True).to_wire(), source)).flags
        & dns.flags.TC
    )


def test_secrets_are_kept_and_guarded(tmp_path: Path) -> None:
    folder = tmp_path / "world" / "director"
    first = keep_secrets(folder, ZONE)
    again = keep_secrets(folder, ZONE)
    assert (again.key.dnskey, again.cookie_root) == (first.key.dnskey, first.cookie_root)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in (ZONE_KEY, COOKIE_ROOT):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert sorted(os.listdir(folder)) == sorted([ZONE_KEY, COOKIE_ROOT, DS, DNSKEY]), "nothing is left over"
    (folder / ZONE_KEY).chmod(0o640)
    with pytest.raises(ConfigError, match="may be read by others"):
        keep_secrets(folder, ZONE)
    (folder / ZONE_KEY).chmod(0o600)
    (folder / ZONE_KEY).write_text("damaged")
    with pytest.raises(ConfigError, match="is not a private key"):
        keep_secrets(folder, ZONE)


def test_many_doors_are_signed_part_by_part(ranges: Ranges) -> None:
    sites = "".join(f'{{ name = "s{n}", city = "S", at = [48.0, 2.0], doors = 8 }},' for n in range(9))
    head = 'name = "many"\ndomain = "many.test"\nslot = 5\n[traffic]\ndefault = "emea"\n'
    world = parse_world(f'{head}[regions.emea]\ntitle = "E"\nsites = [{sites}]\n')
    responder = Printer(world, ZoneKey(PRIVATE)).make(take_snapshot(world, ranges), NOW)
    apex = dns.name.from_text("many.test")
    keys = {apex: asked(responder, "many.test", "DNSKEY").answer[0]}
    for number in range(8):
        message = asked(responder, "many.test", id=number)
        rrset, signature = message.answer
        assert len(rrset) == 16
        dns.dnssec.validate(rrset, signature, keys, now=NOW)
        assert len(message.to_wire()) <= 1232
