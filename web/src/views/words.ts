/** How things are called and said: names, places, times, states.  Pure. */
import type { KnownPresence, Pending, State } from "../core/model";
import type { Bootstrap, PresenceState, Room } from "../core/wire";

/** A region's short name, as badges show it. */
export function shortRegion(region: string): string {
  return region.length <= 5 ? region.toUpperCase() : region.charAt(0).toUpperCase() + region.slice(1);
}

export function longRegion(region: string, regions: Bootstrap["regions"] | undefined): string {
  return regions?.find((one) => one.name === region)?.title ?? shortRegion(region);
}

export function personName(state: State, id: string): string {
  return state.people.get(id)?.name ?? `Somebody in ${shortRegion(id.split("_")[1] ?? "")}`;
}

export function roomTitle(state: State, room: Room): string {
  if (room.kind === "direct") return room.others[0] === undefined ? "Notes to myself" : personName(state, room.others[0]);
  if (room.title !== null) return room.title;
  return room.title_state === "held" ? `A room whose title is held in ${shortRegion(room.creator.split("_")[1] ?? room.region)}` : "A room";
}

const LETTERS = new Intl.Segmenter();

function firstLetter(text: string): string {
  return LETTERS.segment(text).containing(0)?.segment ?? "";
}

/** One or two letters for a round picture. */
export function initials(name: string): string {
  const parts = name.trim().split(/\s+/).filter((part) => /\p{L}|\p{N}/u.test(part));
  const letters = [parts[0], parts.length > 1 ? parts.at(-1) : undefined].map((part) => firstLetter(part ?? ""));
  return letters.join("").toUpperCase() || "?";
}

/** A stable small number for a string, to pick colours by. */
export function pick(text: string, among: number): number {
  let hash = 2_166_136_261;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 16_777_619);
  return (hash >>> 0) % among;
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_YEAR = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export const timeOf = (ms: number) => TIME.format(ms);
export const fullTimeOf = (ms: number) => FULL.format(ms);

/** The local day, as a key that tells days apart. */
export function dayKey(ms: number): string {
  const day = new Date(ms);
  return `${day.getFullYear()}-${day.getMonth() + 1}-${day.getDate()}`;
}

/** A day as people say it; `today` is today's key. */
export function dayWords(ms: number, today: string): string {
  if (dayKey(ms) === today) return "Today";
  const next = new Date(ms);
  next.setDate(next.getDate() + 1);
  if (dayKey(next.getTime()) === today) return "Yesterday";
  return today.startsWith(`${new Date(ms).getFullYear()}-`) ? DAY.format(ms) : DAY_YEAR.format(ms);
}

export const PRESENCE_WORDS: Record<PresenceState, string> = {
  online: "online",
  away: "away",
  busy: "busy",
  dnd: "do not disturb",
  invisible: "invisible",
  offline: "offline",
  unknown: "not known, their region is silent",
};

export function presenceWords(presence: KnownPresence): string {
  return PRESENCE_WORDS[presence.state];
}

const CODES: Record<string, string> = {
  not_a_member: "you are not a member of this room any more",
  not_member: "you are not a member of this room any more",
  room_unknown: "this room does not exist",
  forbidden: "this is not allowed",
  throttled: "too many at once",
  body_too_large: "the message is too long",
  client_id_reused: "it was sent before with other words",
  home_unreachable: "the region cannot be reached just now",
  unreachable: "the server cannot be reached",
  erased: "its author was erased",
  upload_lost: "its files were not yet uploaded when the page was closed. Attach them again",
  file_unknown: "one of its files is not there any more",
  file_not_ready: "one of its files is not ready yet",
};

/** A stable code of the server in words. */
export function codeWords(code: string | null): string {
  return CODES[code ?? ""] ?? `the server said: ${(code ?? "no reason").replaceAll("_", " ")}`;
}

/** What became of one's own message so far; null when there is nothing to say. */
export function pendingWords(item: Pending, home: string, live: boolean): string | null {
  if (item.files === null) return live ? "sent when its files are uploaded" : "waiting for a connection";
  switch (item.state) {
    case "queued":
      return live ? "sending" : "waiting for a connection";
    case "sent":
      return "sending";
    case "kept":
      return `kept in ${shortRegion(home)}, waiting to be placed`;
    case "refused":
      return `not sent: ${codeWords(item.code)}`;
    case "placed":
      return null;
  }
}

export function count(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}

export function typingWords(names: readonly string[]): string {
  const [first, second] = names;
  if (first === undefined) return "";
  if (second === undefined) return `${first} is typing…`;
  return names.length === 2 ? `${first} and ${second} are typing…` : "Several people are typing…";
}
