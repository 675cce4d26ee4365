/**
 * One's own messages from the key stroke to their place in the order.
 *
 * Laws: an item leaves only when its row is shown (or covered by the cursor), or when its author discards it;
 * it is posted with one `client_id` until it is acknowledged, over however many connections; messages of one room
 * are first posted in the order they were written, but one that waits for its files holds no other back.
 */
import { ACK_WITHIN_MS, IN_FLIGHT_MAX, OUTBOX_MAX } from "./limits";
import { backoffMs, say } from "./link";
import { chain, type Command, type Env, type Pending, quiet, type State, type Step } from "./model";
import { awaited, drafts, letGo, refOf } from "./uploads";
import { filesOf, type FrameOf, type Row } from "./wire";

/** Sends words, and every file that was attached in this room, as soon as it is uploaded. */
export function post(state: State, room: string, client_id: string, text: string, env: Env): Step {
  if (state.outbox.length >= OUTBOX_MAX || state.outbox.some((item) => item.client_id === client_id)) return quiet(state);
  const attached = drafts(state, room);
  if (text === "" && attached.length === 0) return quiet(state);
  const item: Pending = {
    client_id, room, text, files: attached.length > 0 ? null : [], at_ms: env.now_ms, state: "queued", entry: null, seq: null, code: null,
    socket: 0, due_ms: 0, tries: 0,
  };
  const uploads = state.uploads.map((one) => (attached.includes(one) ? { ...one, post: client_id } : one));
  const next = { ...state, uploads, outbox: [...state.outbox, item] };
  return chain(next, (s) => flush(s, env, [{ t: "keep", item }]), (s) => filesCame(s, env));
}

/** Messages whose files have all come are sent; one that is left with neither words nor files is forgotten. */
export function filesCame(state: State, env: Env): Step {
  const waiting = state.outbox.filter((item) => item.files === null);
  return chain(state, ...waiting.map((item) => (s: State) => complete(s, item, env)));
}

function complete(state: State, item: Pending, env: Env): Step {
  const uploads = awaited(state, item.client_id);
  if (uploads.length === 0 && item.text === "") return { state: drop(state, item), commands: [{ t: "forget", client_id: item.client_id }] };
  if (!uploads.every((one) => one.state === "ready")) return quiet(state);
  const next: Pending = { ...item, files: uploads.flatMap(({ file }) => (file === null ? [] : [refOf(file)])) };
  return chain(put(state, next), (s) => letGo(s, uploads, true), (s) => flush(s, env, [{ t: "keep", item: next }]));
}

/** Items of an earlier life of this page: whatever they were, asking again with the same id tells what they are now. */
export function restore(state: State, items: readonly Pending[], env: Env): Step {
  const known = new Set(state.outbox.map((item) => item.client_id));
  const back = items.filter((item) => !known.has(item.client_id)).map((item) => {
    const whole = bereft(item);
    return whole.state === "refused" ? whole : again(whole);
  });
  return flush({ ...state, outbox: [...back, ...state.outbox].sort((a, b) => a.at_ms - b.at_ms) }, env);
}

/** Files that were not yet uploaded went with the page. */
function bereft(item: Pending): Pending {
  return item.files === null ? { ...item, files: [], state: "refused", code: "upload_lost" } : item;
}

function again(item: Pending): Pending {
  return { ...item, state: "queued", socket: 0, due_ms: 0, tries: 0 };
}

/** After a refusal: the same words under a new id. */
export function tryAgain(state: State, client_id: string, fresh: string, env: Env): Step {
  const item = state.outbox.find((one) => one.client_id === client_id);
  if (item?.state !== "refused" || item.text === null || empty(item)) return quiet(state);
  const next: Pending = { ...again(item), client_id: fresh, at_ms: env.now_ms, entry: null, seq: null, code: null };
  const outbox = [...state.outbox.filter((one) => one !== item), next];
  return flush({ ...state, outbox }, env, [{ t: "forget", client_id }, { t: "keep", item: next }]);
}

/** Nothing is left of it that could be sent. */
export function empty(item: Pending): boolean {
  return item.text === "" && item.files?.length === 0;
}

/** Gives up a message that was refused, or whose files are still on their way. */
export function discard(state: State, client_id: string): Step {
  const outbox = state.outbox.filter((item) => item.client_id !== client_id || (item.state !== "refused" && item.files !== null));
  if (outbox.length === state.outbox.length) return quiet(state);
  return chain({ ...state, outbox }, (s) => ({ state: s, commands: [{ t: "forget", client_id }] }), (s) => letGo(s, awaited(s, client_id), false));
}

/** Sends what is due, in order, a bounded number at a time; a room whose first waiting message must wait, waits. */
export function flush(state: State, env: Env, before: readonly Command[] = []): Step {
  const commands: Command[] = [...before];
  if (state.link.phase !== "live") return { state, commands };
  const { socket } = state.link;
  const held = new Set<string>();
  let flying = state.outbox.filter((item) => item.state === "sent" && item.socket === socket).length;
  const outbox = state.outbox.map((item) => {
    const late = item.state === "sent" && (item.socket !== socket || env.now_ms >= item.due_ms);
    if ((item.state !== "queued" && !late) || item.text === null || item.files === null) return item;
    const resend = late && item.socket === socket;
    if (held.has(item.room) || env.now_ms < item.due_ms && !late || (!resend && flying >= IN_FLIGHT_MAX)) {
      held.add(item.room);
      return item;
    }
    if (!resend) flying += 1;
    const files = item.files.length > 0 ? { files: item.files.map(({ id }) => id) } : {};
    commands.push(...say(state, { t: "post", room: item.room, client_id: item.client_id, text: item.text, ...files }));
    return { ...item, state: "sent" as const, socket, due_ms: env.now_ms + ACK_WITHIN_MS, tries: item.tries + 1 };
  });
  return { state: { ...state, outbox }, commands };
}

