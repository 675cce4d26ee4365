/** A room's rows and one's own pending messages as the list that the timeline shows.  Pure. */
import type { Pending, RoomView } from "../core/model";
import { isMessage, isTitle } from "../core/rooms";
import type { Row } from "../core/wire";
import { dayKey } from "./words";

export type Item =
  | { kind: "start"; key: string }
  | { kind: "older"; key: string }
  | { kind: "day"; key: string; at_ms: number }
  | { kind: "line"; key: string }
  | { kind: "system"; key: string; row: Row }
  | { kind: "message"; key: string; row: Row; first: boolean }
  | { kind: "pending"; key: string; item: Pending; first: boolean };

const GROUP_MS = 5 * 60_000; // messages of one author nearer than this stand under one name

export function timelineItems(view: RoomView, pending: readonly Pending[], me: string): Item[] {
  const items: Item[] = [{ kind: view.more ? "older" : "start", key: "top" }];
  let day = "";
  let author: string | null = null;
  let last_ms = 0;
  const turn = (at_ms: number) => {
    if (dayKey(at_ms) === day) return;
    day = dayKey(at_ms);
    author = null;
    items.push({ kind: "day", key: `day-${day}`, at_ms });
  };
  const groups = (who: string | null, at_ms: number) => {
    const first = who !== author || at_ms - last_ms > GROUP_MS;
    author = who;
    last_ms = at_ms;
    return first;
  };
  let lined = view.line === null;
  for (const row of view.rows) {
    if (row.kind === "redaction") continue; // shown on its target
    const at_ms = Date.parse(row.at);
    turn(at_ms);
    if (!lined && view.line !== null && row.seq > view.line && isMessage(row) && row.author !== me) {
      lined = true;
      author = null;
      items.push({ kind: "line", key: `line-${view.line}` });
    }
    if (row.kind !== "entry" || isTitle(row)) {
      author = null;
      items.push({ kind: "system", key: `row-${row.seq}`, row });
    } else {
      items.push({ kind: "message", key: `row-${row.seq}`, row, first: groups(row.author, at_ms) });
    }
  }
  for (const item of pending) {
    turn(item.at_ms);
    items.push({ kind: "pending", key: `own-${item.client_id}`, item, first: groups(me, item.at_ms) });
  }
  return items;
}
