/**
 * Rooms as their reader sees them: rows in order, bodies, erasures, unread counts.  Pure functions over one `RoomView`.
 *
 * Laws: `rows` ascends strictly by seq and has no hole within what one may see; a row at or below `cursor` changes
 * nothing but a body that was lacking; an erased entry never shows a body again, in whatever order things arrive.
 */
import { ROWS_MAX } from "./limits";
import type { RoomView } from "./model";
import type { Body, BodyState, Page, Room, Row } from "./wire";

export function freshView(info: Room): RoomView {
  return {
    info, cursor: info.head, counted: info.head, rows: [], more: true, loading: 0, failed: null,
    erased: new Set(), purged: new Map(), line: null, members_version: 0,
  };
}

/** A room of which only a row has been seen so far. */
export function unknownRoom(id: string, region: string): Room {
  return {
    id, region, kind: "group", creator: "", title: null, title_state: "waiting", head: 0, no: 0, read: 0, unread: 0,
    members: 0, others: [], joined: true, last_at: null,
  };
}

/** Is this row a message, as opposed to a title, a join or a redaction? */
export function isMessage(row: Row): boolean {
  return row.kind === "entry" && row.target !== row.stream;
}

export function isTitle(row: Row): boolean {
  return row.kind === "entry" && row.target === row.stream;
}

/** Unread messages among the rows on hand, or null if they do not reach back to `read`. */
function countUnread(view: RoomView, me: string, read: number): number | null {
  const first = view.rows[0]?.seq ?? view.cursor + 1;
  if (view.more && first > read + 1) return null;
  return view.rows.filter((row) => row.seq > read && isMessage(row) && row.author !== me).length;
}

/**
 * A snapshot of the room replaces what was known, except the counts when they are known better here: rows beyond the
 * snapshot have been applied, or a read mark is on its way that the snapshot does not know.
 */
export function mergeInfo(view: RoomView, info: Room): RoomView {
  const { head, no, read, unread, title, title_state } = view.info;
  const older = info.head < view.cursor;
  const ahead = older || read > info.read;
  const counts = ahead ? { head: Math.max(head, info.head), no, read, unread } : {};
  const counted = ahead ? view.counted : info.head;
  const named = title !== null && (older || info.title_state !== "ok") ? { title, title_state } : {};
  const members_version = info.members === view.info.members ? view.members_version : view.members_version + 1;
  return entitled({ ...view, counted, members_version, info: { ...info, ...counts, ...named } });
}

/** A title that the snapshot lacks may stand among the rows on hand. */
function entitled(view: RoomView): RoomView {
  if (view.info.title !== null && view.info.title_state === "ok") return view;
  const row = view.rows.findLast(isTitle);
  return row?.state === "ok" ? titled(view, row.body) : view;
}

/** Starts the room anew at `head`: its cursor was unknown or too old. */
export function reset(view: RoomView, head: number): RoomView {
  return { ...view, cursor: head, counted: head, rows: [], more: true, loading: 0, failed: null, info: { ...view.info, head: Math.max(head, view.info.head) } };
}

/** Applies one live row.  The same view comes back when the row was known already. */
export function applyRow(view: RoomView, row: Row, me: string): RoomView {
  if (row.seq <= view.cursor) return row.id === null || row.state === null ? view : applyBody(view, row.id, row.state, row.body);
  const shown = veil(view, row);
  const counts = row.seq > view.counted && isMessage(row) && row.author !== me && row.seq > view.info.read;
  const info: Room = {
    ...view.info,
    head: Math.max(view.info.head, row.seq),
    no: Math.max(view.info.no, row.no),
    unread: view.info.unread + (counts ? 1 : 0),
    last_at: isMessage(row) ? row.at : view.info.last_at,
  };
  let next: RoomView = { ...view, info, cursor: row.seq, counted: Math.max(view.counted, row.seq), rows: trim([...view.rows, shown]) };
  if (next.rows[0] !== (view.rows[0] ?? shown)) next = { ...next, more: true };
  return effects(next, row, me);
}

