/** The REST face of the server: one function that asks, with a time limit. */
import type {
  Bootstrap, FileInfo, Files, Me, Member, Page, People, Presence, Room, Session, WishedState,
} from "../core/wire";
import { ApiError, problemOf, UNREACHABLE } from "./fault";
import { fetchBytes, type Received, sendPart, type Span } from "./transfer";

const TIMEOUT_MS = 10_000;
const AGAIN_AFTER_MS = 300;

interface Request {
  method?: string;
  body?: unknown;
  token?: string | undefined;
}

async function once(path: string, { method = "GET", body, token }: Request): Promise<unknown> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token !== undefined) headers["Authorization"] = `Bearer ${token}`;
  let answer: Response;
  let text: string;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? null : JSON.stringify(body), signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" });
    text = await answer.text();
  } catch {
    throw new ApiError(UNREACHABLE);
  }
  if (answer.ok) return text === "" ? null : JSON.parse(text);
  throw new ApiError(problemOf(answer.status, text));
}

/** Asks; reading is asked a second time if the first failed in passing, because doors come and go. */
export async function ask(path: string, request: Request = {}): Promise<unknown> {
  try {
    return await once(path, request);
  } catch (error) {
    const reading = (request.method ?? "GET") === "GET";
    if (!(error instanceof ApiError) || !error.passing || !reading) throw error;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER_MS));
    return once(path, request);
  }
}

export const signIn = (login: string, password: string) =>
  ask("/v1/sessions", { method: "POST", body: { login, password } }) as Promise<Session>;

export const refresh = (refresh_token: string) =>
  ask("/v1/sessions/refresh", { method: "POST", body: { refresh_token } }) as Promise<Session>;

export const bootstrap = () => ask("/v1/bootstrap") as Promise<Bootstrap>;

/** What a signed-in person can ask for.  `token` gives a valid access token, a fresh one when told so. */
export class Api {
  constructor(private readonly token: (fresh: boolean) => Promise<string>) {}

  /** Asks as this person. */
  async ask(path: string, request: Request = {}): Promise<unknown> {
    return this.signed((token) => ask(path, { ...request, token }));
  }

  private async signed<T>(work: (token: string) => Promise<T>): Promise<T> {
    try {
      return await work(await this.token(false));
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      return work(await this.token(true));
    }
  }

  me = () => this.ask("/v1/me") as Promise<Me>;
  setPresence = (state: WishedState, text: string) => this.ask("/v1/me/presence", { method: "PUT", body: { state, text } });
  people = (q: string, cursor: string | null) =>
    this.ask(`/v1/people?limit=100&q=${encodeURIComponent(q)}${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`) as Promise<People>;
  presence = (ids: readonly string[]) => this.ask(`/v1/presence?ids=${ids.join(",")}`) as Promise<{ people: Presence[] }>;
  room = (id: string) => this.ask(`/v1/rooms/${id}`) as Promise<Room>;
  createRoom = (body: { kind: "group" | "direct"; title?: string; members: string[] }) =>
    this.ask("/v1/rooms", { method: "POST", body }) as Promise<Room>;
  members = (id: string) => this.ask(`/v1/rooms/${id}/members`) as Promise<{ members: Member[] }>;
  invite = (id: string, person: string) => this.ask(`/v1/rooms/${id}/members/${person}`, { method: "PUT" });
  remove = (id: string, person: string) => this.ask(`/v1/rooms/${id}/members/${person}`, { method: "DELETE" });
  page = (id: string, before: number, limit: number) => this.ask(`/v1/rooms/${id}/entries?before=${before}&limit=${limit}`) as Promise<Page>;
  redact = (id: string, entry: string) => this.ask(`/v1/rooms/${id}/entries/${entry}`, { method: "DELETE" });
  setTitle = (id: string, client_id: string, title: string) =>
    this.ask(`/v1/rooms/${id}/title`, { method: "PUT", body: { client_id, title } });
  makeFile = (client_id: string, name: string, size: number) => this.ask("/v1/files", { method: "POST", body: { client_id, name, size } }) as Promise<FileInfo>;
  file = (id: string) => this.ask(`/v1/files/${encodeURIComponent(id)}`) as Promise<FileInfo>;
  putPart = (id: string, span: Span, part: Blob, signal: AbortSignal, onBytes: (bytes: number) => void) =>
    this.signed((token) => sendPart(`/v1/files/${encodeURIComponent(id)}/content`, token, span, part, signal, onBytes));
  bytes = (path: string, into: Received, signal: AbortSignal, onBytes?: (bytes: number) => void) => this.signed((token) => fetchBytes(path, token, into, signal, onBytes));
  files = (before: string | null, limit: number) => this.ask(`/v1/files?limit=${limit}${before === null ? "" : `&before=${encodeURIComponent(before)}`}`) as Promise<Files>;
  deleteFile = (id: string) => this.ask(`/v1/files/${encodeURIComponent(id)}`, { method: "DELETE" });
  setAvatar = (file: string | null) => this.ask("/v1/me/avatar", { method: "PUT", body: { file } }) as Promise<{ avatar: string | null }>;
  signOut = () => this.ask("/v1/sessions/current", { method: "DELETE" });
  signOutEverywhere = () => this.ask("/v1/sessions", { method: "DELETE" });
}
