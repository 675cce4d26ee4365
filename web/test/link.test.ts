import { describe, expect, it } from "vitest";
import { nextDueMs } from "../src/core/core";
import { backoffMs } from "../src/core/link";
import { only, Play, room, ROOM, row, sent, welcome } from "./playbook";

describe("the connection", () => {
  it("opens, says hello, and is live at the welcome", () => {
    const play = new Play();
    expect(play.do({ t: "start" })).toEqual([{ t: "open", socket: 1, fresh_token: false, attempt: 0 }]);
    expect(sent(play.do({ t: "opened", socket: 1 }), "hello")).toHaveLength(1);
    play.hear(welcome([room(ROOM)]));
    expect(play.state.link.phase).toBe("live");
    expect(play.state.link.place?.city).toBe("Paris");
  });

  it("resumes with the highest row applied, and the bodies it lacks", () => {
    const play = new Play();
    play.connect([room(ROOM, { head: 4 })]);
    play.hear(row(5), row(6, { body: null, state: "held" }));
    play.lose();
    play.after(100);
    const [resume] = sent(play.do({ t: "opened", socket: 2 }), "resume");
    expect(resume?.cursors[ROOM]).toBe(6);
    expect(resume?.missing).toEqual([row(6).id]);
  });

  it("notices a hung door within ten seconds", () => {
    const play = new Play();
    play.connect([]);
    const began_ms = play.now_ms;
    while (play.state.link.phase === "live") {
      const due_ms = nextDueMs(play.state);
      expect(due_ms).not.toBeNull();
      play.after(Math.max(1, (due_ms ?? 0) - play.now_ms));
    }
    expect(play.now_ms - began_ms).toBeLessThan(10_000);
    expect(sent(play.done, "ping")).toHaveLength(1);
    expect(only(play.done, "close")).toHaveLength(1);
  });

  it("lives on as long as pongs come", () => {
    const play = new Play();
    play.connect([]);
    for (let i = 0; i < 20; i += 1) {
      for (const ping of sent(play.after(4_000), "ping")) play.hear({ t: "pong", n: ping.n });
    }
    expect(play.state.link.phase).toBe("live");
    expect(sent(play.done, "ping").length).toBeGreaterThan(10);
  });

  it("goes elsewhere at once when the server says it is going, and backs off when it is refused", () => {
    const play = new Play();
    play.connect([]);
    play.lose(1012);
    expect(only(play.after(0), "open")).toHaveLength(1);
    const waits: number[] = [];
    for (let i = 0; i < 9; i += 1) {
      play.lose();
      waits.push((nextDueMs(play.state) ?? 0) - play.now_ms);
      play.after(waits.at(-1) ?? 0);
    }
    expect(waits[0]).toBeLessThanOrEqual(200);
    expect(Math.max(...waits)).toBeLessThanOrEqual(5_000);
    expect(waits.at(-1)).toBeGreaterThan(2_000);
    expect(only(play.done, "explain").length).toBeGreaterThan(0);
  });

  it("spreads its waiting", () => {
    expect(backoffMs(0, 0)).toBe(50);
    expect(backoffMs(0, 1)).toBe(100);
    expect(backoffMs(50, 1)).toBe(5_000);
  });

  it("asks for a fresh token after 4001 and ends after 4003", () => {
    const play = new Play();
    play.connect([]);
    play.lose(4001);
    expect(only(play.after(0), "open")[0]?.fresh_token).toBe(true);
    play.do({ t: "opened", socket: play.state.link.socket });
    play.hear(welcome([]));
    expect(play.lose(4003)).toContainEqual({ t: "ended", reason: "revoked" });
    expect(nextDueMs(play.state)).toBeNull();
  });

  it("says hello again after a frame the server did not understand, and starts its rooms anew", () => {
    const play = new Play();
    play.connect([room(ROOM)]);
    play.hear(row(1));
    play.lose(4002);
    play.after(5_000);
    expect(sent(play.do({ t: "opened", socket: play.state.link.socket }), "hello")).toHaveLength(1);
    play.hear(welcome([room(ROOM, { head: 9 })]));
    expect(play.view()).toMatchObject({ cursor: 9, rows: [] });
  });

  it("gives up a socket that opens but is never welcomed", () => {
    const play = new Play();
    play.do({ t: "start" });
    play.do({ t: "opened", socket: 1 });
    play.after(5_000);
    expect(play.state.link.phase).toBe("waiting");
  });

  it("passes a renewed token on", () => {
    const play = new Play();
    play.connect([]);
    expect(sent(play.do({ t: "token", token: "new" }), "renew")).toEqual([{ t: "renew", access_token: "new" }]);
  });
});

describe("migration", () => {
  function migrating() {
    const play = new Play();
    play.connect([room(ROOM)]);
    play.hear(row(1), { t: "migrate", reason: "drain", within_s: 2 });
    return play;
  }

  it("keeps the first socket until the second has resumed, then ignores and closes it", () => {
    const play = migrating();
    expect(only(play.done, "open").at(-1)?.socket).toBe(2);
    play.do({ t: "frame", socket: 1, frame: row(2) });
    expect(play.texts()).toEqual(["text 1", "text 2"]);
    const [resume] = sent(play.do({ t: "opened", socket: 2 }), "resume");
    expect(resume?.cursors[ROOM]).toBe(2);
    play.do({ t: "frame", socket: 1, frame: row(3) });
    expect(play.texts()).toEqual(["text 1", "text 2"]);
    const commands = play.do({ t: "frame", socket: 2, frame: welcome([room(ROOM, { head: 3 })], { site: "frankfurt", city: "Frankfurt" }) });
    expect(commands).toContainEqual({ t: "close", socket: 1, code: 1000 });
    play.do({ t: "frame", socket: 2, frame: row(3) });
    expect(play.texts()).toEqual(["text 1", "text 2", "text 3"]);
    expect(play.state.link.landed?.city).toBe("Frankfurt");
  });

  it("goes on with the second when the first closes early", () => {
    const play = migrating();
    play.do({ t: "closed", socket: 1, code: 1012 });
    expect(play.state.link).toMatchObject({ phase: "opening", socket: 2 });
    play.do({ t: "opened", socket: 2 });
    play.hear(welcome([room(ROOM, { head: 1 })]));
    expect(play.state.link.phase).toBe("live");
  });

  it("stays on the first when the second cannot be opened", () => {
    const play = migrating();
    play.do({ t: "closed", socket: 2, code: 1006 });
    play.hear(row(2));
    expect(play.texts()).toEqual(["text 1", "text 2"]);
    expect(play.state.link.phase).toBe("live");
  });

  it("gives up a second socket that never opens", () => {
    const play = migrating();
    expect(play.after(5_000)).toContainEqual({ t: "close", socket: 2, code: 1000 });
  });

  it("posts again on the second what the first did not acknowledge", () => {
    const play = migrating();
    expect(sent(play.do({ t: "post", room: ROOM, client_id: "c1", text: "mine" }), "post")).toHaveLength(1);
    play.do({ t: "opened", socket: 2 });
    const posts = sent(play.hear(welcome([room(ROOM, { head: 1 })])), "post");
    expect(posts).toEqual([{ t: "post", room: ROOM, client_id: "c1", text: "mine" }]);
  });
});
