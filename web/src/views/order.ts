/** The order of rooms in the list, which is also the order in which the keyboard walks through them.  Pure. */
import type { RoomView, State } from "../core/model";
import { roomTitle } from "./words";

export interface RoomLists {
  readonly groups: readonly RoomView[];
  readonly direct: readonly RoomView[];
}

/** Rooms one is in: the liveliest first, those of equal time by name. */
export function roomLists(state: State): RoomLists {
  const joined = [...state.rooms.values()].filter(({ info }) => info.joined);
  const byTime = (a: RoomView, b: RoomView) =>
    (b.info.last_at ?? "").localeCompare(a.info.last_at ?? "") || roomTitle(state, a.info).localeCompare(roomTitle(state, b.info));
  return {
    groups: joined.filter(({ info }) => info.kind === "group").sort(byTime),
    direct: joined.filter(({ info }) => info.kind === "direct").sort(byTime),
  };
}

/** The room above (-1) or below (+1) the open one; with `unread`, the next that has something new. */
export function neighbour(state: State, by: -1 | 1, unread: boolean): string | null {
  const { groups, direct } = roomLists(state);
  const all = [...groups, ...direct];
  const at = all.findIndex(({ info }) => info.id === state.open);
  for (let i = 1; i <= all.length; i += 1) {
    const start = at < 0 && by < 0 ? 0 : at;
    const view = all[(start + by * i + all.length * 2) % all.length];
    if (view !== undefined && (!unread || view.info.unread > 0)) return view.info.id;
  }
  return null;
}
