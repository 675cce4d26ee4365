import { describe, expect, it } from "vitest";
import { INBOX, ME, only, Play, room, ROOM, row, sent, SHE, welcome } from "./playbook";

function live(change = {}) {
  const play = new Play();
  play.connect([room(ROOM, change)]);
  return play;
}

describe("rows", () => {
  it("each once, in order, whatever is sent twice", () => {
    const play = live({ head: 3 });
    play.hear(row(2), row(4), row(4), row(6), row(5), row(6), row(9));
    expect(play.view().rows.map((one) => one.seq)).toEqual([4, 6, 9]);
    expect(play.view().cursor).toBe(9);
  });

  it("a page goes before what is on hand, without an overlap", () => {
    const play = live({ head: 3 });
    play.hear(row(4));
    const [page] = only(play.do({ t: "open_room", room: ROOM }), "page");
    expect(page?.before).toBe(4);
    play.hear(row(5));
    play.do({ t: "page", room: ROOM, request: page?.request ?? 0, page: { rows: [row(1), row(2), row(3), row(4)], head: 5, more: false } });
    expect(play.view().rows.map((one) => one.seq)).toEqual([1, 2, 3, 4, 5]);
    expect(play.view().more).toBe(false);
  });

  it("a page asked for before a reset is not used after it", () => {
    const play = live({ head: 3 });
    const [page] = only(play.do({ t: "open_room", room: ROOM }), "page");
    play.hear({ t: "synced", resets: { [ROOM]: 500 } });
    play.do({ t: "page", room: ROOM, request: page?.request ?? 0, page: { rows: [row(1), row(2), row(3)], head: 3, more: true } });
    expect(play.view().rows).toEqual([]);
    expect(only(play.done, "page").at(-1)?.before).toBe(501);
  });

  it("a failed page is named and can be asked for again", () => {
    const play = live({ head: 3 });
    const [page] = only(play.do({ t: "open_room", room: ROOM }), "page");
    play.do({ t: "page_failed", room: ROOM, request: page?.request ?? 0, code: "home_unreachable" });
    expect(play.view().failed).toBe("home_unreachable");
    expect(only(play.do({ t: "history", room: ROOM }), "page")).toHaveLength(1);
  });

  it("a room seen by a row only is asked for", () => {
    const play = live();
    expect(play.hear(row(7, { stream: "rom_emea_new" }))).toContainEqual({ t: "fetch_room", room: "rom_emea_new" });
    play.do({ t: "room", room: room("rom_emea_new", { head: 7, no: 7, unread: 1, title: "New" }) });
    expect(play.view("rom_emea_new").info).toMatchObject({ title: "New", unread: 1 });
  });

  it("an unresumed room starts anew with the snapshot", () => {
    const play = live();
    play.hear(row(1));
    play.lose();
    play.connect([room(ROOM, { head: 1 }), room("rom_emea_other", { head: 40, unread: 2 })]);
    expect(play.view("rom_emea_other")).toMatchObject({ cursor: 40, rows: [] });
    expect(play.texts()).toEqual(["text 1"]);
  });

  it("a room that is no longer ours leaves the list, unless it is on the screen", () => {
    const play = live();
    play.lose();
    play.connect([]);
    expect(play.state.rooms.size).toBe(0);
    const open = live();
    open.do({ t: "open_room", room: ROOM });
    open.lose();
    open.connect([]);
    expect(open.view().info.joined).toBe(false);
  });
});

