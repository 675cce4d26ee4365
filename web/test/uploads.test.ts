import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { nextDueMs } from "../src/core/core";
import type { Command } from "../src/core/model";
import type { FileInfo, Problem } from "../src/core/wire";
import { ack, ME, only, Play, room, ROOM, row, sent } from "./playbook";

const PART = 4;

function live() {
  const play = new Play();
  play.connect([room(ROOM)]);
  return play;
}

const info = (id: string, size: number, received: number, change: Partial<FileInfo> = {}): FileInfo => ({
  id, name: `${id}.png`, type: "image/png", size, received, part_bytes: PART, state: received < size ? "uploading" : "ready",
  made_at: "2030-01-01T00:00:00Z", region: "emea", ...change,
});
const problem = (code: string, status: number): Problem => ({ code, status, title: "", detail: "" });
const attach = (play: Play, ...files: [key: string, size: number][]) =>
  play.do({ t: "attach", room: ROOM, files: files.map(([key, size]) => ({ key, size, name: `${key}.png`, type: "image/png" })) });
const say = (play: Play, client_id: string, text = "") => play.do({ t: "post", room: ROOM, client_id, text });
const upload = (play: Play, key: string) => play.state.uploads.find((one) => one.key === key);
const answer = (play: Play, key: string, file: FileInfo) => play.do({ t: "upload_answer", key, request: upload(play, key)?.request ?? 0, file });
const fault = (play: Play, key: string, code: string, status: number) =>
  play.do({ t: "upload_fault", key, request: upload(play, key)?.request ?? 0, problem: problem(code, status) });

/** The whole way of one file. */
function through(play: Play, key: string, size: number): void {
  answer(play, key, info(key, size, 0));
  for (let at = PART; at < size; at += PART) answer(play, key, info(key, size, at));
  answer(play, key, info(key, size, size));
}

/** Some seconds pass, on a connection that lives. */
function pass(play: Play): Command[] {
  const done = play.after(3_000);
  if (play.state.link.ping_ms !== 0) done.push(...play.hear({ t: "pong", n: play.state.link.ping_n }));
  return done;
}

