"""Playbooks of the SDK's core: what happened goes in, the commands that come out are read back."""

from __future__ import annotations

import uuid
from itertools import pairwise

import msgspec
import pytest

from moonbow.base import limits
from moonbow.base.errors import Refused
from moonbow.sdk import posts
from moonbow.sdk.core import BACKOFF_S, DEAD_S, PING_S, RETURN_S, WELCOME_S, Core
from moonbow.sdk.model import (
    CaughtUp,
    Close,
    Command,
    Connected,
    Deliver,
    Dial,
    Ended,
    Event,
    Learn,
    Lost,
    Renew,
    Reset,
    Send,
    Settle,
)
from moonbow.sdk.posts import AGAIN_S, POSTS_MAX
from moonbow.wire import stream as wire
from moonbow.wire.values import Door, Room, Row

HERE = "rom_emea_1"
INBOX = "inb_emea_1"


def door(no: int, site: str) -> Door:
    return Door(site=site, region="emea", city=site, url=f"https://x:{no}", address=f"127.0.0.{no}", port=8443)


DOORS = [door(1, "paris"), door(2, "paris"), door(3, "frankfurt")]


def room(ident: str = HERE, head: int = 5) -> Room:
    return Room(
        id=ident,
        region="emea",
        kind="group",
        creator="usr_emea_1",
        title=None,
        title_state="ok",
        head=head,
        no=0,
        read=0,
        unread=0,
        members=2,
        others=[],
        joined=True,
        last_at=None,
    )


def welcome(*rooms: Room, site: str = "paris") -> wire.Welcome:
    return wire.Welcome(
        session="ses_emea_1",
        person="usr_emea_1",
        region="emea",
        site=site,
        city=site,
        inbox=INBOX,
        inbox_head=2,
        expires_at="2030-01-01T00:00:00Z",
        heartbeat_s=2.0,
        rooms=list(rooms),
    )


def row(seq: int, stream: str = HERE, **more: object) -> Row:
    kind = str(more.pop("kind", "entry"))
    return Row(stream=stream, seq=seq, kind=kind, at="", no=0, id=str(more.pop("id", f"ent_emea_{seq}")), **more)  # type: ignore[arg-type]


def post(text: str = "hello") -> wire.Post:
    return wire.Post(room=HERE, client_id=str(uuid.uuid4()), text=text)


class Play:
    """A core with its clock; remembers what it said."""

    def __init__(self) -> None:
        self.core = Core(DOORS, "token-0", 600.0, jitter=lambda: 1.0)
        self.now = 0.0
        self.said: list[Command] = []
        self.do(self.core.start(self.now))

    def do(self, commands: list[Command]) -> list[Command]:
        self.said += commands
        return commands

    def dialled(self) -> Dial:
        return next(command for command in reversed(self.said) if isinstance(command, Dial))

    def up(self, *rooms: Room, site: str = "paris") -> int:
        """Open the socket dialled last, and finish its replay."""
        sock = self.dialled().sock
        self.do(self.core.opened(sock, self.now))
        self.frame(sock, welcome(*rooms, site=site))
        self.frame(sock, wire.Synced(resets={}))
        return sock

    def frame(self, sock: int, event: object) -> list[Command]:
        return self.do(self.core.frame(sock, event, self.now))  # type: ignore[arg-type]

    def wait(self) -> list[Command]:
        """Let time pass until the core wants to be woken."""
        at = self.core.wake_at()
        assert at is not None
        self.now = max(self.now, at)
        return self.do(self.core.tick(self.now))


def sent(commands: list[Command]) -> list[wire.ClientFrame]:
    return [command.frame for command in commands if isinstance(command, Send)]


def events(commands: list[Command]) -> list[Event]:
    return [command.event for command in commands if isinstance(command, Deliver)]


def test_first_time_says_hello_and_gives_a_snapshot() -> None:
    play = Play()
    assert play.dialled() == Dial(1, DOORS[0])
    assert sent(play.core.opened(1, 0.0)) == [wire.Hello()]
    found = events(play.frame(1, welcome(room())))
    assert found == [Connected("paris", "paris", DOORS[0], False, [room()])]
    assert events(play.frame(1, wire.Synced(resets={}))) == [CaughtUp()]


def test_rows_come_once_and_in_order_with_gaps_allowed() -> None:
    play = Play()
    sock = play.up(room(head=5))
    shown = [seq for seq in (5, 6, 6, 9, 8, 10) if events(play.frame(sock, row(seq)))]
    assert shown == [6, 9, 10]


