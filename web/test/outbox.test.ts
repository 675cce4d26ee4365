import { describe, expect, it } from "vitest";
import { ack, FAR, INBOX, ME, only, Play, room, ROOM, row, sent } from "./playbook";

function live() {
  const play = new Play();
  play.connect([room(ROOM), room(FAR)]);
  return play;
}

const say = (play: Play, client_id: string, where = ROOM) => play.do({ t: "post", room: where, client_id, text: `says ${client_id}` });
const fate = (seq: number, kind: string, change = {}) =>
  row(seq, { stream: INBOX, kind, id: "ent_emea_k", author: ME, target: FAR, no: 0, body: null, state: null, ...change });

describe("the outbox", () => {
  it("shows at once, and gives way to the row whether the row or the answer comes first", () => {
    const play = live();
    expect(sent(say(play, "a"), "post")).toHaveLength(1);
    expect(play.state.outbox).toMatchObject([{ client_id: "a", state: "sent" }]);
    play.hear(ack("a", { id: "ent_emea_a", seq: 1 }));
    expect(play.state.outbox).toMatchObject([{ state: "placed" }]);
    play.hear(row(1, { id: "ent_emea_a", author: ME }));
    expect(play.state.outbox).toEqual([]);
    say(play, "b");
    play.hear(row(2, { id: "ent_emea_b", author: ME, client_id: "b" }));
    expect(play.state.outbox).toEqual([]);
    play.hear(ack("b", { id: "ent_emea_b", seq: 2 }));
    expect(play.state.outbox).toEqual([]);
    say(play, "c");
    play.hear(row(3, { id: "ent_emea_c", author: ME }), ack("c", { id: "ent_emea_c", seq: 3 }));
    expect(play.state.outbox).toEqual([]);
    expect(only(play.done, "forget")).toHaveLength(3);
  });

  it("waits without a connection and keeps its order", () => {
    const play = live();
    play.lose();
    for (const id of ["a", "b", "c"]) expect(sent(say(play, id), "post")).toEqual([]);
    const posts = sent(play.connect([room(ROOM), room(FAR)]), "post");
    expect(posts.map((post) => post.client_id)).toEqual(["a", "b", "c"]);
  });

  it("asks again with the same id until it is answered", () => {
    const play = live();
    say(play, "a");
    for (let i = 0; i < 3; i += 1) {
      for (const ping of sent(play.after(4_000), "ping")) play.hear({ t: "pong", n: ping.n });
    }
    expect(sent(play.done, "post").map((post) => post.client_id)).toEqual(["a", "a"]);
  });

  it("never has more than a few under way", () => {
    const play = live();
    for (let i = 0; i < 40; i += 1) say(play, `m${i}`);
    expect(sent(play.done, "post")).toHaveLength(16);
    play.hear(ack("m0", { id: "ent_0", seq: 1 }));
    expect(sent(play.done, "post")).toHaveLength(17);
    expect(sent(play.done, "post").at(-1)?.client_id).toBe("m16");
  });

  it("waits as long as it is told to, and nothing overtakes in that room", () => {
    const play = live();
    say(play, "a");
    play.hear({ t: "problem", code: "throttled", detail: "", re: "post", client_id: "a", retryable: true, retry_after_s: 2 });
    expect(sent(say(play, "b"), "post")).toEqual([]);
    expect(sent(say(play, "far", FAR), "post")).toHaveLength(1);
    expect(sent(play.after(2_000), "post").map((post) => post.client_id)).toEqual(["a", "b"]);
  });

  it("a refusal keeps the words; trying again is a new id; discarding forgets them", () => {
    const play = live();
    say(play, "a");
    play.hear(ack("a", { state: "refused", code: "not_a_member" }));
    expect(play.state.outbox).toMatchObject([{ state: "refused", code: "not_a_member", text: "says a" }]);
    const commands = play.do({ t: "again", client_id: "a", fresh: "a2" });
    expect(sent(commands, "post")).toEqual([{ t: "post", room: ROOM, client_id: "a2", text: "says a" }]);
    play.hear({ t: "problem", code: "not_a_member", detail: "", re: "post", client_id: "a2", retryable: false, retry_after_s: null });
    play.do({ t: "discard", client_id: "a2" });
    expect(play.state.outbox).toEqual([]);
  });

  it("survives the page: the same ids are asked again, and what was placed is forgotten", () => {
    const before = live();
    say(before, "a");
    say(before, "b");
    const kept = only(before.done, "keep").map((command) => command.item);
    const after = new Play();
    after.do({ t: "restore", items: kept });
    const posts = sent(after.connect([room(ROOM, { head: 9 })]), "post");
    expect(posts.map((post) => post.client_id)).toEqual(["a", "b"]);
    after.hear(ack("a", { id: "ent_emea_a", seq: 9 }));
    expect(after.state.outbox.map((item) => item.client_id)).toEqual(["b"]);
  });
});

describe("a far room", () => {
  it("kept, then placed, then the row", () => {
    const play = live();
    say(play, "a", FAR);
    play.hear(ack("a", { state: "kept", room: FAR, id: "ent_emea_k" }), fate(1, "kept"));
    expect(play.state.outbox).toMatchObject([{ state: "kept", entry: "ent_emea_k" }]);
    play.hear(fate(2, "placed", { detail: "5" }));
    expect(play.state.outbox).toMatchObject([{ state: "placed", seq: 5 }]);
    play.hear(row(5, { stream: FAR, id: "ent_emea_k", author: ME }));
    expect(play.state.outbox).toEqual([]);
  });

  it("the row may come first", () => {
    const play = live();
    say(play, "a", FAR);
    play.hear(ack("a", { state: "kept", room: FAR, id: "ent_emea_k" }), row(5, { stream: FAR, id: "ent_emea_k", author: ME }));
    expect(play.state.outbox).toEqual([]);
    play.hear(fate(1, "kept"), fate(2, "placed", { detail: "5" }));
    expect(play.state.outbox.filter((item) => item.state !== "placed")).toEqual([]);
    expect(play.state.outbox).toEqual([]);
  });

  it("refused late, the words stay with their author", () => {
    const play = live();
    say(play, "a", FAR);
    play.hear(ack("a", { state: "kept", room: FAR, id: "ent_emea_k" }), fate(1, "refused", { detail: "not_a_member" }));
    expect(play.state.outbox).toMatchObject([{ state: "refused", code: "not_a_member", text: "says a" }]);
  });

  it("kept on another device shows here too, until it is placed", () => {
    const play = live();
    play.hear(fate(1, "kept", { body: { kind: "text", text: "from the phone" } }));
    expect(play.state.outbox).toMatchObject([{ state: "kept", text: "from the phone" }]);
    play.hear(row(3, { stream: FAR, id: "ent_emea_k", author: ME }));
    expect(play.state.outbox).toEqual([]);
  });

  it("asks for the fate of kept messages when the inbox began anew", () => {
    const play = live();
    say(play, "a", FAR);
    play.hear(ack("a", { state: "kept", room: FAR, id: "ent_emea_k" }));
    play.lose();
    play.connect([room(ROOM), room(FAR)]);
    expect(sent(play.done, "post")).toHaveLength(1);
    play.hear({ t: "synced", resets: { [INBOX]: 50 } });
    expect(sent(play.done, "post").map((post) => post.client_id)).toEqual(["a", "a"]);
  });
});