describe("an upload", () => {
  it("is made, filled part by part from where the last one ended, and is ready", () => {
    const play = live();
    expect(only(attach(play, ["a", 10]), "file_make")).toMatchObject([{ key: "a", name: "a.png", size: 10 }]);
    expect(only(answer(play, "a", info("a", 10, 0)), "file_part")).toMatchObject([{ file: "a", from: 0, to: 4, total: 10 }]);
    expect(only(answer(play, "a", info("a", 10, 4)), "file_part")).toMatchObject([{ from: 4, to: 8 }]);
    play.do({ t: "upload_progress", key: "a", request: upload(play, "a")?.request ?? 0, bytes: 3 });
    expect(upload(play, "a")?.sent).toBe(7);
    expect(only(answer(play, "a", info("a", 10, 8)), "file_part")).toMatchObject([{ from: 8, to: 10 }]);
    answer(play, "a", info("a", 10, 10));
    expect(upload(play, "a")).toMatchObject({ state: "ready", sent: 10 });
  });

  it("waits for a connection, stops when it is lost, and asks how far it got before it goes on", () => {
    const play = new Play();
    expect(attach(play, ["a", 10])).toEqual([]);
    expect(only(play.connect([room(ROOM)]), "file_make")).toHaveLength(1);
    answer(play, "a", info("a", 10, 0));
    const before = upload(play, "a")?.request ?? 0;
    expect(only(play.lose(), "file_stop")).toEqual([{ t: "file_stop", key: "a" }]);
    expect(only(play.connect([room(ROOM)]), "file_look")).toMatchObject([{ file: "a" }]);
    expect(play.do({ t: "upload_answer", key: "a", request: before, file: info("a", 10, 10) })).toEqual([]); // too late
    expect(only(answer(play, "a", info("a", 10, 4)), "file_part")).toMatchObject([{ from: 4, to: 8 }]);
  });

  it("goes on by itself after a fault, from the beginning if the server forgot it, and gives up in the end", () => {
    const play = live();
    attach(play, ["a", 10]);
    answer(play, "a", info("a", 10, 0));
    expect(only(fault(play, "a", "part_out_of_order", 409), "file_look")).toHaveLength(1);
    answer(play, "a", info("a", 10, 4));
    expect(fault(play, "a", "unreachable", 0)).toEqual([]);
    expect(nextDueMs(play.state)).toBeGreaterThan(play.now_ms);
    expect(only(play.after(1_000), "file_look")).toHaveLength(1);
    fault(play, "a", "file_unknown", 404);
    expect(only(play.after(2_000), "file_make")).toHaveLength(1);
    for (let i = 0; i < 10; i += 1) {
      fault(play, "a", "http_503", 503);
      pass(play);
      pass(play);
    }
    expect(upload(play, "a")).toMatchObject({ state: "failed", code: "http_503" });
    expect(only(play.do({ t: "upload_again", key: "a" }), "file_make")).toHaveLength(1);
  });

  it("says why it was refused, and asks nothing more", () => {
    const play = live();
    attach(play, ["a", 10], ["b", 3]);
    fault(play, "a", "quota_exceeded", 403);
    expect(upload(play, "a")).toMatchObject({ state: "failed", code: "quota_exceeded" });
    answer(play, "b", info("b", 3, 0));
    answer(play, "b", info("b", 3, 3, { state: "refused", reason: "infected" }));
    expect(upload(play, "b")).toMatchObject({ state: "failed", code: "infected" });
    expect(only(play.do({ t: "upload_again", key: "b" }), "file_make")).toHaveLength(1);
  });

  it("is looked at again while the server checks it", () => {
    const play = live();
    attach(play, ["a", 3]);
    answer(play, "a", info("a", 3, 0));
    expect(answer(play, "a", info("a", 3, 3, { state: "checking" }))).toEqual([]);
    expect(only(play.after(500), "file_look")).toHaveLength(1);
    answer(play, "a", info("a", 3, 3));
    expect(upload(play, "a")?.state).toBe("ready");
  });

  it("that does not get on is not tried without a pause, nor without an end", () => {
    const play = live();
    attach(play, ["a", 10]);
    answer(play, "a", info("a", 10, 0));
    expect(answer(play, "a", info("a", 10, 0))).toEqual([]);
    expect(nextDueMs(play.state)).toBeGreaterThan(play.now_ms);
  });

  it("has few beside it, and the next begins when one ends", () => {
    const play = live();
    expect(only(attach(play, ["a", 3], ["b", 3], ["c", 3], ["d", 3], ["e", 3]), "file_make").map(({ key }) => key)).toEqual(["a", "b", "c"]);
    expect(nextDueMs(play.state)).toBeGreaterThan(play.now_ms); // no clock runs for those that wait for their turn
    answer(play, "b", info("b", 3, 0));
    expect(only(answer(play, "b", info("b", 3, 3)), "file_make").map(({ key }) => key)).toEqual(["d"]);
  });

  it("let go is stopped and deleted", () => {
    const play = live();
    attach(play, ["a", 10]);
    answer(play, "a", info("a", 10, 0));
    expect(play.do({ t: "upload_cancel", key: "a" })).toMatchObject([{ t: "file_stop", key: "a" }, { t: "file_let_go", key: "a", file: { id: "a" }, done: false }]);
    expect(play.state.uploads).toEqual([]);
  });
});

describe("a message with files", () => {
  it("shows at once, waits for them, holds no other back, and goes when all have come", () => {
    const play = live();
    attach(play, ["a", 3], ["b", 3]);
    expect(sent(say(play, "m", "look"), "post")).toEqual([]);
    expect(play.state.outbox).toMatchObject([{ client_id: "m", files: null }]);
    expect(sent(say(play, "n", "and then"), "post")).toMatchObject([{ client_id: "n" }]);
    through(play, "b", 3);
    through(play, "a", 3);
    expect(sent(play.done, "post").at(-1)).toEqual({ t: "post", room: ROOM, client_id: "m", text: "look", files: ["a", "b"] });
    expect(play.state.uploads).toEqual([]);
    expect(only(play.done, "file_let_go").map(({ key, done }) => [key, done])).toEqual([["a", true], ["b", true]]);
    play.hear(ack("m", { id: "ent_emea_m", seq: 1 }), row(1, { id: "ent_emea_m", author: ME }));
    expect(play.state.outbox.map((item) => item.client_id)).toEqual(["n"]);
  });

  it("goes at once when they were ready before; the next message does not take them along", () => {
    const play = live();
    attach(play, ["a", 3]);
    through(play, "a", 3);
    expect(sent(say(play, "m"), "post")).toEqual([{ t: "post", room: ROOM, client_id: "m", text: "", files: ["a"] }]);
    expect(sent(say(play, "n", "x"), "post")).toEqual([{ t: "post", room: ROOM, client_id: "n", text: "x" }]);
    expect(say(play, "o")).toEqual([]); // nothing to say
  });

  it("without its last file is forgotten if it has no words, else sent", () => {
    const play = live();
    attach(play, ["a", 3]);
    say(play, "m");
    expect(only(play.do({ t: "upload_cancel", key: "a" }), "forget")).toHaveLength(1);
    expect(play.state.outbox).toEqual([]);
    attach(play, ["b", 3]);
    say(play, "n", "words");
    expect(sent(play.do({ t: "upload_cancel", key: "b" }), "post")).toMatchObject([{ client_id: "n", text: "words" }]);
  });

  it("can be given up with its files while they are on their way", () => {
    const play = live();
    attach(play, ["a", 3]);
    say(play, "m", "words");
    expect(only(play.do({ t: "discard", client_id: "m" }), "file_let_go")).toMatchObject([{ key: "a", done: false }]);
    expect(play.state.outbox).toEqual([]);
  });

  it("that outlived its page without its files says so; its words can still be sent", () => {
    const before = live();
    attach(before, ["a", 3]);
    say(before, "m", "words");
    const after = live();
    after.do({ t: "restore", items: only(before.done, "keep").map(({ item }) => item) });
    expect(after.state.outbox).toMatchObject([{ client_id: "m", state: "refused", code: "upload_lost", files: [] }]);
    expect(sent(after.do({ t: "again", client_id: "m", fresh: "m2" }), "post")).toEqual([{ t: "post", room: ROOM, client_id: "m2", text: "words" }]);
  });
});