def test_lost_socket_resumes_at_the_next_door_from_the_cursors() -> None:
    play = Play()
    sock = play.up(room(head=5))
    play.frame(sock, row(7))
    assert events(play.do(play.core.closed(sock, 1006, "", play.now))) == [Lost("paris", DOORS[0], 1006, "")]
    play.wait()
    assert play.now <= BACKOFF_S[0]
    assert play.dialled() == Dial(2, DOORS[1])
    assert sent(play.core.opened(2, play.now)) == [wire.Resume(cursors={INBOX: 2, HERE: 7})]
    again = events(play.frame(2, welcome(room(head=9), site="frankfurt")))
    assert again == [Connected("frankfurt", "frankfurt", DOORS[1], True, [room(head=9)])]
    assert events(play.frame(2, row(8))) == [row(8)]
    assert not events(play.frame(2, row(7)))


def test_doors_are_tried_in_turn_later_and_later() -> None:
    play = Play()
    tried, delays = [], []
    for _ in range(24):
        tried.append(play.dialled().door.address)
        play.do(play.core.failed(play.dialled().sock, None, play.now))
        before = play.now
        play.wait()
        delays.append(play.now - before)
    assert tried[:4] == ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"]
    assert all(later > sooner - 1e-9 for sooner, later in pairwise(delays))
    assert delays[0] == pytest.approx(BACKOFF_S[0])
    assert delays[-1] == pytest.approx(BACKOFF_S[1])
    assert any(isinstance(command, Learn) for command in play.said)


def test_unanswered_post_goes_out_again_on_the_next_socket_until_acked() -> None:
    play = Play()
    sock = play.up(room())
    first, second = post("one"), post("two")
    assert sent(play.core.post(first, play.now)) == [first]
    assert sent(play.core.post(second, play.now)) == [second]
    play.do(play.core.closed(sock, 1012, "drain", play.now))
    play.wait()
    play.core.opened(2, play.now)
    assert sent(play.frame(2, welcome(room()))) == [first, second]
    ack = wire.Ack(client_id=first.client_id, state="placed", room=HERE, id="ent_emea_9", seq=9)
    settled = [command for command in play.frame(2, ack) if isinstance(command, Settle)]
    assert [(settle.posted.state, settle.posted.seq, settle.final) for settle in settled] == [("placed", 9, True)]
    assert not play.frame(2, ack), "an answer counts once"
    play.now += AGAIN_S
    assert sent(play.do(play.core.tick(play.now)))[-1] == second


def test_post_before_the_socket_stands_is_not_lost() -> None:
    play = Play()
    early = post()
    assert not sent(play.core.post(early, 0.0))
    play.core.opened(1, 0.0)
    assert sent(play.frame(1, welcome(room()))) == [early]


def test_kept_post_is_settled_by_the_inbox() -> None:
    play = Play()
    sock = play.up(room())
    far = post()
    play.core.post(far, play.now)
    kept = play.frame(sock, wire.Ack(client_id=far.client_id, state="kept", room=HERE, id="ent_emea_3"))
    assert [(c.posted.state, c.final) for c in kept if isinstance(c, Settle)] == [("kept", False)]
    placed = play.frame(sock, row(3, INBOX, kind="placed", id="ent_emea_3", detail="41"))
    assert [(c.posted.state, c.posted.seq, c.final) for c in placed if isinstance(c, Settle)] == [("placed", 41, True)]


def test_fate_that_overtakes_its_ack_is_not_missed() -> None:
    play = Play()
    sock = play.up(room())
    far = post()
    play.core.post(far, play.now)
    play.frame(sock, row(3, INBOX, kind="refused", id="ent_emea_3", detail="not_member"))
    found = play.frame(sock, wire.Ack(client_id=far.client_id, state="kept", room=HERE, id="ent_emea_3"))
    assert [(c.posted.state, c.posted.code, c.final) for c in found if isinstance(c, Settle)] == [
        ("refused", "not_member", True)
    ]


def test_kept_posts_that_are_watched_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posts, "KEPT_MAX", 1)
    play = Play()
    sock = play.up(room())
    finals = []
    for no in (1, 2):
        far = post()
        play.core.post(far, play.now)
        found = play.frame(sock, wire.Ack(client_id=far.client_id, state="kept", room=HERE, id=f"ent_emea_{no}"))
        finals += [c.final for c in found if isinstance(c, Settle)]
    assert finals == [False, True]


