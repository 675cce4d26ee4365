/**
 * The connection: opening, greeting, heartbeat, back-off, migration and the reasons a server gives for closing.
 *
 * Laws: frames of any socket but the one in use are ignored, from the resume on; whatever happens, either a socket
 * is in use or a time is set at which the next one is opened, until the session ends; no two openings are nearer
 * to each other than the back-off says, unless the server asked for it.
 */
import {
  BACKOFF_FIRST_MS,
  BACKOFF_MAX_MS,
  BUSY_WAIT_MS,
  LANDED_SHOWN_MS,
  OPEN_TIMEOUT_MS,
  PING_AFTER_MS,
  PONG_WITHIN_MS,
  STEADY_AFTER_MS,
} from "./limits";
import { type Command, type Env, type Link, quiet, type State, type Step } from "./model";
import { planGreeting } from "./resume";
import { CLOSE, type ClientFrame, type FrameOf } from "./wire";

function update(state: State, link: Partial<Link>): State {
  return { ...state, link: { ...state.link, ...link } };
}

/** How long to wait before opening number `attempt` + 1 in a row: doubling, and spread so that clients do not march in step. */
export function backoffMs(attempt: number, chance: number): number {
  const full = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** Math.min(attempt, 10));
  return full * (0.5 + chance / 2);
}

/** Opens a socket now.  Also used when a waiting one is due. */
export function openNow(state: State, env: Env): Step {
  const { link } = state;
  const socket = link.serial + 1;
  return {
    state: update(state, { phase: "opening", socket, serial: socket, due_ms: env.now_ms + OPEN_TIMEOUT_MS, fresh_token: false }),
    commands: [{ t: "open", socket, fresh_token: link.fresh_token, attempt: link.attempt }],
  };
}

export function start(state: State, env: Env): Step {
  if (state.link.phase !== "off" && state.link.phase !== "ended") return quiet(state);
  return openNow(update(state, { attempt: 0, trouble: null, lost_ms: env.now_ms }), env);
}

export function stop(state: State): Step {
  return { state: update(state, { phase: "off", socket: 0, next: 0, leaving: 0, place: null, landed: null }), commands: closeAll(state.link) };
}

function closeAll(link: Link): Command[] {
  return [link.socket, link.next, link.leaving]
    .filter((socket) => socket !== 0)
    .map((socket) => ({ t: "close", socket, code: CLOSE.normal }));
}

/** A socket is open: greet on it.  For the second socket of a migration this is the moment the first one is left. */
export function opened(state: State, socket: number, env: Env): Step {
  const { link } = state;
  const second = socket === link.next && socket !== 0;
  if (!second && !(socket === link.socket && link.phase === "opening")) return quiet(state);
  const greeting = planGreeting(state);
  const moved: Partial<Link> = second ? { socket, next: 0, leaving: link.socket } : {};
  return {
    state: update(state, {
      ...moved,
      phase: "greeting",
      due_ms: env.now_ms + OPEN_TIMEOUT_MS,
      heard_ms: env.now_ms,
      ping_ms: 0,
      resumed: greeting.t === "resume",
      sent_cursors: new Set(greeting.t === "resume" ? Object.keys(greeting.cursors) : []),
      forget: false,
    }),
    commands: [{ t: "send", socket, frame: greeting }],
  };
}

/** The welcome makes the connection live; the socket left behind, if any, is closed now. */
export function welcomed(state: State, frame: FrameOf<"welcome">, env: Env): Step {
  const { link } = state;
  const returned = link.lost_ms > 0 && state.ready;
  const place = { region: frame.region, site: frame.site, city: frame.city };
  const moved = link.place !== null && link.place.site !== frame.site;
  const landed = returned || moved ? { city: frame.city, until_ms: env.now_ms + LANDED_SHOWN_MS } : link.landed;
  const commands: Command[] = link.leaving === 0 ? [] : [{ t: "close", socket: link.leaving, code: CLOSE.normal }];
  return {
    state: update(state, {
      phase: "live", leaving: 0, live_ms: env.now_ms, lost_ms: 0, catching_up: link.resumed, place, landed, trouble: null,
    }),
    commands,
  };
}

/** The server is going: a second socket is opened while the first still works. */
export function migrate(state: State, env: Env): Step {
  const { link } = state;
  if (link.phase !== "live" || link.next !== 0) return quiet(state);
  const socket = link.serial + 1;
  return {
    state: update(state, { next: socket, serial: socket, next_due_ms: env.now_ms + OPEN_TIMEOUT_MS }),
    commands: [{ t: "open", socket, fresh_token: false, attempt: 0 }],
  };
}

export function closed(state: State, socket: number, code: number, env: Env): Step {
  const { link } = state;
  if (socket === link.leaving) return quiet(update(state, { leaving: 0 }));
  if (socket === link.next) return quiet(update(state, { next: 0, next_due_ms: 0 }));
  if (socket !== link.socket || link.phase === "ended" || link.phase === "off") return quiet(state);
  if (code === CLOSE.revoked) {
    return { state: update(state, { phase: "ended", socket: 0, next: 0, leaving: 0, landed: null }), commands: [...closeAll({ ...link, socket: 0 }), { t: "ended", reason: "revoked" }] };
  }
  return lost(state, code, env);
}

