/** The values of the core: what it knows (`State`), what it hears (`Input`) and what it asks for (`Command`). */
import { REFILL_FIRST_MS } from "./limits";
import type { ClientFrame, FileInfo, FileRef, Page, PresenceState, Problem, Room, Row, ServerFrame } from "./wire";

/** A message of one's own that is not (yet) a row: waiting, on its way, kept, or refused. */
export interface Pending {
  readonly client_id: string;
  readonly room: string;
  readonly text: string | null; // null: written on another device, words not known here
  readonly files: readonly FileRef[] | null; // null: still being uploaded, see `State.uploads`
  readonly at_ms: number;
  readonly state: "queued" | "sent" | "placed" | "kept" | "refused";
  readonly entry: string | null;
  readonly seq: number | null;
  readonly code: string | null; // why it was refused
  readonly socket: number; // the socket it was last sent on
  readonly due_ms: number; // queued: not before; sent: send again after
  readonly tries: number;
}

/** A file of one's own on its way to the server, or there and not yet part of a message that is sent. */
export interface Upload {
  readonly key: string; // this page's own name for it
  readonly room: string;
  readonly post: string | null; // the `client_id` of the message that waits for it; null: of the one being written
  readonly name: string;
  readonly size: number;
  readonly type: string; // what the browser believes
  readonly state: "waiting" | "busy" | "ready" | "failed";
  readonly file: FileInfo | null; // as the server last said
  readonly unsure: boolean; // ask how far it got before going on
  readonly sent: number; // bytes that have arrived, or are just arriving
  readonly request: number; // busy: the one whose answer is awaited
  readonly code: string | null; // why it failed
  readonly tries: number; // faults in a row
  readonly due_ms: number; // waiting: not before
}

export interface RoomView {
  readonly info: Room;
  /** Highest seq applied or covered by a snapshot; what follows is beyond it. */
  readonly cursor: number;
  /** A gapless suffix of what one may see, ascending; empty until somebody looks or something happens. */
  readonly rows: readonly Row[];
  readonly counted: number; // rows up to here are in `info.unread` already
  readonly more: boolean; // older rows may exist
  readonly loading: number; // number of the page request under way, 0 = none
  readonly failed: string | null; // why the last page could not be had
  readonly erased: ReadonlySet<string>; // entries redacted while they were not loaded
  readonly purged: ReadonlyMap<string, number>; // person -> seq of their erasure
  readonly line: number | null; // "new messages" stands after this seq
  readonly members_version: number; // changes when somebody joins or leaves
}

export interface Inbox {
  readonly id: string;
  readonly cursor: number;
}

export type Phase = "off" | "waiting" | "opening" | "greeting" | "live" | "ended";

export interface Link {
  readonly phase: Phase;
  readonly socket: number; // the one in use, 0 = none
  readonly next: number; // the second one while migrating, 0 = none
  readonly leaving: number; // the first one after the second has resumed, 0 = none
  readonly serial: number; // last number given to a socket
  readonly attempt: number; // failures in a row
  readonly due_ms: number; // waiting: when to open; opening, greeting: when to give up
  readonly next_due_ms: number; // migrating: when to give up the second, or to try again
  readonly fresh_token: boolean; // the next opening needs a new access token
  readonly forget: boolean; // the next greeting is a hello whatever we know
  readonly resumed: boolean; // this connection began with a resume
  readonly catching_up: boolean; // resumed, and not yet told that all was sent
  readonly sent_cursors: ReadonlySet<string>;
  readonly heard_ms: number;
  readonly ping_ms: number; // when the unanswered ping was sent, 0 = none
  readonly ping_n: number;
  readonly live_ms: number; // since when it is live
  readonly lost_ms: number; // since when it is not, 0 = live or never was
  readonly place: Place | null;
  readonly landed: { readonly city: string; readonly until_ms: number } | null;
  readonly trouble: Trouble | null;
}

/** Where this session is served, as the last welcome said. */
export interface Place {
  readonly region: string;
  readonly site: string;
  readonly city: string;
}

/** Why no connection comes about, when the server could say. */
export interface Trouble {
  readonly code: string;
  readonly region: string | null;
  readonly since: string | null;
}

export interface KnownPresence {
  readonly state: PresenceState;
  readonly text: string;
}

export interface KnownPerson {
  readonly name: string;
  readonly region: string;
  readonly avatar: string | null; // changes with the picture
}

export interface State {
  readonly me: string;
  readonly link: Link;
  readonly inbox: Inbox | null;
  readonly rooms: ReadonlyMap<string, RoomView>;
  readonly ready: boolean; // the first welcome has come
  readonly open: string | null; // the room on the screen
  readonly attentive: boolean; // its end is in view of somebody who is there
  readonly outbox: readonly Pending[]; // in the order they were written
  readonly uploads: readonly Upload[]; // in the order they were chosen
  readonly upload_serial: number; // last number given to a request
  readonly reads: ReadonlyMap<string, number>; // read marks to be sent
  readonly reads_due_ms: number; // 0 = none
  readonly typing: ReadonlyMap<string, ReadonlyMap<string, number>>; // room -> person -> until
  readonly typed: { readonly room: string; readonly sent_ms: number; readonly key_ms: number } | null;
  readonly presence: ReadonlyMap<string, KnownPresence>;
  readonly watched: readonly string[];
  readonly idle: boolean;
  readonly people: ReadonlyMap<string, KnownPerson>;
  readonly page_serial: number;
  readonly refill_due_ms: number; // when to ask again for bodies the open room lacks, 0 = lacks none
  readonly refill_wait_ms: number;
}