/** The fate of a post so far. */
export function acked(state: State, ack: FrameOf<"ack">, env: Env): Step {
  const item = state.outbox.find((one) => one.client_id === ack.client_id);
  if (item === undefined) return quiet(state);
  const next: Pending = { ...item, state: ack.state, entry: ack.id ?? item.entry, seq: ack.seq ?? item.seq, code: ack.code, due_ms: 0 };
  return flush(...settle(put(state, next), next, env));
}

/** A frame could not be done: wait and ask again if that may help, else it is refused. */
export function problem(state: State, frame: FrameOf<"problem">, env: Env): Step {
  const item = state.outbox.find((one) => one.client_id === frame.client_id);
  if (item === undefined || item.state === "placed" || item.state === "kept") return quiet(state);
  const wait_ms = frame.retry_after_s === null ? backoffMs(item.tries + 2, env.chance) : frame.retry_after_s * 1000;
  const next: Pending = frame.retryable
    ? { ...item, state: "queued", socket: 0, due_ms: env.now_ms + Math.min(wait_ms, 60_000) }
    : { ...item, state: "refused", code: frame.code };
  return flush(put(state, next), env, frame.retryable ? [] : [{ t: "keep", item: next }]);
}

/** A row of the inbox about a post: kept, placed or refused.  It may come from another device. */
export function fate(state: State, row: Row, env: Env): Step {
  if (row.id === null || row.target === null) return quiet(state);
  const item = state.outbox.find((one) => one.entry === row.id || (row.client_id !== null && one.client_id === row.client_id));
  const base = item ?? elsewhere(row, row.target);
  if (item === undefined && row.kind !== "kept") return quiet(state);
  if (row.kind === "kept" && (base.state === "placed" || base.state === "refused")) return quiet(state);
  const seq = row.kind === "placed" && row.detail !== null ? Number(row.detail) : base.seq;
  const kind = row.kind as "kept" | "placed" | "refused";
  const next: Pending = { ...base, state: kind, entry: row.id, seq, code: kind === "refused" ? row.detail : null, due_ms: 0 };
  return flush(...settle(put(state, next), next, env));
}

/** An own message that another device wrote. */
function elsewhere(row: Row, room: string): Pending {
  return {
    client_id: row.client_id ?? row.id ?? "", room, text: row.body?.text ?? null, files: filesOf(row.body), at_ms: Date.parse(row.at), state: "kept",
    entry: row.id, seq: null, code: null, socket: 0, due_ms: 0, tries: 0,
  };
}

function put(state: State, item: Pending): State {
  const at = state.outbox.findIndex((one) => one.client_id === item.client_id);
  return { ...state, outbox: at < 0 ? [...state.outbox, item] : state.outbox.with(at, item) };
}

/** Removes the item if its row is on the screen, or behind the cursor; keeps it with its new state otherwise. */
function settle(state: State, item: Pending, env: Env): [State, Env, Command[]] {
  const view = state.rooms.get(item.room);
  const shown = view !== undefined && (view.rows.some((row) => row.id !== null && row.id === item.entry) || (item.seq !== null && item.seq <= view.cursor));
  if (item.state !== "refused" && shown) return [drop(state, item), env, [{ t: "forget", client_id: item.client_id }]];
  return [state, env, [{ t: "keep", item }]];
}

function drop(state: State, item: Pending): State {
  return { ...state, outbox: state.outbox.filter((one) => one.client_id !== item.client_id) };
}

/** A row has come: the pending item that it is, if any, has done its work. */
export function rowCame(state: State, row: Row): Step {
  const item = state.outbox.find(
    (one) => one.room === row.stream && ((one.entry !== null && one.entry === row.id) || (row.client_id !== null && one.client_id === row.client_id)),
  );
  return item === undefined ? quiet(state) : { state: drop(state, item), commands: [{ t: "forget", client_id: item.client_id }] };
}

/** Everything placed up to `head` is part of a snapshot that shows it. */
export function covered(state: State, room: string, head: number): Step {
  const done = state.outbox.filter((item) => item.room === room && item.state === "placed" && item.seq !== null && item.seq <= head);
  if (done.length === 0) return quiet(state);
  return { state: { ...state, outbox: state.outbox.filter((item) => !done.includes(item)) }, commands: done.map(({ client_id }) => ({ t: "forget", client_id })) };
}

/** The inbox began anew, so the fate of kept messages may have been missed: ask for it. */
export function askKept(state: State): State {
  return { ...state, outbox: state.outbox.map((item) => (item.state === "kept" && item.text !== null ? again(item) : item)) };
}

export function dueMs(state: State): number[] {
  if (state.link.phase !== "live") return [];
  return state.outbox.filter((item) => item.state === "sent" || (item.state === "queued" && item.due_ms > 0)).map((item) => item.due_ms);
}
