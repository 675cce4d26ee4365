/** What is true for a moment only: who types, who is there, what one has read.  Nothing here survives a reload. */
import { READ_AFTER_MS, TYPING_REPEAT_MS, TYPING_SHOWN_MS, TYPING_STOP_MS, WATCH_MAX } from "./limits";
import { say } from "./link";
import { type Command, type Env, quiet, type State, type Step, withRoom } from "./model";
import { readTo } from "./rooms";
import type { FrameOf } from "./wire";

/** Somebody else types, or no longer. */
export function heardTyping(state: State, frame: { room: string; person: string; on: boolean }, env: Env): State {
  if (frame.person === state.me) return state;
  const people = new Map(state.typing.get(frame.room));
  if (frame.on) people.set(frame.person, env.now_ms + TYPING_SHOWN_MS);
  else if (!people.delete(frame.person)) return state;
  return { ...state, typing: new Map(state.typing).set(frame.room, people) };
}

/** A key was pressed in the composer, or its text was sent or cleared. */
export function type(state: State, room: string, on: boolean, env: Env): Step {
  const { typed } = state;
  if (!on) return typed?.room === room ? { state: { ...state, typed: null }, commands: say(state, { t: "typing", room, on: false }) } : quiet(state);
  if (typed?.room === room && env.now_ms - typed.sent_ms < TYPING_REPEAT_MS) return quiet({ ...state, typed: { ...typed, key_ms: env.now_ms } });
  const stop = typed !== null && typed.room !== room ? say(state, { t: "typing", room: typed.room, on: false }) : [];
  return {
    state: { ...state, typed: { room, sent_ms: env.now_ms, key_ms: env.now_ms } },
    commands: [...stop, ...say(state, { t: "typing", room, on: true })],
  };
}

export function heardPresence(state: State, frame: FrameOf<"presence">): State {
  return { ...state, presence: new Map(state.presence).set(frame.person, { state: frame.state, text: frame.text }) };
}

/** Whose presence the screen shows. */
export function watch(state: State, people: readonly string[]): Step {
  const watched = [...new Set(people)].sort().slice(0, WATCH_MAX);
  if (watched.join() === state.watched.join()) return quiet(state);
  return { state: { ...state, watched }, commands: say(state, { t: "watch", people: watched }) };
}

export function idle(state: State, on: boolean): Step {
  if (on === state.idle) return quiet(state);
  return { state: { ...state, idle: on }, commands: say(state, { t: "state", state: on ? "away" : "online" }) };
}

/** Marks the open room read to its end, if somebody is there to read it.  The frame goes out a little later. */
export function markRead(state: State, env: Env): State {
  const view = state.open === null ? undefined : state.rooms.get(state.open);
  if (view === undefined || !state.attentive || !state.ready || view.cursor <= view.info.read) return state;
  const next = readTo(view, state.me, view.cursor, 0);
  const reads = new Map(state.reads).set(view.info.id, view.cursor);
  return { ...withRoom(state, view.info.id, next), reads, reads_due_ms: state.reads_due_ms || env.now_ms + READ_AFTER_MS };
}

/** The server says how far one has read, perhaps on another device. */
export function heardRead(state: State, frame: FrameOf<"read">): State {
  const view = state.rooms.get(frame.room);
  return view === undefined ? state : withRoom(state, frame.room, readTo(view, state.me, frame.seq, frame.unread));
}

/** Sends the gathered read marks; they wait for a connection if there is none. */
export function flushReads(state: State): Step {
  const commands = [...state.reads].flatMap(([room, seq]): Command[] => say(state, { t: "read", room, seq }));
  return commands.length === 0 ? quiet(state) : { state: { ...state, reads: new Map(), reads_due_ms: 0 }, commands };
}

/** What a new connection must be told that rows do not carry. */
export function introduce(state: State): Command[] {
  const commands: Command[] = [];
  if (state.watched.length > 0) commands.push(...say(state, { t: "watch", people: [...state.watched] }));
  if (state.idle) commands.push(...say(state, { t: "state", state: "away" }));
  return commands;
}

/** What is over by now. */
export function tick(state: State, env: Env): Step {
  const commands: Command[] = [];
  if (state.typed !== null && env.now_ms - state.typed.key_ms >= TYPING_STOP_MS) {
    commands.push(...say(state, { t: "typing", room: state.typed.room, on: false }));
    state = { ...state, typed: null };
  }
  if ([...state.typing.values()].some((people) => [...people.values()].some((until) => until <= env.now_ms))) {
    const typing = new Map<string, ReadonlyMap<string, number>>();
    for (const [room, people] of state.typing) {
      const still = new Map([...people].filter(([, until]) => until > env.now_ms));
      if (still.size > 0) typing.set(room, still);
    }
    state = { ...state, typing };
  }
  if (state.reads_due_ms !== 0 && env.now_ms >= state.reads_due_ms) {
    const sent = flushReads(state);
    return { state: sent.state, commands: [...commands, ...sent.commands] };
  }
  return { state, commands };
}

export function dueMs(state: State): number[] {
  const due = [...state.typing.values()].flatMap((people) => [...people.values()]);
  if (state.typed !== null) due.push(state.typed.key_ms + TYPING_STOP_MS);
  if (state.reads_due_ms !== 0 && state.link.phase === "live") due.push(state.reads_due_ms);
  return due;
}
