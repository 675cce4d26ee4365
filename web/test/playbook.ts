/** A way to write down what the core hears and does: no sockets, no clock, no screen. */
import { blank, type Command, type Input, type State, step } from "../src/core/core";
import type { ClientFrame, Room, Row, ServerFrame } from "../src/core/wire";

export const ME = "usr_emea_me";
export const SHE = "usr_apac_she";
export const ROOM = "rom_emea_room";
export const FAR = "rom_apac_far";
export const INBOX = "inb_emea_me";

export function room(id: string, change: Partial<Room> = {}): Room {
  return {
    id, region: id.split("_")[1] ?? "", kind: "group", creator: ME, title: "Room", title_state: "ok", head: 0, no: 0, read: 0,
    unread: 0, members: 2, others: [SHE], joined: true, last_at: null, ...change,
  };
}

export function row(seq: number, change: Partial<Row> = {}): Row {
  const stream = change.stream ?? ROOM;
  return {
    t: "row", stream, seq, kind: "entry", at: new Date(1_700_000_000_000 + seq * 1000).toISOString(), no: seq,
    id: `ent_emea_${stream}_${seq}`, author: SHE, target: null, body: { kind: "text", text: `text ${seq}` }, state: "ok",
    client_id: null, detail: null, ...change,
  };
}

export function welcome(rooms: Room[], change: Partial<Extract<ServerFrame, { t: "welcome" }>> = {}): ServerFrame {
  return {
    t: "welcome", session: "s", person: ME, region: "emea", site: "paris", city: "Paris", inbox: INBOX, inbox_head: 0,
    expires_at: "2030-01-01T00:00:00Z", heartbeat_s: 5, rooms, ...change,
  };
}

export function ack(client_id: string, change: Partial<Extract<ServerFrame, { t: "ack" }>> = {}): ServerFrame {
  return { t: "ack", client_id, state: "placed", room: ROOM, id: null, seq: null, code: null, ...change };
}

export class Play {
  state: State;
  now_ms = 1_000_000;
  readonly done: Command[] = [];

  constructor(me = ME) {
    this.state = blank(me);
  }

  do(input: Input): Command[] {
    const { state, commands } = step(this.state, input, { now_ms: this.now_ms, chance: 0.5 });
    this.state = state;
    this.done.push(...commands);
    return [...commands];
  }

  /** A frame on the socket in use. */
  hear(...frames: ServerFrame[]): Command[] {
    return frames.flatMap((frame) => this.do({ t: "frame", socket: this.state.link.socket, frame }));
  }

  after(ms: number): Command[] {
    this.now_ms += ms;
    return this.do({ t: "tick" });
  }

  /** From nothing, or from a lost connection, to a live one. */
  connect(rooms: Room[], change: Parameters<typeof welcome>[1] = {}): Command[] {
    if (this.state.link.phase === "off") this.do({ t: "start" });
    while (this.state.link.phase === "waiting") this.after(5_000);
    const said = this.do({ t: "opened", socket: this.state.link.socket });
    const resumed = sent(said, "resume").length > 0;
    return [...said, ...this.hear(welcome(rooms, change), ...(resumed ? [{ t: "synced" as const, resets: {} }] : []))];
  }

  lose(code = 1006): Command[] {
    return this.do({ t: "closed", socket: this.state.link.socket, code });
  }

  view(id = ROOM) {
    const view = this.state.rooms.get(id);
    if (view === undefined) throw new Error(`no room ${id}`);
    return view;
  }

  texts(id = ROOM): (string | undefined)[] {
    return this.view(id).rows.map((one) => one.body?.text);
  }
}

export function only<T extends Command["t"]>(commands: readonly Command[], t: T): Extract<Command, { t: T }>[] {
  return commands.filter((command): command is Extract<Command, { t: T }> => command.t === t);
}

export function sent<T extends ClientFrame["t"]>(commands: readonly Command[], t: T): Extract<ClientFrame, { t: T }>[] {
  return only(commands, "send").map((command) => command.frame).filter((frame): frame is Extract<ClientFrame, { t: T }> => frame.t === t);
}
