/**
 * Bodies that have not come.  The server pushes those of rows it sent over the socket; those of pages nobody owes us,
 * so the room on the screen asks again for what it lacks, seldom, and more seldom the longer its region is silent.
 */
import { REFILL_FIRST_MS, REFILL_MAX_MS } from "./limits";
import { type Env, quiet, type RoomView, type State, type Step, withRoom } from "./model";
import { applyBody } from "./rooms";
import type { Row } from "./wire";

/** The newest row on hand whose body is lacking; undefined if none is. */
function lacking(view: RoomView | undefined): Row | undefined {
  return view?.rows.findLast((row) => row.id !== null && (row.state === "held" || row.state === "waiting"));
}

function openView(state: State): RoomView | undefined {
  return state.open === null ? undefined : state.rooms.get(state.open);
}

/** Sets or clears the time to ask, after a step that changed the open room. */
export function arm(before: State, state: State, env: Env): State {
  const view = openView(state);
  if (view === openView(before)) return state;
  if (lacking(view) === undefined) return state.refill_due_ms === 0 ? state : { ...state, refill_due_ms: 0, refill_wait_ms: REFILL_FIRST_MS };
  return state.refill_due_ms === 0 ? { ...state, refill_due_ms: env.now_ms + state.refill_wait_ms } : state;
}

/** Asks when it is time. */
export function tick(state: State, env: Env): Step {
  if (state.refill_due_ms === 0 || env.now_ms < state.refill_due_ms || state.link.phase !== "live") return quiet(state);
  const row = lacking(openView(state));
  if (row === undefined) return quiet({ ...state, refill_due_ms: 0, refill_wait_ms: REFILL_FIRST_MS });
  const wait_ms = Math.min(state.refill_wait_ms * 2, REFILL_MAX_MS);
  return {
    state: { ...state, refill_wait_ms: wait_ms, refill_due_ms: env.now_ms + wait_ms },
    commands: [{ t: "refill", room: row.stream, before: row.seq + 1 }],
  };
}

/** Rows that were asked for once more: only what they say of bodies is taken. */
export function refilled(state: State, room: string, rows: readonly Row[]): State {
  const view = state.rooms.get(room);
  if (view === undefined) return state;
  const next = rows.reduce((sum, row) => (row.id === null || row.state === null ? sum : applyBody(sum, row.id, row.state, row.body)), view);
  return next === view ? state : withRoom(state, room, next);
}

export function dueMs(state: State): number[] {
  return state.refill_due_ms === 0 || state.link.phase !== "live" ? [] : [state.refill_due_ms];
}
