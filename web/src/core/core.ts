/**
 * The client without a network, a clock or a screen: `step(state, input, env)` gives the next state and what to do.
 * Everything the client promises about messages is decided here and in the modules this one joins.
 */
import * as bodies from "./bodies";
import * as ephemeral from "./ephemeral";
import { apply, askPage, ensureRows, roomCame } from "./frames";
import * as link from "./link";
import { blank, chain, type Env, type Input, quiet, type State, type Step, withRoom } from "./model";
import * as outbox from "./outbox";
import { prepend } from "./rooms";
import * as uploads from "./uploads";

export function step(state: State, input: Input, env: Env): Step {
  return chain(
    state,
    (s) => decide(s, input, env),
    (s) => quiet(bodies.arm(state, s, env)),
    (s) => uploads.follow(state, s, env),
  );
}

function decide(state: State, input: Input, env: Env): Step {
  switch (input.t) {
    case "start":
      return link.start(state, env);
    case "stop":
      return { state: blank(state.me), commands: link.stop(state).commands };
    case "opened":
      return link.opened(state, input.socket, env);
    case "frame":
      return frame(state, input, env);
    case "closed":
      return link.closed(state, input.socket, input.code, env);
    case "tick":
      return chain(state, (s) => link.tick(s, env), (s) => outbox.flush(s, env), (s) => ephemeral.tick(s, env), (s) => bodies.tick(s, env));
    case "leaving":
      return ephemeral.flushReads(state);
    case "wake":
      return link.wake(state, env);
    case "token":
      return { state, commands: link.say(state, { t: "renew", access_token: input.token }) };
    case "trouble":
      return quiet(link.troubled(state, input.trouble));
    case "page":
    case "page_failed":
      return page(state, input);
    case "refilled":
      return quiet(bodies.refilled(state, input.room, input.rows));
    case "open_room":
      return openRoom(state, input.room, env);
    case "attention":
      return quiet(ephemeral.markRead({ ...state, attentive: input.on }, env));
    case "history":
      return askPage(state, input.room);
    case "room":
      return roomCame(state, input.room);
    case "people":
      return quiet(acquaint(state, input.people));
    case "post":
      return post(state, input, env);
    case "attach":
      return quiet(uploads.attach(state, input.room, input.files));
    case "upload_progress":
      return quiet(uploads.progress(state, input.key, input.request, input.bytes));
    case "upload_answer":
      return outbox.filesCame(uploads.answered(state, input.key, input.request, input.file, env), env);
    case "upload_fault":
      return quiet(uploads.faulted(state, input.key, input.request, input.problem, env));
    case "upload_again":
      return quiet(uploads.again(state, input.key));
    case "upload_cancel":
      return chain(state, (s) => uploads.cancel(s, input.key), (s) => outbox.filesCame(s, env));
    case "again":
      return outbox.tryAgain(state, input.client_id, input.fresh, env);
    case "discard":
      return outbox.discard(state, input.client_id);
    case "restore":
      return outbox.restore(state, input.items, env);
    case "typing":
      return ephemeral.type(state, input.room, input.on, env);
    case "watch":
      return ephemeral.watch(state, input.people);
    case "idle":
      return ephemeral.idle(state, input.idle);
  }
}

/** A welcome makes the link live; nothing but a welcome is listened to before, and nothing from other sockets ever. */
function frame(state: State, input: { socket: number; frame: Parameters<typeof apply>[1] }, env: Env): Step {
  const { phase, socket } = state.link;
  const greeting = phase === "greeting" && (input.frame.t === "welcome" || input.frame.t === "problem");
  if (input.socket !== socket || !(phase === "live" || greeting)) return quiet(state);
  return apply(link.heard(state, env), input.frame, env);
}

function page(state: State, input: Extract<Input, { t: "page" | "page_failed" }>): Step {
  const view = state.rooms.get(input.room);
  if (view?.loading !== input.request) return quiet(state);
  if (input.t === "page_failed") return quiet(withRoom(state, input.room, { ...view, loading: 0, failed: input.code }));
  const next = withRoom(state, input.room, prepend(view, input.page));
  return input.page.rows.length > 0 && state.open === input.room ? ensureRows(next, input.room) : quiet(next);
}

/** Puts a room on the screen; the line before what is new is drawn once, where reading had stopped. */
function openRoom(state: State, room: string | null, env: Env): Step {
  if (room === state.open) return room === null ? quiet(state) : ensureRows(state, room);
  const view = room === null ? undefined : state.rooms.get(room);
  let next: State = { ...state, open: room };
  if (view !== undefined) next = withRoom(next, view.info.id, { ...view, line: view.info.unread > 0 ? view.info.read : null });
  return chain(
    next,
    (s) => (state.typed === null ? quiet(s) : ephemeral.type(s, state.typed.room, false, env)),
    (s) => (room === null ? quiet(s) : ensureRows(s, room)),
    (s) => quiet(ephemeral.markRead(s, env)),
  );
}

/** What one writes oneself is below everything new, so the line goes. */
function post(state: State, input: Extract<Input, { t: "post" }>, env: Env): Step {
  const view = state.rooms.get(input.room);
  const next = view === undefined ? state : withRoom(state, input.room, { ...view, line: null });
  const { typed } = next;
  return outbox.post(typed?.room === input.room ? { ...next, typed: null } : next, input.room, input.client_id, input.text, env);
}

/** Who is who; who comes without a word about a picture keeps the one that is known. */
function acquaint(state: State, people: Extract<Input, { t: "people" }>["people"]): State {
  const known = new Map(state.people);
  for (const { id, name, region, avatar } of people) known.set(id, { name, region, avatar: avatar === undefined ? (known.get(id)?.avatar ?? null) : avatar });
  return { ...state, people: known };
}

/** When to call with `tick` next, in ms since the epoch; null when nothing is due. */
export function nextDueMs(state: State): number | null {
  const due = [...link.dueMs(state.link), ...outbox.dueMs(state), ...ephemeral.dueMs(state), ...bodies.dueMs(state), ...uploads.dueMs(state)];
  return due.length === 0 ? null : Math.min(...due);
}

export { blank };
export type { Command, Env, Input, State, Step } from "./model";
