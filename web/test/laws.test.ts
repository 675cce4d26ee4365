/**
 * The laws of the client under random weather: a small model of the server (one room, one log, posts idempotent by
 * client id), connections that break and migrate at any moment, and with them whatever was on its way in either direction.
 */
import * as fc from "fast-check";
import { describe, it } from "vitest";
import type { Command } from "../src/core/core";
import type { ClientFrame, Page, Room, Row, ServerFrame } from "../src/core/wire";
import { INBOX, ME, Play, room, ROOM, row, SHE, welcome } from "./playbook";

/** The server's side: a log, and for each socket the rows it was shown. */
class World {
  readonly log: Row[] = [];
  readonly placed = new Map<string, Row>();
  readonly wire = new Map<number, ServerFrame[]>(); // frames on their way to the client, by socket
  readonly up = new Map<number, ClientFrame[]>(); // frames on their way from it
  readonly shown = new Map<number, number>(); // last seq pushed, by socket
  read = 0;

  append(change: Partial<Row>): Row {
    const seq = this.log.length + 1;
    const message = change.kind === undefined || change.kind === "entry";
    const no = (this.log.at(-1)?.no ?? 0) + (message ? 1 : 0);
    const made = row(seq, { ...change, no });
    this.log.push(made);
    return made;
  }

  info(): Room {
    const unread = this.log.filter((one) => one.seq > this.read && one.kind === "entry" && one.author !== ME).length;
    return room(ROOM, { head: this.log.length, no: this.log.at(-1)?.no ?? 0, read: this.read, unread });
  }

  post(client_id: string, text: string): Row {
    const before = this.placed.get(client_id);
    if (before !== undefined) return before;
    const made = this.append({ author: ME, body: { kind: "text", text } });
    this.placed.set(client_id, made);
    return made;
  }

  push(): void {
    for (const [socket, seq] of this.shown) {
      this.wire.get(socket)?.push(...this.log.slice(seq));
      this.shown.set(socket, this.log.length);
    }
  }

  page(before: number): Page {
    const rows = this.log.filter((one) => one.seq < before).slice(-3);
    return { rows, head: this.log.length, more: (rows[0]?.seq ?? 1) > 1 };
  }

  /** Does what the client asks for; answers travel later, and may be lost on the way. */
  obey(play: Play, commands: readonly Command[]): void {
    for (const command of commands) {
      if (command.t === "open") this.wire.set(command.socket, []);
      if (command.t === "close") this.drop(command.socket);
      if (command.t === "page") {
        this.obey(play, play.do({ t: "page", room: ROOM, request: command.request, page: this.page(command.before) }));
      }
      if (command.t === "send") this.up.set(command.socket, [...(this.up.get(command.socket) ?? []), command.frame]);
    }
  }

  hear(socket: number, most: number): void {
    for (const frame of this.up.get(socket)?.splice(0, most) ?? []) this.told(socket, frame);
  }

  private told(socket: number, frame: ClientFrame): void {
    const wire = this.wire.get(socket);
    if (wire === undefined) return;
    if (frame.t === "hello" || frame.t === "resume") {
      const cursor = frame.t === "hello" ? undefined : frame.cursors[ROOM];
      wire.push(welcome([this.info()], { inbox: INBOX }));
      this.shown.set(socket, cursor ?? this.log.length);
      this.push();
      if (frame.t === "resume") wire.push({ t: "synced", resets: {} });
    }
    if (frame.t === "read") this.read = Math.max(this.read, frame.seq);
    if (frame.t === "ping") wire.push({ t: "pong", n: frame.n });
    if (frame.t === "post") {
      const made = this.post(frame.client_id, frame.text);
      wire.push({ t: "ack", client_id: frame.client_id, state: "placed", room: ROOM, id: made.id, seq: made.seq, code: null });
      this.push();
    }
  }

  drop(socket: number): void {
    this.wire.delete(socket);
    this.up.delete(socket);
    this.shown.delete(socket);
  }
}

const weather = fc.constantFrom("deliver", "deliver", "deliver", "she", "she", "me", "redact", "lose", "migrate", "wait", "open", "look", "away", "history");