def test_retryable_problem_is_tried_again_and_a_final_one_settles() -> None:
    play = Play()
    sock = play.up(room())
    mine = post()
    play.core.post(mine, play.now)
    busy = wire.ProblemEvent(
        code="busy", detail="", re="post", client_id=mine.client_id, retryable=True, retry_after_s=0.5
    )
    assert not play.frame(sock, busy)
    play.now += 0.5
    assert sent(play.do(play.core.tick(play.now))) == [mine]
    reused = wire.ProblemEvent(code="client_id_reused", detail="", re="post", client_id=mine.client_id)
    settled = play.frame(sock, reused)
    assert [(c.posted.state, c.posted.code) for c in settled if isinstance(c, Settle)] == [
        ("refused", "client_id_reused")
    ]


def test_too_many_unanswered_posts_are_refused() -> None:
    play = Play()
    for _ in range(POSTS_MAX):
        play.core.post(post(), 0.0)
    with pytest.raises(Refused, match="too_many_posts"):
        play.core.post(post(), 0.0)


def test_silence_is_noticed_and_anything_heard_counts_as_life() -> None:
    play = Play()
    sock = play.up(room())
    assert sent(play.wait()) == [wire.Ping()]
    assert play.now == pytest.approx(PING_S)
    play.frame(sock, row(6))
    heard_at = play.now
    while play.core.link is not None:
        play.wait()
    assert play.now == pytest.approx(heard_at + DEAD_S)
    assert Close(sock, rude=True) in play.said
    assert Lost("paris", DOORS[0], 1006, "silent") in events(play.said)


def test_socket_without_a_welcome_is_left() -> None:
    play = Play()
    play.do(play.core.opened(1, 0.0))
    while play.core.link is not None:
        play.wait()
    assert play.now == pytest.approx(WELCOME_S)


def test_migrate_opens_the_second_socket_before_closing_the_first() -> None:
    play = Play()
    sock = play.up(room(head=5))
    asked = play.frame(sock, wire.Migrate(reason="drain", within_s=2.0))
    assert Dial(2, DOORS[2]) in asked, "another site than the one that goes"
    assert events(play.frame(sock, row(6))) == [row(6)], "the first is listened to until resume"
    mine = post()
    play.core.post(mine, play.now)
    assert sent(play.core.opened(2, play.now)) == [wire.Resume(cursors={INBOX: 2, HERE: 6})]
    assert not events(play.frame(sock, row(7))), "not afterwards"
    ack = wire.Ack(client_id=mine.client_id, state="placed", room=HERE, id="ent_emea_7", seq=7)
    assert [c for c in play.frame(sock, ack) if isinstance(c, Settle)], "but its acks are true"
    play.frame(2, welcome(room(head=7), site="frankfurt"))
    assert events(play.frame(2, row(7))) == [row(7)]
    assert Close(sock) in play.frame(2, wire.Synced(resets={}))
    assert not any(isinstance(event, Lost) for event in events(play.said))


def test_migrate_avoids_the_site_that_goes_not_the_door_that_led_there() -> None:
    play = Play()
    sock = play.up(room(), site="frankfurt")  # entered at a door of paris, served by its sister
    asked = play.frame(sock, wire.Migrate(reason="drain", within_s=2.0))
    assert Dial(2, DOORS[0]) in asked


def test_migrate_for_the_door_avoids_the_doors_site() -> None:
    play = Play()
    sock = play.up(room(), site="frankfurt")  # entered at a door of paris, served by its sister
    asked = play.frame(sock, wire.Migrate(reason="door", within_s=2.0))
    assert Dial(2, DOORS[2]) in asked


def test_doors_that_lead_back_to_the_site_that_goes_are_tried_later_and_later() -> None:
    play = Play()
    sock, pauses = play.up(room()), []
    play.frame(sock, wire.Migrate(reason="drain", within_s=2.0))
    for _ in range(6):
        sock = play.up(room(), site="paris")
        assert not any(isinstance(c, Dial) for c in play.frame(sock, wire.Migrate(reason="drain", within_s=2.0)))
        asked_at = play.now
        while play.dialled().sock == sock:
            play.wait()
            play.frame(sock, wire.Pong(n=0))
        pauses.append(play.now - asked_at)
        assert play.dialled().door.site == "frankfurt"
    assert pauses[0] == pytest.approx(BACKOFF_S[0])
    assert all(later == pytest.approx(2 * sooner) for sooner, later in pairwise(pauses))


