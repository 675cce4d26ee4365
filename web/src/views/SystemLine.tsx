/** What happened in a room besides messages, as one quiet line. */
import type { Row } from "../core/wire";
import { useCore } from "./hooks";
import { personName, shortRegion, timeOf } from "./words";

export function SystemLine({ row, room }: { row: Row; room: string }) {
  const words = useCore((state) => {
    const who = row.author === null ? "Somebody" : personName(state, row.author);
    const whom = row.target === null ? "somebody" : personName(state, row.target);
    const own = row.target === row.author || row.author === null;
    switch (row.kind) {
      case "join":
        return own ? `${whom} joined` : `${who} added ${whom}`;
      case "leave":
        return own ? `${whom} left` : `${who} removed ${whom}`;
      case "erasure":
        return `Everything ${whom} wrote here was erased`;
      case "entry":
        return titleWords(row, who, state.rooms.get(room)?.info.region ?? "");
      default:
        return null;
    }
  });
  return words === null ? null : <p className="system">{words} <time dateTime={row.at}>{timeOf(Date.parse(row.at))}</time></p>;
}

function titleWords(row: Row, who: string, region: string): string {
  if (row.state === "ok" && row.body?.title !== undefined) return `${who} named the room “${row.body.title}”`;
  if (row.state === "held") return `${who} named the room; the name is held in ${shortRegion(row.author?.split("_")[1] ?? region)}`;
  return `${who} named the room`;
}