function run(moves: readonly string[]): { play: Play; world: World; mine: string[] } {
  const play = new Play();
  const world = new World();
  const mine: string[] = [];
  for (let i = 0; i < 5; i += 1) world.append({ author: SHE });
  const act = (input: Parameters<Play["do"]>[0]) => world.obey(play, play.do(input));

  const deliver = (most: number) => {
    for (const [socket, wire] of [...world.wire]) {
      act({ t: "opened", socket });
      world.hear(socket, most);
      for (const frame of wire.splice(0, most)) act({ t: "frame", socket, frame });
    }
  };
  const check = () => {
    const seqs = play.state.rooms.get(ROOM)?.rows.map((one) => one.seq) ?? [];
    seqs.forEach((seq, i) => {
      if (i > 0 && seq !== (seqs[i - 1] ?? 0) + 1) throw new Error(`always: in order, once, no hole: ${seqs.join()}`);
    });
    for (const id of mine) {
      const pending = play.state.outbox.some((item) => item.client_id === id);
      const placed = world.placed.get(id);
      if (!pending && placed === undefined) throw new Error(`always: ${id} is pending or placed`);
    }
    const { phase, socket, due_ms } = play.state.link;
    if (socket === 0 && !(phase === "waiting" && due_ms <= play.now_ms + 5_000)) throw new Error("always: a socket, or a time for the next");
  };

  act({ t: "start" });
  for (const move of moves) {
    const { socket } = play.state.link;
    if (move === "deliver") deliver(2);
    if (move === "she") world.append({ author: SHE });
    if (move === "redact" && world.log.length > 6) world.append({ kind: "redaction", id: null, target: world.log.at(-2)?.id ?? null, body: null });
    if (move === "me") {
      mine.push(`c${mine.length}`);
      act({ t: "post", room: ROOM, client_id: mine.at(-1) ?? "", text: "mine" });
    }
    if (move === "lose") {
      world.drop(socket);
      act({ t: "closed", socket, code: 1006 });
    }
    if (move === "migrate") world.wire.get(socket)?.push({ t: "migrate", reason: "drain", within_s: 2 });
    if (move === "wait") {
      play.now_ms += 3_000;
      act({ t: "tick" });
    }
    if (move === "open") act({ t: "open_room", room: ROOM });
    if (move === "look") act({ t: "attention", on: true });
    if (move === "away") act({ t: "attention", on: false });
    if (move === "history") act({ t: "history", room: ROOM });
    world.push();
    check();
  }
  // Fair weather at last: everything that can arrive does.
  for (let i = 0; i < 12; i += 1) {
    play.now_ms += 2_000;
    act({ t: "tick" });
    deliver(1_000);
    world.push();
    check();
  }
  return { play, world, mine };
}

describe("in any weather", () => {
  it("every row comes once and in order, every message is placed once, and what is unread is what the server says", () => {
    fc.assert(
      fc.property(fc.array(weather, { maxLength: 120, size: "max" }), (moves) => {
        const { play, world, mine } = run(moves);
        const view = play.view();
        if (view.cursor !== world.log.length) throw new Error(`finally: all rows, ${view.cursor} of ${world.log.length}`);
        if (play.state.outbox.length > 0) throw new Error("finally: the outbox is empty");
        for (const id of mine) {
          const made = world.placed.get(id);
          const times = view.rows.filter((one) => one.id === made?.id).length;
          if (made === undefined || times > 1) throw new Error(`finally: ${id} once, not ${times}`);
        }
        const gone = new Set(world.log.filter((one) => one.kind === "redaction").map((one) => one.target));
        if (view.rows.some((one) => one.id !== null && gone.has(one.id) && one.body !== null)) throw new Error("finally: erased is erased");
        if (view.info.unread !== world.info().unread) throw new Error(`finally: unread ${view.info.unread}, server ${world.info().unread}`);
      }),
      { numRuns: Number(process.env["MOONBOW_RUNS"] ?? 500) },
    );
  });
});
