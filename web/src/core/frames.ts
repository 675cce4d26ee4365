/** What each frame of the server does to what is known. */
import * as ephemeral from "./ephemeral";
import * as link from "./link";
import { chain, type Command, type Env, type Inbox, quiet, type RoomView, type State, type Step, withRoom } from "./model";
import * as outbox from "./outbox";
import { applyBody, applyRow, freshView, isMessage, mergeInfo, pageBefore, reset, unknownRoom } from "./rooms";
import { filesOf, type FrameOf, regionOf, type Room, type Row, type ServerFrame } from "./wire";

export function apply(state: State, frame: ServerFrame, env: Env): Step {
  switch (frame.t) {
    case "welcome":
      return welcome(state, frame, env);
    case "synced":
      return synced(state, frame, env);
    case "row":
      return frame.stream === state.inbox?.id ? inboxRow(state, frame, env) : roomRow(state, frame, env);
    case "room":
      return roomCame(state, frame.room);
    case "body":
      return body(state, frame);
    case "ack":
      return outbox.acked(state, frame, env);
    case "presence":
      return quiet(ephemeral.heardPresence(state, frame));
    case "typing":
      return quiet(ephemeral.heardTyping(state, frame, env));
    case "read":
      return quiet(ephemeral.heardRead(state, frame));
    case "migrate":
      return link.migrate(state, env);
    case "problem":
      return frame.re === "post" || frame.client_id !== null ? outbox.problem(state, frame, env) : quiet(state);
    default:
      return quiet(state);
  }
}

function welcome(state: State, frame: FrameOf<"welcome">, env: Env): Step {
  return chain(
    state,
    (s) => link.welcomed(s, frame, env),
    (s) => snapshot(s, frame),
    (s) => ({ state: s, commands: ephemeral.introduce(s) }),
    (s) => quiet(ephemeral.markRead(s, env)),
    (s) => ephemeral.flushReads(s),
    (s) => outbox.flush(s, env),
    (s) => (s.open === null ? quiet(s) : ensureRows(s, s.open)),
  );
}

/** The welcome's rooms replace the list.  Rooms whose cursor was sent go on from it, the others begin anew. */
function snapshot(state: State, frame: FrameOf<"welcome">): Step {
  const { resumed, sent_cursors } = state.link;
  const rooms = new Map<string, RoomView>();
  const reads = new Map(state.reads);
  for (const info of frame.rooms) {
    const known = state.rooms.get(info.id);
    if (known === undefined) rooms.set(info.id, freshView(info));
    else if (resumed && sent_cursors.has(info.id)) rooms.set(info.id, mergeInfo(known, info));
    else rooms.set(info.id, reset({ ...known, info }, info.head));
    if (known !== undefined && known.info.read > info.read) reads.set(info.id, known.info.read); // the mark was lost on its way
  }
  const before = state.open === null ? undefined : state.rooms.get(state.open);
  if (before !== undefined && !rooms.has(before.info.id)) rooms.set(before.info.id, { ...before, info: { ...before.info, joined: false, unread: 0 } });
  const known = state.inbox?.id === frame.inbox ? state.inbox : null;
  const goesOn = known !== null && resumed && sent_cursors.has(frame.inbox);
  const inbox: Inbox = goesOn ? known : { id: frame.inbox, cursor: frame.inbox_head };
  const next = goesOn ? state : outbox.askKept(state);
  return chain({ ...next, ready: true, rooms, inbox, reads }, ...frame.rooms.map((info) => (s: State) => outbox.covered(s, info.id, s.rooms.get(info.id)?.cursor ?? 0)));
}

/** All that was missed has come.  Streams named here begin anew at their heads. */
function synced(state: State, frame: FrameOf<"synced">, env: Env): Step {
  let next = link.caughtUp(state);
  for (const [stream, head] of Object.entries(frame.resets)) {
    const view = next.rooms.get(stream);
    if (view !== undefined) next = withRoom(next, stream, reset(view, head));
    if (next.inbox?.id === stream) next = outbox.askKept({ ...next, inbox: { id: stream, cursor: head } });
  }
  return chain(
    next,
    ...Object.entries(frame.resets).map(([stream, head]) => (s: State) => outbox.covered(s, stream, head)),
    (s) => outbox.flush(s, env),
    (s) => (s.open === null ? quiet(s) : ensureRows(s, s.open)),
  );
}