describe("bodies", () => {
  it("come later, once, and never after an erasure", () => {
    const play = live();
    play.hear(row(1, { body: null, state: "waiting" }), row(2, { body: null, state: "held" }));
    const body = (seq: number, state: "ok" | "held" | "erased") => ({
      t: "body" as const, stream: ROOM, id: row(seq).id ?? "", state, body: state === "ok" ? { kind: "text", text: `late ${seq}` } : null,
    });
    play.hear(body(1, "held"));
    expect(play.view().rows[0]?.state).toBe("held");
    play.hear(body(1, "ok"), body(2, "erased"), body(2, "ok"), body(1, "held"));
    expect(play.texts()).toEqual(["late 1", undefined]);
    expect(play.view().rows.map((one) => one.state)).toEqual(["ok", "erased"]);
  });

  it("redaction erases what is on hand and what is paged later", () => {
    const play = live({ head: 2 });
    play.hear(row(3), row(4, { kind: "redaction", id: null, target: row(3).id, no: 3, body: null }));
    play.hear(row(5, { kind: "redaction", id: null, target: row(1).id, no: 3, body: null }));
    const [page] = only(play.do({ t: "open_room", room: ROOM }), "page");
    play.do({ t: "page", room: ROOM, request: page?.request ?? 0, page: { rows: [row(1), row(2)], head: 5, more: false } });
    expect(play.texts().slice(0, 3)).toEqual([undefined, "text 2", undefined]);
    expect(play.view().rows.map((one) => one.state).slice(0, 3)).toEqual(["erased", "ok", "erased"]);
  });

  it("erasing a person erases all they wrote before, and nothing after", () => {
    const play = live();
    play.hear(row(1), row(2, { author: ME }), row(3, { kind: "erasure", id: null, target: SHE, no: 2, body: null }), row(4));
    expect(play.view().rows.map((one) => one.state)).toEqual(["erased", "ok", "ok", "ok"]);
  });

  it("a title is the room's own latest", () => {
    const play = live();
    play.hear(row(1, { target: ROOM, no: 0, body: { kind: "title", title: "One" } }), row(2, { target: ROOM, no: 0, body: null, state: "waiting" }));
    expect(play.view().info.title).toBe("One");
    play.hear({ t: "body", stream: ROOM, id: row(2).id ?? "", state: "ok", body: { kind: "title", title: "Two" } });
    expect(play.view().info.title).toBe("Two");
    expect(play.view().info.unread).toBe(0);
  });
});

describe("bodies that a page lacked", () => {
  it("are asked for again while the room is open, more and more seldom, and no more once they are there", () => {
    const play = live({ head: 2 });
    const [page] = only(play.do({ t: "open_room", room: ROOM }), "page");
    const held = row(2, { state: "held", body: null });
    play.do({ t: "page", room: ROOM, request: page?.request ?? 0, page: { rows: [row(1), held], head: 2, more: false } });
    const asked = () => {
      const found = only(play.after(1_000), "refill").length;
      for (const { n } of sent(play.done.splice(0), "ping")) play.hear({ t: "pong", n });
      return found;
    };
    const times = Array.from({ length: 60 }, asked).reduce((sum, n) => sum + n, 0);
    expect(times).toBeGreaterThan(3);
    expect(times).toBeLessThan(9);
    play.do({ t: "refilled", room: ROOM, rows: [row(1), held] });
    expect(play.view().rows[1]?.state).toBe("held");
    play.do({ t: "refilled", room: ROOM, rows: [row(1), row(2)] });
    expect(play.texts()).toEqual(["text 1", "text 2"]);
    expect(Array.from({ length: 60 }, asked).reduce((sum, n) => sum + n, 0)).toBe(0);
  });
});

describe("a title that is not known yet", () => {
  const named = (seq: number) => row(seq, { target: ROOM, no: 0, body: { kind: "title", title: "From a row" } });

  it("is taken from a page", () => {
    const play = live({ head: 2, title: null, title_state: "waiting" });
    const [page] = only(play.do({ t: "open_room", room: ROOM }), "page");
    play.do({ t: "page", room: ROOM, request: page?.request ?? 0, page: { rows: [row(1, { kind: "join", id: null, target: ME }), named(2)], head: 2, more: false } });
    expect(play.view().info.title).toBe("From a row");
  });

  it("is not taken away by an answer that was under way before it", () => {
    const play = live({ title: null, title_state: "ok" });
    play.hear(row(1, { kind: "join", id: null, target: ME }), named(2));
    play.do({ t: "room", room: room(ROOM, { head: 1, title: null, title_state: "ok" }) });
    expect(play.view().info.title).toBe("From a row");
    play.hear({ t: "room", room: room(ROOM, { head: 2, title: "Newer", title_state: "ok" }) });
    expect(play.view().info.title).toBe("Newer");
  });

  it("is not taken away by a snapshot that lacks it", () => {
    const play = live({ title: null, title_state: "waiting" });
    play.hear(named(1), { t: "room", room: room(ROOM, { head: 1, title: null, title_state: "held" }) });
    expect(play.view().info.title).toBe("From a row");
  });
});

