/** What the server speaks: the types of `src/moonbow/wire` that this client uses, field by field. */

export type BodyState = "ok" | "held" | "erased" | "waiting";
export type PresenceState = "online" | "away" | "busy" | "dnd" | "invisible" | "offline" | "unknown";
export type WishedState = "online" | "away" | "busy" | "dnd" | "invisible";
export type Role = "owner" | "admin" | "member" | "guest";

export interface Person {
  id: string;
  name: string;
  region: string;
  role: Role;
  company: string;
  avatar?: string | null; // changes with the picture; null: there is none
}

/** A file as a message carries it. */
export interface FileRef {
  id: string;
  name: string;
  type: string; // what its first bytes say
  size: number;
  width?: number | null; // of a picture, in pixels
  height?: number | null;
  thumbnail?: boolean; // a small one can be had
}

/** A file of one's own. */
export interface FileInfo extends FileRef {
  received: number; // bytes that the server has stored
  state: "uploading" | "checking" | "ready" | "refused";
  part_bytes: number;
  made_at: string;
  region: string;
  expires_at?: string | null;
  reason?: string | null;
}

export interface Files {
  files: FileInfo[];
  used_bytes: number;
  quota_bytes: number;
  next?: string | null;
}

export interface Body {
  kind: string;
  text?: string;
  title?: string;
  files?: FileRef[];
}

/** What a body says of its files, as far as it says it as it should: it may be another region's words. */
export function filesOf(body: Body | null | undefined): readonly FileRef[] {
  const files: unknown = body?.files;
  if (!Array.isArray(files)) return NO_FILES;
  return files.every(isFileRef) ? files : files.filter(isFileRef);
}

const NO_FILES: readonly FileRef[] = [];

function isFileRef(said: unknown): said is FileRef {
  if (typeof said !== "object" || said === null) return false;
  const { id, name, type, size } = said as Record<string, unknown>;
  return typeof id === "string" && typeof name === "string" && typeof type === "string" && typeof size === "number";
}

/** The words of a body; none where there should be some are none. */
export function textOf(body: Body | null | undefined): string {
  const text: unknown = body?.text;
  return typeof text === "string" ? text : "";
}

/** One row of a room's or an inbox's order, as its reader sees it. */
export interface Row {
  t: "row";
  stream: string;
  seq: number;
  kind: string;
  at: string;
  no: number;
  id: string | null;
  author: string | null;
  target: string | null;
  body: Body | null;
  state: BodyState | null;
  client_id: string | null;
  detail: string | null;
}

export interface Room {
  id: string;
  region: string;
  kind: "group" | "direct";
  creator: string;
  title: string | null;
  title_state: BodyState;
  head: number;
  no: number;
  read: number;
  unread: number;
  members: number;
  others: string[];
  joined: boolean;
  last_at: string | null;
}

export interface Member {
  person: string;
  name: string | null;
  region: string;
  since: string;
}

export interface Presence {
  person: string;
  state: PresenceState;
  text: string;
  since: string | null;
}

export interface Door {
  site: string;
  region: string;
  city: string;
  url: string;
  address: string;
  port: number;
}

export interface Problem {
  status: number;
  code: string;
  title: string;
  detail: string;
  retryable?: boolean;
  region?: string | null;
  since?: string | null;
  retry_after_s?: number | null;
}

export interface Session {
  access_token: string;
  expires_in_s: number;
  refresh_token: string;
  person: Person;
}

export interface Served {
  region: string;
  site: string;
  city: string;
}

export interface Bootstrap {
  world: string;
  domain: string;
  served_by: Served;
  doors: Door[];
  regions: { name: string; title: string }[];
}

export interface Me {
  person: Person;
  company_name: string;
  region_title: string;
  served_by: Served;
  operator: boolean;
}

export interface People {
  people: Person[];
  next: string | null;
  missing: string[];
}

export interface Page {
  rows: Row[];
  head: number;
  more: boolean;
}

export type AckState = "placed" | "kept" | "refused";

export type ServerFrame =
  | {
      t: "welcome";
      session: string;
      person: string;
      region: string;
      site: string;
      city: string;
      inbox: string;
      inbox_head: number;
      expires_at: string;
      heartbeat_s: number;
      rooms: Room[];
    }
  | { t: "synced"; resets: Record<string, number> }
  | Row
  | { t: "room"; room: Room }
  | { t: "body"; stream: string; id: string; state: BodyState; body: Body | null }
  | {
      t: "ack";
      client_id: string;
      state: AckState;
      room: string;
      id: string | null;
      seq: number | null;
      code: string | null;
    }
  | ({ t: "presence" } & Presence)
  | { t: "typing"; room: string; person: string; on: boolean }
  | { t: "read"; room: string; seq: number; unread: number }
  | { t: "migrate"; reason: string; within_s: number }
  | { t: "renewed"; expires_at: string }
  | { t: "pong"; n: number }
  | {
      t: "problem";
      code: string;
      detail: string;
      re: string | null;
      client_id: string | null;
      retryable: boolean;
      retry_after_s: number | null;
    };

export type FrameOf<T extends ServerFrame["t"]> = Extract<ServerFrame, { t: T }>;

export type ClientFrame =
  | { t: "hello" }
  | { t: "resume"; cursors: Record<string, number>; missing: string[] }
  | { t: "post"; room: string; client_id: string; text: string; files?: string[] }
  | { t: "read"; room: string; seq: number }
  | { t: "typing"; room: string; on: boolean }
  | { t: "state"; state: "online" | "away" }
  | { t: "watch"; people: string[] }
  | { t: "renew"; access_token: string }
  | { t: "ping"; n: number };

export const CLOSE = { normal: 1000, going: 1012, token: 4001, badFrame: 4002, revoked: 4003, slow: 4008, busy: 4029 };

/** The region an id names: `usr_emea_01k…` rests in `emea`. */
export function regionOf(id: string): string {
  return id.split("_")[1] ?? "";
}