describe("erased messages", () => {
  it("take what is kept of their files with them", () => {
    const play = live();
    const files = [{ id: "fil_apac_1", name: "a.png", type: "image/png", size: 3 }];
    play.hear(row(1, { body: { kind: "text", text: "", files } }));
    const gone = only(play.hear(row(2, { kind: "redaction", id: null, target: "ent_emea_rom_emea_room_1", body: null, state: null })), "files_gone");
    expect(gone).toEqual([{ t: "files_gone", files: ["fil_apac_1"] }]);
  });
});

describe("under any weather", () => {
  it("at most one request a file is under way, parts begin where the server stands, and all files come in the end", () => {
    const weather = fc.array(fc.oneof(fc.constant("answer"), fc.constant("fault"), fc.constant("lose"), fc.constant("half"), fc.constant("forget")), { maxLength: 60 });
    fc.assert(
      fc.property(weather, fc.integer({ min: 1, max: 15 }), (events, size) => {
        const play = live();
        const server = new Map<string, number>(); // file -> bytes that arrived
        const open = new Map<string, Command>();
        let made = 0;
        const heed = (commands: readonly Command[]) => {
          for (const command of commands) {
            if (command.t === "file_stop") open.delete(command.key);
            if (command.t !== "file_make" && command.t !== "file_part" && command.t !== "file_look") continue;
            expect(open.has(command.key)).toBe(false);
            if (command.t === "file_part" && server.has(command.file)) expect(command.from).toBeLessThanOrEqual(server.get(command.file) ?? 0);
            open.set(command.key, command);
          }
        };
        const serve = (key: string, command: Command) => {
          open.delete(key);
          if (command.t === "file_make") {
            made += 1;
            server.set(`f${made}`, 0);
            heed(answer(play, key, info(`f${made}`, size, 0)));
          } else if (command.t === "file_part" || command.t === "file_look") {
            const at = server.get(command.file);
            if (at === undefined) heed(fault(play, key, "file_unknown", 404));
            else if (command.t === "file_part" && command.from !== at) heed(fault(play, key, "part_out_of_order", 409));
            else {
              const now = command.t === "file_part" ? command.to : at;
              server.set(command.file, now);
              heed(answer(play, key, info(command.file, size, now)));
            }
          }
        };
        heed(attach(play, ["a", size], ["b", size]));
        say(play, "m");
        for (const event of events) {
          const [first] = open;
          if (event === "lose") {
            heed(play.lose());
            heed(play.connect([room(ROOM)]));
          } else if (event === "forget") server.clear();
          else if (first !== undefined) {
            const [key, command] = first;
            if (event === "answer") serve(key, command);
            if (event === "half" && command.t === "file_part" && server.get(command.file) === command.from) server.set(command.file, command.to); // arrived, but the answer did not
            if (event !== "answer") {
              open.delete(key);
              heed(fault(play, key, "unreachable", 0));
            }
          }
          if (open.size === 0) heed(pass(play));
        }
        for (let i = 0; i < 200 && play.state.uploads.length > 0; i += 1) {
          const [first] = open;
          if (first === undefined) {
            for (const one of play.state.uploads) if (one.state === "failed") heed(play.do({ t: "upload_again", key: one.key }));
            heed(pass(play));
          } else serve(...first);
        }
        expect(play.state.uploads).toEqual([]);
        expect(sent(play.done, "post")[0]?.files).toHaveLength(2);
      }),
      { numRuns: 300 },
    );
  });
});