/** What a row does beyond standing in the list. */
function effects(view: RoomView, row: Row, me: string): RoomView {
  switch (row.kind) {
    case "redaction":
      return row.target === null ? view : redact(view, row.target);
    case "erasure":
      return row.target === null ? view : purge(view, row.target, row.seq);
    case "join":
    case "leave":
      return row.target === null ? view : membership(view, row.target, row.kind === "join", me);
    default:
      return isTitle(row) && row.state === "ok" ? titled(view, row.body) : view;
  }
}

function membership(view: RoomView, person: string, joins: boolean, me: string): RoomView {
  const { info } = view;
  const rest = info.others.filter((other) => other !== person);
  const others = joins && person !== me ? [...rest, person] : rest;
  const members = Math.max(0, info.members + (joins ? 1 : -1));
  const joined = person === me ? joins : info.joined;
  return { ...view, members_version: view.members_version + 1, info: { ...info, others, members, joined } };
}

function titled(view: RoomView, body: Body | null): RoomView {
  return typeof body?.title !== "string" ? view : { ...view, info: { ...view.info, title: body.title, title_state: "ok" } };
}

function redact(view: RoomView, entry: string): RoomView {
  return { ...view, erased: new Set(view.erased).add(entry), rows: view.rows.map((row) => (row.id === entry ? tombstone(row) : row)) };
}

function purge(view: RoomView, person: string, seq: number): RoomView {
  const purged = new Map(view.purged).set(person, Math.max(seq, view.purged.get(person) ?? 0));
  const next = { ...view, purged };
  return { ...next, rows: view.rows.map((row) => veil(next, row)) };
}

function tombstone(row: Row): Row {
  return { ...row, body: null, state: "erased" };
}

/** The row without its body if it has been redacted, or its author erased after it. */
function veil(view: RoomView, row: Row): Row {
  const gone = (row.id !== null && view.erased.has(row.id)) || (row.author !== null && (view.purged.get(row.author) ?? 0) > row.seq);
  return gone && row.kind === "entry" && row.state !== "erased" ? tombstone(row) : row;
}

/** The body of an entry on hand, or what became of it.  What is erased stays erased; a body once had is not lost again. */
export function applyBody(view: RoomView, id: string, state: BodyState, body: Body | null): RoomView {
  const at = view.rows.findLastIndex((row) => row.id === id);
  const row = view.rows[at];
  if (row === undefined || row.state === "erased" || row.state === state) return state === "erased" && row === undefined ? redact(view, id) : view;
  if (row.state === "ok" && state !== "erased") return view;
  if (state === "erased") return redact(view, id);
  const filled = { ...row, state, body: state === "ok" ? body : null };
  const next = { ...view, rows: view.rows.with(at, filled) };
  const latest = isTitle(row) && !view.rows.some((other) => isTitle(other) && other.seq > row.seq);
  return latest && state === "ok" ? titled(next, body) : next;
}

/** Puts a page of older rows before those on hand. */
export function prepend(view: RoomView, page: Page): RoomView {
  const older = page.rows.filter((row) => row.seq < pageBefore(view));
  const more = page.more && page.rows.length > 0;
  let next: RoomView = { ...view, rows: [...older, ...view.rows], more, loading: 0, failed: null };
  for (const row of older) {
    if (row.kind === "redaction" && row.target !== null) next = redact(next, row.target);
    if (row.kind === "erasure" && row.target !== null) next = purge(next, row.target, row.seq);
  }
  return entitled({ ...next, rows: next.rows.map((row) => veil(next, row)) });
}

/** What a page request asks for: rows before those on hand, or the newest that the cursor covers. */
export function pageBefore(view: RoomView): number {
  return view.rows[0]?.seq ?? view.cursor + 1;
}

/** Lets the oldest rows go when there are far too many; they can be paged again. */
function trim(rows: readonly Row[]): readonly Row[] {
  return rows.length > ROWS_MAX * 1.25 ? rows.slice(-ROWS_MAX) : rows;
}

/** One has read up to `seq`.  Unread is counted from the rows on hand; `fallback` is the server's number. */
export function readTo(view: RoomView, me: string, seq: number, fallback: number): RoomView {
  if (seq <= view.info.read) return view;
  const unread = countUnread(view, me, seq);
  const info = { ...view.info, read: seq, unread: unread ?? fallback };
  return { ...view, info, counted: unread === null ? view.counted : view.cursor };
}