describe("unread", () => {
  it("counts others' messages and nothing else", () => {
    const play = live({ head: 3, no: 3, read: 3 });
    play.hear(row(4), row(5, { author: ME }), row(6, { kind: "join", id: null, target: "usr_emea_x", no: 5, body: null }), row(7, { no: 6 }));
    expect(play.view().info.unread).toBe(2);
    expect(play.view().info).toMatchObject({ members: 3, others: [SHE, "usr_emea_x"], joined: true });
    play.hear(row(8, { kind: "leave", id: null, target: "usr_emea_x", no: 6, body: null }), row(9, { kind: "leave", id: null, target: ME, no: 6, body: null }));
    expect(play.view().info).toMatchObject({ members: 1, others: [SHE], joined: false });
  });

  it("does not count twice what the snapshot of a resume has counted", () => {
    const play = live({ head: 1, no: 1, read: 1 });
    play.hear(row(2));
    play.lose();
    play.after(5_000);
    play.do({ t: "opened", socket: play.state.link.socket });
    play.hear(welcome([room(ROOM, { head: 4, no: 4, read: 1, unread: 3 })]), row(3), row(4), { t: "synced", resets: {} });
    expect(play.view().info.unread).toBe(3);
    play.hear(row(5));
    expect(play.view().info.unread).toBe(4);
  });

  it("is read while somebody looks, and the mark is sent a little later, once", () => {
    const play = live({ head: 1, no: 1, read: 1 });
    play.do({ t: "open_room", room: ROOM });
    play.do({ t: "attention", on: true });
    play.hear(row(2), row(3));
    expect(play.view().info).toMatchObject({ unread: 0, read: 3 });
    expect(sent(play.after(400), "read")).toEqual([{ t: "read", room: ROOM, seq: 3 }]);
    play.do({ t: "attention", on: false });
    play.hear(row(4));
    expect(play.view().info.unread).toBe(1);
    expect(play.view().line).toBe(3);
  });

  it("a read mark does not wait when the page goes", () => {
    const play = live({ head: 1, no: 1, read: 1 });
    play.do({ t: "open_room", room: ROOM });
    play.do({ t: "attention", on: true });
    play.hear(row(2));
    expect(sent(play.do({ t: "leaving" }), "read")).toEqual([{ t: "read", room: ROOM, seq: 2 }]);
    expect(sent(play.after(1_000), "read")).toEqual([]);
  });

  it("a room is read when it is opened, whichever is said first", () => {
    const play = live({ head: 3, no: 3, read: 1, unread: 2 });
    play.do({ t: "attention", on: true });
    play.do({ t: "open_room", room: ROOM });
    expect(play.view()).toMatchObject({ line: 1, info: { unread: 0, read: 3 } });
  });

  it("a read mark made without a connection is sent with the next one", () => {
    const play = live({ head: 3, no: 3, read: 1, unread: 2 });
    play.do({ t: "open_room", room: ROOM });
    expect(play.view().line).toBe(1);
    play.lose();
    play.do({ t: "attention", on: true });
    const commands = play.connect([room(ROOM, { head: 3, no: 3, read: 1, unread: 2 })]);
    expect(sent(commands, "read")).toEqual([{ t: "read", room: ROOM, seq: 3 }]);
    expect(play.view().info.unread).toBe(0);
  });

  it("another device's reading counts here, an older mark does not", () => {
    const play = live({ head: 3, no: 3, read: 0, unread: 3 });
    play.hear({ t: "read", room: ROOM, seq: 2, unread: 1 }, { t: "read", room: ROOM, seq: 1, unread: 2 });
    expect(play.view().info).toMatchObject({ read: 2, unread: 1 });
  });
});

describe("the inbox", () => {
  const inbox = (seq: number, change: object) => row(seq, { stream: INBOX, id: null, author: null, no: 0, body: null, state: null, target: "rom_emea_new", ...change });

  it("fetches a room one was added to, once, and leaves one that one was removed from", () => {
    const play = live();
    expect(play.hear(inbox(1, { kind: "added" }), inbox(1, { kind: "added" }))).toEqual([{ t: "fetch_room", room: "rom_emea_new" }]);
    play.hear({ t: "room", room: room("rom_emea_new") });
    play.hear(inbox(2, { kind: "removed" }));
    expect(play.view("rom_emea_new").info.joined).toBe(false);
    expect(play.state.inbox?.cursor).toBe(2);
  });
});
