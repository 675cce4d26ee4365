/** The REST face of the server: one function that asks, with a time limit, and one kind of error. */
import type {
  Bootstrap, Me, Member, Page, People, Presence, Problem, Room, Session, WishedState,
} from "../core/wire";

const TIMEOUT_MS = 10_000;
const AGAIN_AFTER_MS = 300;

/** The server refused, or could not be reached (`status` 0, code `unreachable`). */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail || problem.title || problem.code);
  }

  get code(): string {
    return this.problem.code;
  }

  get status(): number {
    return this.problem.status;
  }

  /** May the same request succeed a moment later? */
  get passing(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

const UNREACHABLE: Problem = { status: 0, code: "unreachable", title: "Unreachable", detail: "The server cannot be reached.", retryable: true };

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

function problemOf(status: number, text: string): Problem {
  const bare: Problem = { status, code: `http_${status}`, title: `HTTP ${status}`, detail: "" };
  try {
    return { ...bare, ...(JSON.parse(text) as Partial<Problem>) };
  } catch {
    return bare; // a door's own answer, not one of ours
  }
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
    try {
      return await ask(path, { ...request, token: await this.token(false) });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      return ask(path, { ...request, token: await this.token(true) });
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
  signOut = () => this.ask("/v1/sessions/current", { method: "DELETE" });
  signOutEverywhere = () => this.ask("/v1/sessions", { method: "DELETE" });
}