export type Input =
  | { t: "start" }
  | { t: "stop" }
  | { t: "opened"; socket: number }
  | { t: "frame"; socket: number; frame: ServerFrame }
  | { t: "closed"; socket: number; code: number }
  | { t: "tick" }
  | { t: "leaving" } // the page is about to go, or is hidden
  | { t: "wake" } // the network is back, or the page is looked at again
  | { t: "token"; token: string }
  | { t: "trouble"; trouble: Trouble | null }
  | { t: "page"; room: string; request: number; page: Page }
  | { t: "page_failed"; room: string; request: number; code: string }
  | { t: "refilled"; room: string; rows: readonly Row[] }
  | { t: "open_room"; room: string | null }
  | { t: "attention"; on: boolean }
  | { t: "history"; room: string }
  | { t: "room"; room: Room }
  | { t: "people"; people: readonly { id: string; name: string; region: string; avatar?: string | null }[] }
  | { t: "post"; room: string; client_id: string; text: string } // with all files that were attached in this room
  | { t: "attach"; room: string; files: readonly Chosen[] }
  | { t: "upload_progress"; key: string; request: number; bytes: number }
  | { t: "upload_answer"; key: string; request: number; file: FileInfo }
  | { t: "upload_fault"; key: string; request: number; problem: Problem }
  | { t: "upload_again"; key: string }
  | { t: "upload_cancel"; key: string }
  | { t: "again"; client_id: string; fresh: string }
  | { t: "discard"; client_id: string }
  | { t: "restore"; items: readonly Pending[] }
  | { t: "typing"; room: string; on: boolean }
  | { t: "watch"; people: readonly string[] }
  | { t: "idle"; idle: boolean };

/** A file that was just chosen, dropped or pasted. */
export interface Chosen {
  readonly key: string;
  readonly name: string;
  readonly size: number;
  readonly type: string;
}

export type Command =
  | { t: "open"; socket: number; fresh_token: boolean; attempt: number }
  | { t: "send"; socket: number; frame: ClientFrame }
  | { t: "close"; socket: number; code: number }
  | { t: "explain" } // ask over REST why sockets do not open
  | { t: "page"; room: string; request: number; before: number }
  | { t: "refill"; room: string; before: number }
  | { t: "fetch_room"; room: string }
  | { t: "file_make"; key: string; request: number; name: string; size: number }
  | { t: "file_part"; key: string; request: number; file: string; from: number; to: number; total: number } // bytes [from, to)
  | { t: "file_look"; key: string; request: number; file: string }
  | { t: "file_stop"; key: string } // whatever is under way for it
  | { t: "file_let_go"; key: string; file: FileInfo | null; done: boolean } // done: it is part of a message; else unwanted
  | { t: "files_gone"; files: readonly string[] } // of messages that were erased: what is kept of them must go
  | { t: "keep"; item: Pending } // so that it outlives the page
  | { t: "forget"; client_id: string }
  | { t: "heard"; room: string; row: Row } // somebody else's message, for those who listen
  | { t: "ended"; reason: "revoked" };

/** What a step needs from outside: the time, and a number from [0, 1) drawn anew for each step. */
export interface Env {
  readonly now_ms: number;
  readonly chance: number;
}

export interface Step {
  readonly state: State;
  readonly commands: readonly Command[];
}

export const LINK_OFF: Link = {
  phase: "off",
  socket: 0,
  next: 0,
  leaving: 0,
  serial: 0,
  attempt: 0,
  due_ms: 0,
  next_due_ms: 0,
  fresh_token: false,
  forget: false,
  resumed: false,
  catching_up: false,
  sent_cursors: new Set(),
  heard_ms: 0,
  ping_ms: 0,
  ping_n: 0,
  live_ms: 0,
  lost_ms: 0,
  place: null,
  landed: null,
  trouble: null,
};

/** What a client of person `me` knows before it has spoken with anybody. */
export function blank(me: string): State {
  return {
    me,
    link: LINK_OFF,
    inbox: null,
    rooms: new Map(),
    ready: false,
    open: null,
    attentive: false,
    outbox: [],
    uploads: [],
    upload_serial: 0,
    reads: new Map(),
    reads_due_ms: 0,
    typing: new Map(),
    typed: null,
    presence: new Map(),
    watched: [],
    idle: false,
    people: new Map(),
    page_serial: 0,
    refill_due_ms: 0,
    refill_wait_ms: REFILL_FIRST_MS,
  };
}

export function withRoom(state: State, id: string, view: RoomView): State {
  return { ...state, rooms: new Map(state.rooms).set(id, view) };
}

/** Chains steps: each continues with the state of the one before, the commands are gathered. */
export function chain(state: State, ...steps: ((state: State) => Step)[]): Step {
  const commands: Command[] = [];
  for (const step of steps) {
    const done = step(state);
    state = done.state;
    commands.push(...done.commands);
  }
  return { state, commands };
}

export function quiet(state: State): Step {
  return { state, commands: [] };
}

