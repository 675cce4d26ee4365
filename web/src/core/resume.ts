/** What to say first on a new socket: nothing known, or "here are my cursors, and the bodies I still lack". */
import { CURSORS_MAX, MISSING_MAX, RESUME_BYTES_MAX } from "./limits";
import type { RoomView, State } from "./model";
import type { ClientFrame } from "./wire";

type Greeting = Extract<ClientFrame, { t: "hello" | "resume" }>;

const CURSOR_EXTRA_BYTES = 22; // quotes, colon, comma and digits around an id

/** Rooms in the order in which their cursors matter: the open one, those with rows on hand, then the liveliest. */
function byNeed(state: State): RoomView[] {
  const rank = (view: RoomView) => (view.info.id === state.open ? 0 : view.rows.length > 0 ? 1 : 2);
  return [...state.rooms.values()].sort(
    (a, b) => rank(a) - rank(b) || (b.info.last_at ?? "").localeCompare(a.info.last_at ?? ""),
  );
}

/** Never longer than the server takes.  A room left out begins anew with the welcome's snapshot. */
export function planGreeting(state: State): Greeting {
  if (!state.ready || state.inbox === null || state.link.forget) return { t: "hello" };
  const cursors: Record<string, number> = { [state.inbox.id]: state.inbox.cursor };
  let bytes = 100 + state.inbox.id.length;
  let count = 1;
  const views = byNeed(state);
  for (const { info, cursor } of views) {
    bytes += info.id.length + CURSOR_EXTRA_BYTES;
    if (count >= CURSORS_MAX || bytes > RESUME_BYTES_MAX) break;
    cursors[info.id] = cursor;
    count += 1;
  }
  return { t: "resume", cursors, missing: missingBodies(views, RESUME_BYTES_MAX - bytes) };
}

/** Entries on hand whose bodies have not come, the newest of each room first. */
function missingBodies(views: readonly RoomView[], budget_bytes: number): string[] {
  const missing: string[] = [];
  for (const { rows } of views) {
    for (let i = rows.length - 1; i >= 0; i -= 1) {
      const row = rows[i];
      if (row?.id == null || (row.state !== "waiting" && row.state !== "held")) continue;
      budget_bytes -= row.id.length + 3;
      if (missing.length >= MISSING_MAX || budget_bytes < 0) return missing;
      missing.push(row.id);
    }
  }
  return missing;
}