function roomRow(state: State, row: Row, env: Env): Step {
  const known = state.rooms.get(row.stream);
  const view = known ?? { ...freshView(unknownRoom(row.stream, regionOf(row.stream))), cursor: row.seq - 1 };
  const next = applyRow(view, row, state.me);
  if (next === view) return quiet(state);
  const isNew = next.cursor > view.cursor;
  const foreign = isNew && isMessage(row) && row.author !== state.me;
  const unseen = foreign && state.open === row.stream && !state.attentive;
  const lined = unseen && next.line === null ? { ...next, line: row.seq - 1 } : next;
  const commands: Command[] = known === undefined ? [{ t: "fetch_room", room: row.stream }] : [];
  if (foreign) commands.push({ t: "heard", room: row.stream, row });
  if (row.kind === "redaction" || row.kind === "erasure") commands.push(...filesGone(view, next));
  return chain(
    withRoom(state, row.stream, lined),
    (s) => ({ state: s, commands }),
    (s) => outbox.rowCame(s, row),
    (s) => quiet(row.author === null || !isNew ? s : ephemeral.heardTyping(s, { room: row.stream, person: row.author, on: false }, env)),
    (s) => quiet(ephemeral.markRead(s, env)),
  );
}

function inboxRow(state: State, row: Row, env: Env): Step {
  if (state.inbox === null || row.seq <= state.inbox.cursor) return quiet(state);
  const next = { ...state, inbox: { ...state.inbox, cursor: row.seq } };
  const view = row.target === null ? undefined : next.rooms.get(row.target);
  switch (row.kind) {
    case "added":
      return row.target === null || view?.info.joined === true ? quiet(next) : { state: next, commands: [{ t: "fetch_room", room: row.target }] };
    case "removed":
      return quiet(view === undefined ? next : withRoom(next, view.info.id, { ...view, info: { ...view.info, joined: false, unread: 0 } }));
    case "kept":
    case "placed":
    case "refused":
      return outbox.fate(next, row, env);
    default:
      return quiet(next);
  }
}

/** A room came into view or changed; also the answer of `GET /v1/rooms/{id}`. */
export function roomCame(state: State, info: Room): Step {
  const known = state.rooms.get(info.id);
  const next = withRoom(state, info.id, known === undefined ? freshView(info) : mergeInfo(known, info));
  return state.open === info.id ? ensureRows(next, info.id) : quiet(next);
}

function body(state: State, frame: FrameOf<"body">): Step {
  const view = state.rooms.get(frame.stream);
  if (view === undefined) return quiet(state);
  const next = applyBody(view, frame.id, frame.state, frame.body);
  return { state: withRoom(state, frame.stream, next), commands: frame.state === "erased" ? filesGone(view, next) : [] };
}

/** The files of messages that have just been erased. */
function filesGone(before: RoomView, after: RoomView): Command[] {
  const kept = new Set(after.rows);
  const files = before.rows.filter((row) => !kept.has(row)).flatMap((row) => filesOf(row.body).map(({ id }) => id));
  return files.length === 0 ? [] : [{ t: "files_gone", files }];
}

/** Asks for a page if the room on the screen has too few rows to fill it. */
export function ensureRows(state: State, room: string): Step {
  const view = state.rooms.get(room);
  return view !== undefined && view.rows.length < 30 ? askPage(state, room) : quiet(state);
}

export function askPage(state: State, room: string): Step {
  const view = state.rooms.get(room);
  if (view === undefined || !view.more || view.loading !== 0 || !state.ready) return quiet(state);
  const request = state.page_serial + 1;
  return {
    state: withRoom({ ...state, page_serial: request }, room, { ...view, loading: request, failed: null }),
    commands: [{ t: "page", room, request, before: pageBefore(view) }],
  };
}
