"""People sign in, stay, are found, changed and erased, across regions that may be cut off or lose messages."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from directory_house import CLIENT, NOW, House, house, refusal, trouble
from moonbow.base.errors import Refused, Unavailable
from moonbow.base.ids import home, new_id
from moonbow.directory import rpc
from moonbow.directory.model import Claims, PersonRow
from moonbow.directory.roles import Actor
from moonbow.directory.seed import seed
from moonbow.directory.throttle import NETWORK_RULE
from moonbow.directory.tokens import is_operator
from moonbow.wire.rest import ChangePerson, NewPerson, Session
from support import eventually_async

SITES = ("paris", "tokyo", "ashburn", "shanghai")
NEW = NewPerson(login="Nova@Lunar.Example", password="a long pass-phrase", name="Nova  Star", role="member")


def play(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 40))


def claims_of(at: House, door: str, session: Session) -> Claims:
    return at.at[door].check(session.access_token)


def test_everybody_signs_in_at_every_door_and_only_home_believes_the_token(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            doors = {"paris": "emea", "tokyo": "apac", "ashburn": "na"}
            for region in doors.values():
                person = made.person(region)
                for door in doors:
                    session = await made.sign_in(door, person)
                    assert session.person.region == region
                    assert (session.person.name, session.person.role) == (person.name, person.role)
                    for other, its_region in doors.items():
                        if its_region == region:
                            claims = claims_of(made, other, session)
                            assert (claims.sub, claims.home, claims.org) == (
                                session.person.id, region, session.person.company,
                            )  # fmt: skip
                        else:
                            with pytest.raises(Refused, match="token_foreign"):
                                made.at[other].check(session.access_token)

    play(scenario())


def test_an_operator_is_whom_the_world_file_names_and_never_in_a_sealed_region(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            people = [person for company in made.demo.companies for person in company.people]
            for person in people:
                door = next(site for site in SITES if made.at[site].region == person.region)
                session = await made.sign_in(door, person)
                for claims in (claims_of(made, door, session), await renewed(made, door, session)):
                    assert is_operator(claims) == (person.login == "ada@lunar.example")

    async def renewed(made: House, door: str, session: Session) -> Claims:
        return claims_of(made, door, await made.at[door].refresh(session.refresh_token))

    play(scenario())


def test_a_wrong_password_an_unknown_name_and_an_erased_one_get_the_same(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            paris = made.at["paris"]
            verify = paris.metrics.verify

            def verified() -> float:
                return sum(bucket.get() for bucket in verify._buckets)

            ada = made.person("emea")
            answers = []
            for login in (ada.login, "nobody@lunar.example", "nobody@" + "x" * 200):
                before = verified()
                refused = await refusal(paris.sign_in(login, "wrong password", client=CLIENT))
                answers.append((refused.code, refused.detail, refused.status, refused.place, verified() - before))
            assert set(answers) == {("sign_in_refused", "the login or the password is wrong", 401, None, 1.0)}
            foreign = await refusal(paris.sign_in(made.person("apac").login, "wrong", client=CLIENT))
            assert (foreign.code, foreign.detail, foreign.status) == answers[0][:3]

    play(scenario())


def test_a_silent_region_is_said_and_never_wrong_password(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            paris = made.at["paris"]
            made.net.cut.add("apac")
            gone = await trouble(made.sign_in("paris", made.person("apac")))
            assert (gone.code, gone.region) == ("home_unreachable", "apac")
            maybe = await trouble(paris.sign_in("somebody@new.example", "password", client=CLIENT))
            assert maybe.code == "directory_incomplete"
            await made.sign_in("paris", made.person("emea"))
            await made.sign_in("paris", made.person("na"))
            for _ in range(20):  # nobody is delayed for what was nobody's fault
                assert (await trouble(made.sign_in("paris", made.person("apac")))).code == "home_unreachable"
            made.net.cut.clear()
            await made.sign_in("paris", made.person("apac"))

    play(scenario())


def test_a_login_not_yet_copied_is_found_by_asking(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            made.net.lossy = True
            ada = made.person("emea", "owner")
            claims = claims_of(made, "paris", await made.sign_in("paris", ada))
            await made.at["paris"].add_person(claims, NEW)
            session = await made.at["ashburn"].sign_in(NEW.login, NEW.password, client=CLIENT)
            assert session.person.name == "Nova Star"
            assert ("emea", rpc.FIND) in made.buses["ashburn"].asked

    play(scenario())


def test_guessing_is_slowed_down_and_the_right_password_forgives(state: Path) -> None:
    async def scenario() -> None:
        clock = [NOW]
        async with house(state, *SITES, now=lambda: clock[0]) as made:
            tokyo, ada = made.at["tokyo"], made.person("emea")
            codes = [(await refusal(tokyo.sign_in(ada.login, "wrong", client=f"10.0.{no}.1"))).code for no in range(7)]
            assert codes == ["sign_in_refused"] * 6 + ["throttled"]
            slowed = await refusal(made.sign_in("tokyo", ada))
            assert (slowed.code, slowed.status) == ("throttled", 429)
            assert 0 < (slowed.retry_after_s or 0) <= 1
            clock[0] += slowed.retry_after_s or 0
            await made.sign_in("tokyo", ada)
            assert (await refusal(tokyo.sign_in(ada.login, "wrong", client=CLIENT))).code == "sign_in_refused"
            # a network that tries many names, even at once, is slowed down as well, and only that network
            guesses = (tokyo.sign_in(f"name{no}@x.example", "wrong", client=f"203.0.113.{no}") for no in range(40))
            codes = [refused.code for refused in await asyncio.gather(*map(refusal, guesses))]
            assert codes.count("sign_in_refused") == NETWORK_RULE.free + 1
            assert codes.count("throttled") == 39 - NETWORK_RULE.free
            await made.sign_in("tokyo", ada)

    play(scenario())


def test_sessions_are_renewed_at_any_door_once_with_a_minutes_grace(state: Path) -> None:
    async def scenario() -> None:
        clock = [NOW]
        async with house(state, *SITES, "paris", now=lambda: clock[0]) as made:
            first = await made.sign_in("tokyo", made.person("emea"))
            second = await made.at["tokyo"].refresh(first.refresh_token)
            again, sister = await asyncio.gather(
                made.at["paris"].refresh(first.refresh_token), made.at["paris4"].refresh(first.refresh_token)
            )
            assert again.refresh_token == sister.refresh_token == second.refresh_token != first.refresh_token
            claims = claims_of(made, "paris", second)
            assert claims.sid == claims_of(made, "paris", first).sid
            clock[0] += 61
            assert (await refusal(made.at["ashburn"].refresh(first.refresh_token))).code == "token_revoked"
            assert (await refusal(made.at["paris"].refresh(second.refresh_token))).code == "token_invalid"
            with pytest.raises(Refused, match="token_revoked"):
                made.at["paris"].check(second.access_token)
            made.net.cut.add("emea")
            assert (await trouble(made.at["tokyo"].refresh(first.refresh_token))).code == "home_unreachable"
            for wrong in ("rft_mars_" + "0" * 78, "rft_cn_" + "0" * 78, "nonsense"):
                assert (await refusal(made.at["tokyo"].refresh(wrong))).code == "token_invalid"

    play(scenario())


@pytest.mark.parametrize("lossy", [False, True])
def test_ending_sessions_reaches_every_gateway_even_if_the_bus_loses_it(state: Path, lossy: bool) -> None:
    async def scenario() -> None:
        async with house(state, "paris", "paris", "tokyo") as made:
            paris, sister = made.at["paris"], made.at["paris1"]
            made.net.lossy = lossy
            heard: list[tuple[str, str | None]] = []
            sister.on_revoked(lambda person, sid, _before: heard.append((person, sid)))
            ada = made.person("emea")
            sessions = [await made.sign_in("paris", ada) for _ in range(3)]
            claims = [claims_of(made, "paris1", session) for session in sessions]
            await paris.sign_out(claims[0])
            await eventually_async(lambda: heard == [(claims[0].sub, claims[0].sid)])
            with pytest.raises(Refused, match="token_revoked"):
                sister.check(sessions[0].access_token)
            assert claims_of(made, "paris1", sessions[1]) == claims[1]
            await paris.sign_out_everywhere(claims[1])
            await eventually_async(lambda: len(heard) == 3)
            await sister._sessions.poll()  # whoever tells it, it is told once
            assert sorted(heard, key=str) == sorted([(item.sub, item.sid) for item in claims], key=str)
            for session in sessions:
                with pytest.raises(Refused, match="token_revoked"):
                    sister.check(session.access_token)
                assert (await refusal(sister.refresh(session.refresh_token))).code == "token_invalid"
            fresh = await made.sign_in("paris", ada)
            claims_of(made, "paris1", fresh)

    play(scenario())


def test_a_rotation_signs_nobody_out(state: Path) -> None:
    async def scenario() -> None:
        clock = [NOW]
        async with house(state, "paris", "paris", "tokyo", now=lambda: clock[0]) as made:
            paris, sister = made.at["paris"], made.at["paris1"]
            old = await made.sign_in("paris", made.person("emea"))
            jwks = state / "sites" / "tokyo" / "jwks.json"
            (first,) = msgspec.json.decode(jwks.read_bytes())["emea"]
            await paris.rotate()
            await eventually_async(lambda: len(msgspec.json.decode(jwks.read_bytes())["emea"]) == 2)
            clock[0] += 30  # announced, not yet signing
            assert kid_of((await made.sign_in("paris", made.person("emea"))).access_token) == first["kid"]
            clock[0] += 31
            new = await made.sign_in("paris", made.person("emea"))
            assert kid_of(new.access_token) != first["kid"]
            for gateway in (paris, sister):  # at once, before the sister's next look at the keys
                assert gateway.check(new.access_token).sid != gateway.check(old.access_token).sid
            clock[0] += 700
            await eventually_async(lambda: len(msgspec.json.decode(jwks.read_bytes())["emea"]) == 1)
            assert msgspec.json.decode(jwks.read_bytes())["emea"][0]["kid"] == kid_of(new.access_token)
            assert len(list((state / "regions" / "emea" / "keys").glob("key_*.json"))) == 1
            assert (await sister.refresh(old.refresh_token)).person == old.person
            edge = state / "sites" / "capetown" / "jwks.json"
            await eventually_async(lambda: edge.read_bytes() == jwks.read_bytes())

    play(scenario())


def kid_of(token: str) -> str:
    from moonbow.base.base64url import decode64

    kid: str = msgspec.json.decode(decode64(token.split(".")[0]))["kid"]
    return kid


def test_colleagues_are_found_in_all_regions(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            paris = made.at["paris"]
            org = claims_of(made, "paris", await made.sign_in("paris", made.person("emea"))).org
            names = {person.name for person in made.demo.companies[0].people}
            found, cursor = [], None
            for _ in range(10):
                page, cursor, missing = await paris.people(org, "", cursor, 2)
                assert missing == []
                found += page
                if cursor is None:
                    break
            assert [person.name for person in found] == sorted(names)
            assert len(found) == 6
            assert all(person.region == home(person.id) and person.company == org for person in found)
            assert [person.name for person in (await paris.people(org, "yildiz"))[0]] == []
            assert [person.name for person in (await paris.people(org, "mehmet"))[0]] == ["Mehmet Yıldız"]
            assert await paris.names([person.id for person in found]) == {p.id: p.name for p in found}
            asked = len(made.buses["paris"].asked)
            assert await paris.colleagues(org, [p.id for p in found]) == {p.id: p for p in found}
            assert len(made.buses["paris"].asked) == asked  # remembered for a minute
            assert await paris.colleagues("org_emea_" + "0" * 26, [p.id for p in found]) == {}
            assert await made.at["tokyo"].company_name(org) == "Lunar Rainbows"
            made.net.cut.add("apac")
            page, _, missing = await paris.people(org)
            assert missing == ["apac"]
            assert {person.region for person in page} == {"emea", "na"}
            apac = next(person.id for person in found if person.region == "apac")
            assert await made.at["ashburn"].names([apac]) == {}
            assert (await trouble(made.at["ashburn"].colleagues(org, [apac]))).region == "apac"
            assert (await refusal(paris.people(org, "", "bad cursor", 5))).code == "cursor_unknown"

    play(scenario())


def test_people_are_added_where_they_belong_by_the_companys_home(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            tokyo = made.at["tokyo"]
            admin = made.person("apac", "admin")
            claims = claims_of(made, "tokyo", await made.sign_in("tokyo", admin))
            nova = await tokyo.add_person(claims, msgspec.structs.replace(NEW, region="na"))
            assert (nova.region, nova.role, nova.name, nova.company) == ("na", "member", "Nova Star", claims.org)
            for door in ("paris", "tokyo", "ashburn"):
                assert (await made.at[door].sign_in("nova@lunar.example", NEW.password, client=CLIENT)).person == nova
            for region in (None, "emea", "na"):
                taken = await refusal(tokyo.add_person(claims, msgspec.structs.replace(NEW, region=region)))
                assert (taken.code, taken.status) == ("login_taken", 409)
                assert (await made.at["paris"].sign_in(NEW.login, NEW.password, client=CLIENT)).person == nova
            refusals = {
                "not_allowed": {"role": "admin"},
                "region_unknown": {"region": "mars"},
                "password_weak": {"password": "Other@lunar.example"},
                "login_malformed": {"login": "no va"},
                "name_malformed": {"name": " \x07 "},
            }
            for code, change in refusals.items():
                wanted = msgspec.structs.replace(NEW, **{"login": "other@lunar.example", **change})
                assert (await refusal(tokyo.add_person(claims, wanted))).code == code
            sealed = msgspec.structs.replace(NEW, login="other@lunar.example", region="cn")
            assert (await refusal(tokyo.add_person(claims, sealed))).code == "region_unknown"
            made.net.cut.add("emea")  # the company's home
            later = msgspec.structs.replace(NEW, login="later@lunar.example")
            assert (await trouble(tokyo.add_person(claims, later))).code == "home_unreachable"
            made.net.cut.clear()
            assert (await tokyo.add_person(claims, later)).region == "apac"

    play(scenario())


def test_a_login_claimed_for_a_region_that_was_cut_off_can_be_used_later(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            claims = claims_of(made, "paris", await made.sign_in("paris", made.person("emea", "owner")))
            made.net.cut.add("na")
            wanted = msgspec.structs.replace(NEW, region="na")
            assert (await trouble(made.at["paris"].add_person(claims, wanted))).region == "na"
            made.net.cut.clear()
            assert (await made.at["paris"].add_person(claims, wanted)).region == "na"

    play(scenario())


def test_changes_cross_regions_and_take_effect(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            paris, tokyo = made.at["paris"], made.at["tokyo"]
            owner = claims_of(made, "paris", await made.sign_in("paris", made.person("emea", "owner")))
            priya = made.person("apac")
            session = await made.sign_in("tokyo", priya)
            changed = await paris.change_person(owner, session.person.id, ChangePerson(name="P. R.", role="guest"))
            assert (changed.name, changed.role) == ("P. R.", "guest")
            renewed = await tokyo.refresh(session.refresh_token)
            assert claims_of(made, "tokyo", renewed).role == "guest"
            # the role that counts is the one the store holds, not the token's
            stale = claims_of(made, "tokyo", session)
            assert (await refusal(tokyo.add_person(stale, NEW))).code == "not_allowed"
            await paris.change_person(owner, session.person.id, ChangePerson(password="another pass-phrase"))
            assert (await refusal(made.sign_in("tokyo", priya))).code == "sign_in_refused"
            with pytest.raises(Refused, match="token_revoked"):
                tokyo.check(renewed.access_token)
            mine = await tokyo.sign_in(priya.login, "another pass-phrase", client=CLIENT)
            other = await tokyo.sign_in(priya.login, "another pass-phrase", client=CLIENT)
            me = claims_of(made, "tokyo", mine)
            await tokyo.change_person(me, me.sub, ChangePerson(password="a third pass-phrase"))
            tokyo.check(mine.access_token)  # this device stays
            with pytest.raises(Refused, match="token_revoked"):
                tokyo.check(other.access_token)
            for ident, code in ((owner.sub, "not_allowed"), ("usr_na_" + "0" * 26, "person_unknown")):
                assert (await refusal(tokyo.change_person(me, ident, ChangePerson(name="x")))).code == code
            assert (await refusal(tokyo.change_person(me, me.sub, ChangePerson(role="owner")))).code == "not_allowed"
            assert (await refusal(tokyo.change_person(me, me.sub, ChangePerson()))).code == "not_allowed"

    play(scenario())


def test_erasing_ends_everything_and_frees_the_login_even_if_home_was_away(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            paris, ashburn = made.at["paris"], made.at["ashburn"]
            owner = claims_of(made, "paris", await made.sign_in("paris", made.person("emea", "owner")))
            zofia = made.person("na")
            session = await made.sign_in("ashburn", zofia)
            me = claims_of(made, "ashburn", session)
            made.net.cut.add("emea")
            done = await ashburn.erase_person(me, me.sub)
            assert done.receipt
            assert await ashburn.erased() == [me.sub]
            with pytest.raises(Refused, match="token_revoked"):
                ashburn.check(session.access_token)
            assert (await refusal(ashburn.refresh(session.refresh_token))).code == "token_invalid"
            assert (await refusal(made.sign_in("ashburn", zofia))).code == "sign_in_refused"
            assert await ashburn.names([me.sub]) == {}
            assert len(await ashburn.store.releases()) == 1
            made.net.cut.clear()

            async def released() -> bool:
                return await ashburn.store.releases() == []

            await eventually_async(released)
            again = msgspec.structs.replace(NEW, login=zofia.login, region="apac")
            assert (await paris.add_person(owner, again)).region == "apac"

    play(scenario())


class Away:
    """A room that cannot be asked."""

    async def erase(self, person: str) -> dict[str, int]:
        raise Unavailable("store_unavailable", f"away, and keeps {person}")


def test_an_owner_erases_from_afar_and_only_their_company_sees_it(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            paris = made.at["paris"]
            owner = claims_of(made, "paris", await made.sign_in("paris", made.person("emea", "owner")))
            session = await made.sign_in("ashburn", made.person("na"))
            zofia = session.person.id
            assert (await refusal(paris.erasure(owner, zofia))).code == "person_unknown"
            done = await paris.erase_person(owner, zofia)
            seen = await paris.erasure(owner, zofia)
            assert (seen.state, seen.receipt) == ("done", done.receipt)
            assert done.receipt
            assert await paris.erase_person(owner, zofia) == done, "asked again, it is the same"
            with pytest.raises(Refused, match="token_revoked"):
                made.at["ashburn"].check(session.access_token)
            member = claims_of(made, "ashburn", await made.sign_in("ashburn", made.person("na", "guest")))
            assert (await refusal(made.at["ashburn"].erasure(member, zofia))).code == "not_allowed"
            assert (await refusal(made.at["ashburn"].erase_person(member, zofia))).code == "not_allowed"
            nobody = "usr_na_" + "0" * 26
            assert (await refusal(paris.erase_person(owner, nobody))).code == "person_unknown"

    play(scenario())


def test_an_erasure_cut_short_is_finished_by_asking_again(state: Path) -> None:
    """The profile is gone, a later room did not answer; another gateway is asked again."""

    async def scenario() -> None:
        async with house(state, "ashburn", "ashburn") as made:
            first, second = made.at["ashburn"], made.at["ashburn1"]
            session = await made.sign_in("ashburn", made.person("na"))
            target, company = session.person.id, session.person.company
            admin = Actor("usr_na_" + "1" * 26, company, "admin")
            ask = rpc.EraseAsk(admin.person, admin.role, admin.company, target)
            first._staffing._erasing.ask("away", Away())
            assert (await trouble(first._staffing._erase(ask))).code == "store_unavailable"
            assert await second.store.person(target) is None, "the trial: it was cut short"
            assert (await second._staffing._erasure(ask)).state == "under_way"
            assert (await second._staffing._erase(ask)).receipt
            assert (await second._staffing._erasure(ask)).state == "done"

    play(scenario())


def test_a_region_without_people_of_a_company_learns_nothing_of_it(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            shanghai, paris = made.at["shanghai"], made.at["paris"]
            sealed = made.person("cn", "owner")
            session = await made.sign_in("shanghai", sealed)
            claims = claims_of(made, "shanghai", session)
            assert (await refusal(made.sign_in("paris", sealed))).code == "sign_in_refused"
            assert (await refusal(made.sign_in("shanghai", made.person("emea")))).code == "sign_in_refused"
            assert [person.region for person in (await shanghai.people(claims.org))[0]] == ["cn"] * 3
            assert await paris.store.shared.login(paris._staffing._key.hash(NEW.login)) is None
            nova = await shanghai.add_person(claims, NEW)
            assert (await shanghai.sign_in(NEW.login, NEW.password, client=CLIENT)).person == nova
            assert await shanghai.company_name(claims.org) == "Lunar Rainbows (China)"
            assert made.buses["shanghai"].asked == []
            # a company of emea only; apac asks about it
            other = "org_emea_" + "0" * 25 + "1"
            await paris.store.claim_login(other, "ab" * 32, "key", "emea", NOW)
            row = PersonRow(
                id=new_id("usr", "emea"), company=other, name="X", role="owner", login="x@y", login_hash="ab" * 32,
                made_at=NOW,
            )  # fmt: skip
            await paris.store.create_person(row, "x")
            assert await paris.names([row.id]) == {row.id: "X"}
            assert await made.at["tokyo"].names([row.id]) == {}
            asks = [
                (rpc.PEOPLE, rpc.PeopleAsk(other, "", None, 10)),
                (rpc.COMPANY, rpc.CompanyAsk(other)),
                (rpc.CLAIM, rpc.ClaimAsk(other, "cd" * 32, "abcdefgh", "apac")),
                (rpc.RELEASE, rpc.ReleaseAsk(other, "ab" * 32, "emea")),
                (rpc.CREATE, rpc.CreateAsk(other, "x@y", "ab" * 32, "$argon2id$" + "x" * 20, "X", "owner")),
            ]
            for op, ask in asks:
                assert (await refusal(paris.serve("apac", op, rpc.encode(ask)))).code == "not_yours"
                assert (await refusal(paris.serve("cn", op, rpc.encode(ask)))).code == "not_yours"
                assert (await refusal(paris.serve("apac", op, b"\x93nonsense"))).code == "request_malformed"
            for op in (rpc.SIGN_IN, rpc.FIND, rpc.REFRESH, rpc.PERSONS, "directory.log"):
                for stranger in ("cn", "mars", "emea"):
                    assert (await refusal(paris.serve(stranger, op, b"\x90"))).code == "not_yours"
            # a region speaks for its own people only
            owner = claims_of(made, "paris", await made.sign_in("paris", made.person("emea", "owner")))
            forged = rpc.ChangeAsk(owner.sub, "owner", owner.org, owner.sub, rpc.PersonChange(name="Mallory"))
            assert (await refusal(paris.serve("apac", rpc.CHANGE, rpc.encode(forged)))).code == "not_yours"
            unclaimed = rpc.CreateAsk(owner.org, "x@y", "ef" * 32, "$argon2id$" + "x" * 20, "X", "member")
            assert (await refusal(paris.serve("apac", rpc.CREATE, rpc.encode(unclaimed)))).code == "login_unclaimed"
            assert (await refusal(paris.serve("apac", "directory.dump", b""))).code == "operation_unknown"
            assert await paris.serve("apac", "timeline.rows", b"") is None

    play(scenario())


def test_nothing_of_a_person_rests_elsewhere_or_in_a_log(state: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        with caplog.at_level("DEBUG"):
            async with house(state, *SITES) as made:
                paris = made.at["paris"]
                owner = claims_of(made, "paris", await made.sign_in("paris", made.person("emea", "owner")))
                canary = NewPerson(login="canary-login@x.example", password="canary-password", name="Canary-Name")
                person = await paris.add_person(owner, msgspec.structs.replace(canary, region="apac"))
                session = await paris.sign_in(canary.login, canary.password, client="198.51.100.77")
                await paris.sign_in(canary.login, canary.password, client="198.51.100.77")
                await refusal(paris.sign_in(canary.login, "canary-wrong", client="198.51.100.77"))
                await paris.names([person.id])
                await paris.people(owner.org, "canary")
                await paris.refresh(session.refresh_token)
        private = [canary.login, canary.name, person.id, "198.51.100", session.refresh_token[-52:]]
        secret = [canary.password, "canary-wrong", session.access_token, session.refresh_token]
        held = {
            region: b"".join(file.read_bytes() for file in (state / "regions" / region).rglob("*") if file.is_file())
            for region in ("emea", "apac", "na", "cn")
        }
        assert all(word.encode() in held["apac"] for word in private[:3])  # the control
        for word in [*private, *secret]:
            for region in ("emea", "na", "cn"):
                assert word.encode() not in held[region], (word, region)
            assert word not in caplog.text
        for word in secret:
            assert word.encode() not in held["apac"]

    play(scenario())


def test_a_seed_mends_what_was_interrupted_and_changes_nothing_else(state: Path) -> None:
    async def scenario() -> None:
        async with house(state, *SITES) as made:
            first = made.demo
            zofia = made.person("na")
            ident = (await made.sign_in("paris", zofia)).person.id
        for file in (state / "regions" / "apac").glob("directory.db*"):
            await asyncio.to_thread(file.unlink)
        assert await seed(state, NOW + 5) == first
        assert ((state / "world" / "demo.json").stat().st_mode & 0o777) == 0o600
        async with house(state, *SITES) as made:
            assert (await made.sign_in("paris", zofia)).person.id == ident
            await made.sign_in("paris", made.person("apac"))

    play(scenario())