def test_a_new_search_begins_with_the_best_door_and_leaves_the_failed_one_for_later() -> None:
    play = Play()
    for _ in range(2):
        play.do(play.core.failed(play.dialled().sock, None, play.now))
        play.wait()
    sock = play.up(room(), site="frankfurt")
    assert play.dialled().door == DOORS[2]
    play.do(play.core.closed(sock, 1006, "", play.now))
    found = []
    for _ in range(4):
        play.wait()
        found.append(play.dialled().door)
        play.do(play.core.failed(play.dialled().sock, None, play.now))
    assert found == [DOORS[0], DOORS[1], DOORS[0], DOORS[1]]


def far_away() -> tuple[Play, int]:
    """A client whose doors at home failed, and who is served through another region."""
    play = Play()
    play.core.learned([DOORS[0], msgspec.structs.replace(DOORS[1], site="tokyo", region="apac")])
    play.do(play.core.failed(1, 503, play.now))
    play.wait()
    sock = play.up(room())
    assert play.dialled().door.region == "apac"
    return play, sock


def later(play: Play, sock: int) -> list[Command]:
    """What is said until the next dial, the socket being well."""
    said: list[Command] = []
    while not any(isinstance(command, Dial) for command in said):
        said += play.wait()
        play.frame(sock, wire.Pong(n=0))
    return said


def test_who_is_served_through_another_region_goes_back_without_a_break() -> None:
    play, sock = far_away()
    went_at = play.now
    later(play, sock)
    assert RETURN_S <= play.now - went_at <= 2 * RETURN_S
    assert play.dialled().door == DOORS[0]
    play.do(play.core.opened(play.dialled().sock, play.now))
    play.frame(play.dialled().sock, welcome(room()))
    assert Close(sock) in play.frame(play.dialled().sock, wire.Synced(resets={}))
    assert not any(isinstance(event, Lost) for event in events(play.said))
    assert play.core.return_at is None


def test_going_back_in_vain_changes_nothing() -> None:
    play, sock = far_away()
    later(play, sock)
    play.do(play.core.failed(play.dialled().sock, 503, play.now))
    assert events(play.frame(sock, row(6))) == [row(6)]
    tried_at = play.now
    later(play, sock)
    assert play.now - tried_at >= RETURN_S


def test_second_migrate_while_dialling_dials_once() -> None:
    play = Play()
    sock = play.up(room())
    play.frame(sock, wire.Migrate(reason="drain", within_s=2.0))
    assert not any(isinstance(c, Dial) for c in play.frame(sock, wire.Migrate(reason="drain", within_s=2.0)))


def test_failed_migration_goes_on_trying_while_the_first_socket_lives() -> None:
    play = Play()
    sock = play.up(room())
    play.frame(sock, wire.Migrate(reason="drain", within_s=2.0))
    play.do(play.core.failed(2, 503, play.now))
    assert events(play.frame(sock, row(6))) == [row(6)]
    play.wait()
    assert play.dialled().sock == 3


def test_if_the_second_socket_dies_before_synced_both_are_given_up() -> None:
    play = Play()
    sock = play.up(room(head=5))
    play.frame(sock, wire.Migrate(reason="drain", within_s=2.0))
    play.do(play.core.opened(2, play.now))
    found = play.do(play.core.closed(2, 1006, "", play.now))
    assert Close(sock, rude=True) in found, "rows it sent meanwhile were not listened to: it cannot be gone back to"
    play.wait()
    assert sent(play.core.opened(3, play.now)) == [wire.Resume(cursors={INBOX: 2, HERE: 5})]


def test_token_is_renewed_in_band_before_it_ends() -> None:
    play = Play()
    sock = play.up(room())
    while not any(isinstance(command, Renew) for command in play.said):
        play.wait()
        play.frame(sock, wire.Pong(n=0))
    assert play.now == pytest.approx(420.0)
    assert sent(play.core.renewed("token-1", play.now + 600, play.now)) == [wire.Renew(access_token="token-1")]


def test_refused_token_is_renewed_before_the_next_dial() -> None:
    play = Play()
    found = play.do(play.core.failed(1, 401, play.now))
    assert found == [Renew()]
    play.do(play.core.renewed("token-1", 600.0, play.now))
    play.wait()
    assert play.dialled().sock == 2