/** The socket in use is gone: go on with the second one if there is one, else wait the back-off out. */
function lost(state: State, code: number, env: Env): Step {
  const { link } = state;
  const lost_ms = link.lost_ms || env.now_ms;
  if (link.next !== 0) {
    return quiet(update(state, { phase: "opening", socket: link.next, next: 0, lost_ms, due_ms: env.now_ms + OPEN_TIMEOUT_MS }));
  }
  const steady = link.phase === "live" && env.now_ms - link.live_ms >= STEADY_AFTER_MS;
  const attempt = steady ? 0 : link.attempt;
  const asked = code === CLOSE.going || code === CLOSE.slow || code === CLOSE.token;
  let wait_ms = asked && attempt === 0 ? 0 : backoffMs(attempt, env.chance);
  if (code === CLOSE.busy || code === CLOSE.badFrame) wait_ms = Math.max(wait_ms, BUSY_WAIT_MS);
  const commands: Command[] = link.leaving === 0 ? [] : [{ t: "close", socket: link.leaving, code: CLOSE.normal }];
  if (attempt > 0 && attempt % 2 === 0) commands.push({ t: "explain" });
  return {
    state: update(state, {
      phase: "waiting", socket: 0, leaving: 0, attempt: attempt + 1, due_ms: env.now_ms + wait_ms, lost_ms,
      fresh_token: link.fresh_token || code === CLOSE.token,
      forget: link.forget || code === CLOSE.badFrame,
      catching_up: false,
    }),
    commands,
  };
}

/** Gives up the socket in use as if it had closed, because it went silent. */
function abandon(state: State, env: Env): Step {
  const { socket } = state.link;
  const done = lost(state, 1006, env);
  return { state: done.state, commands: [{ t: "close", socket, code: CLOSE.normal }, ...done.commands] };
}

/** What is due by now: an opening, a time-out, a ping, or the end of a notice. */
export function tick(state: State, env: Env): Step {
  let { link } = state;
  if (link.landed !== null && env.now_ms >= link.landed.until_ms) {
    state = update(state, { landed: null });
    link = state.link;
  }
  if (link.phase === "waiting") return env.now_ms >= link.due_ms ? openNow(state, env) : quiet(state);
  if (link.phase === "opening" || link.phase === "greeting") return env.now_ms >= link.due_ms ? abandon(state, env) : quiet(state);
  if (link.phase !== "live") return quiet(state);
  if (link.ping_ms !== 0 && env.now_ms - link.ping_ms >= PONG_WITHIN_MS) return abandon(state, env);
  const commands: Command[] = [];
  if (link.next !== 0 && env.now_ms >= link.next_due_ms) {
    commands.push({ t: "close", socket: link.next, code: CLOSE.normal });
    state = update(state, { next: 0 });
  }
  if (link.ping_ms === 0 && env.now_ms - link.heard_ms >= PING_AFTER_MS) {
    const n = link.ping_n + 1;
    state = update(state, { ping_ms: env.now_ms, ping_n: n });
    commands.push({ t: "send", socket: link.socket, frame: { t: "ping", n } });
  }
  return { state, commands };
}

/** The network is back or the page is looked at again: do not wait any longer, and see whether the socket still lives. */
export function wake(state: State, env: Env): Step {
  const { link } = state;
  if (link.phase === "waiting") return openNow(update(state, { attempt: 0 }), env);
  if (link.phase !== "live" || link.ping_ms !== 0) return tick(state, env);
  const n = link.ping_n + 1;
  return { state: update(state, { ping_ms: env.now_ms, ping_n: n }), commands: [{ t: "send", socket: link.socket, frame: { t: "ping", n } }] };
}

/** Anything heard on the socket in use proves that it lives. */
export function heard(state: State, env: Env): State {
  return update(state, { heard_ms: env.now_ms, ping_ms: 0 });
}

export function caughtUp(state: State): State {
  return update(state, { catching_up: false });
}

export function troubled(state: State, trouble: Link["trouble"]): State {
  return state.link.phase === "live" ? state : update(state, { trouble });
}

/** A frame for the server, if there is anybody to send it to. */
export function say(state: State, frame: ClientFrame): Command[] {
  return state.link.phase === "live" ? [{ t: "send", socket: state.link.socket, frame }] : [];
}

/** When `tick` will have something to do. */
export function dueMs(link: Link): number[] {
  const due = link.landed === null ? [] : [link.landed.until_ms];
  if (link.phase === "waiting" || link.phase === "opening" || link.phase === "greeting") due.push(link.due_ms);
  if (link.phase === "live") due.push(link.ping_ms === 0 ? link.heard_ms + PING_AFTER_MS : link.ping_ms + PONG_WITHIN_MS);
  if (link.phase === "live" && link.next !== 0) due.push(link.next_due_ms);
  return due;
}