def test_close_for_token_renews_and_revoked_ends() -> None:
    play = Play()
    sock = play.up(room())
    assert Renew() in play.do(play.core.closed(sock, wire.CLOSE_TOKEN, "", play.now))
    play.do(play.core.renewed("token-1", 600.0, play.now))
    play.wait()
    sock = play.up(room())
    found = events(play.do(play.core.closed(sock, wire.CLOSE_REVOKED, "", play.now)))
    assert isinstance(found[-1], Ended)
    assert play.core.wake_at() is None


def test_refused_renewal_ends_the_session() -> None:
    play = Play()
    play.up(room())
    assert Ended("signed_out", "gone") in events(play.core.renew_refused("gone"))


def test_pause_leaves_the_socket_and_unpause_resumes() -> None:
    play = Play()
    sock = play.up(room(head=5))
    assert Close(sock, rude=True) in play.do(play.core.pause(play.now))
    assert not play.frame(sock, row(6))
    play.do(play.core.unpause(play.now))
    assert sent(play.core.opened(2, play.now)) == [wire.Resume(cursors={INBOX: 2, HERE: 5})]


def test_lacking_bodies_are_named_in_resume_until_they_come_or_go() -> None:
    play = Play()
    sock = play.up(room(head=0))
    for seq in (1, 2, 3):
        play.frame(sock, row(seq, state="waiting", author="usr_apac_1"))
    body = wire.BodyEvent(stream=HERE, id="ent_emea_1", state="ok", body={"kind": "text", "text": "x"})
    assert events(play.frame(sock, body)) == [body]
    assert not events(play.frame(sock, body)), "a body is shown once"
    play.frame(sock, row(4, kind="redaction", id="", target="ent_emea_2"))
    assert play.core.cursors.resume().missing == ["ent_emea_3"]
    play.frame(sock, row(5, kind="erasure", id="", target="usr_apac_1"))
    assert play.core.cursors.resume().missing == []


def test_resume_stays_within_its_limits() -> None:
    play = Play()
    sock = play.up(*(room(f"rom_emea_{no}", 1) for no in range(limits.CURSORS_MAX + 5)))
    for seq in range(6, limits.MISSING_MAX + 20):
        play.frame(sock, row(seq, state="held"))
    said = play.core.cursors.resume()
    assert len(said.cursors) == limits.CURSORS_MAX
    assert len(said.missing) == limits.MISSING_MAX


def test_reset_moves_the_cursor_and_tells_the_program() -> None:
    play = Play()
    sock = play.up(room(head=5))
    assert Reset(HERE, 90) in events(play.frame(sock, wire.Synced(resets={HERE: 90})))
    assert not events(play.frame(sock, row(90)))
    assert events(play.frame(sock, row(91)))


def test_device_state_and_watch_are_said_again_on_every_socket() -> None:
    play = Play()
    sock = play.up(room())
    state, watch = wire.SetState(state="away"), wire.Watch(people=["usr_emea_2"])
    play.core.say(state, 0.0)
    play.core.say(watch, 0.0)
    play.do(play.core.closed(sock, 1006, "", play.now))
    play.wait()
    play.core.opened(2, play.now)
    assert sent(play.frame(2, welcome(room()))) == [state, watch]


def test_learned_doors_are_used_from_their_best() -> None:
    play = Play()
    play.core.learned([DOORS[2], DOORS[0]])
    play.do(play.core.failed(1, None, play.now))
    play.wait()
    assert play.dialled().door == DOORS[2]


def test_room_that_came_into_view_is_shown_from_its_beginning_even_after_a_loss() -> None:
    play = Play()
    sock = play.up(room())
    play.frame(sock, row(3, INBOX, kind="added", target="rom_emea_2"))
    play.do(play.core.closed(sock, 1006, "", play.now))
    play.wait()
    assert sent(play.core.opened(2, play.now)) == [wire.Resume(cursors={INBOX: 3, HERE: 5, "rom_emea_2": 0})]


def test_room_joined_while_away_counts_as_seen_up_to_the_welcome() -> None:
    play = Play()
    sock = play.up(room())
    play.do(play.core.closed(sock, 1006, "", play.now))
    play.wait()
    play.core.opened(2, play.now)
    play.frame(2, welcome(room(), room("rom_emea_2", head=7)))
    play.frame(2, row(3, INBOX, kind="added", target="rom_emea_2"))
    assert play.core.cursors.seen["rom_emea_2"] == 7


def test_stream_that_is_not_ours_any_more_is_forgotten() -> None:
    play = Play()
    sock = play.up(room())
    play.frame(sock, wire.Synced(resets={HERE: 0}))
    assert play.core.cursors.resume().cursors == {INBOX: 2}
