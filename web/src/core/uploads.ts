/**
 * Files of one's own from the choice to the server: made, filled part by part, looked at after every doubt.
 *
 * Laws: at most one request a file is under way, and few files at once, only while connected; a part begins where the
 * server says that the last one ended; a lost connection costs at most one part; a file leaves only when its message
 * has it, or when its author lets it go.
 */
import { CHECK_AGAIN_MS, UPLOAD_TRIES_MAX, UPLOADS_AT_ONCE_MAX, UPLOADS_MAX } from "./limits";
import { backoffMs } from "./link";
import { type Chosen, type Command, type Env, quiet, type State, type Step, type Upload } from "./model";
import type { FileInfo, FileRef, Problem } from "./wire";

const PASSING = new Set(["throttled", "uploads_too_many", "unreachable"]);

export function attach(state: State, room: string, files: readonly Chosen[]): State {
  const fresh = files.slice(0, Math.max(0, UPLOADS_MAX - state.uploads.length)).map((file): Upload => ({
    ...file, room, post: null, state: "waiting", file: null, unsure: false, sent: 0, request: 0, code: null, tries: 0, due_ms: 0,
  }));
  return { ...state, uploads: [...state.uploads, ...fresh] };
}

/** The files of the message that is being written in a room. */
export function drafts(state: State, room: string): Upload[] {
  return state.uploads.filter((one) => one.room === room && one.post === null);
}

/** The files that a message waits for. */
export function awaited(state: State, client_id: string): Upload[] {
  return state.uploads.filter((one) => one.post === client_id);
}

export function progress(state: State, key: string, request: number, bytes: number): State {
  return change(state, key, (one) => (one.request === request && one.file !== null ? { ...one, sent: Math.min(one.size, one.file.received + bytes) } : one));
}

/** The server said how the file is. */
export function answered(state: State, key: string, request: number, file: FileInfo, env: Env): State {
  return change(state, key, (one) => {
    if (one.request !== request) return one;
    const next: Upload = { ...one, file, request: 0, unsure: false, sent: file.received, tries: 0, due_ms: 0, state: "waiting", code: null };
    const stuck = file.received >= one.size || (one.file !== null && !one.unsure && file.received <= one.file.received);
    switch (file.state) {
      case "ready":
        return { ...next, state: "ready", sent: one.size };
      case "refused":
        return { ...next, state: "failed", code: file.reason ?? "refused" };
      case "checking":
        return { ...next, unsure: true, due_ms: env.now_ms + CHECK_AGAIN_MS };
      case "uploading":
        return stuck ? { ...next, unsure: true, tries: one.tries + 1, due_ms: env.now_ms + backoffMs(one.tries + 1, env.chance) } : next;
    }
  });
}

/** A request failed: go on later if that may help, from the beginning if the server has forgotten the file. */
export function faulted(state: State, key: string, request: number, problem: Problem, env: Env): State {
  return change(state, key, (one) => {
    if (one.request !== request) return one;
    const next: Upload = { ...one, request: 0, unsure: one.file !== null, tries: one.tries + 1, state: "waiting", sent: one.file?.received ?? 0 };
    const failed: Upload = { ...next, state: "failed", code: problem.code };
    if (next.tries > UPLOAD_TRIES_MAX) return failed;
    if (problem.code === "part_out_of_order") return { ...next, due_ms: 0 };
    const wait_ms = problem.retry_after_s == null ? backoffMs(next.tries, env.chance) : Math.min(problem.retry_after_s * 1000, 60_000);
    if (one.file !== null && (problem.status === 404 || problem.status === 410)) return { ...next, file: null, unsure: false, sent: 0, due_ms: env.now_ms + wait_ms };
    return mayPass(problem) ? { ...next, due_ms: env.now_ms + wait_ms } : failed;
  });
}

function mayPass({ status, code, retryable }: Problem): boolean {
  return retryable === true || status === 0 || status === 429 || status >= 500 || PASSING.has(code);
}

/** After it failed: once more, from where it was; from the beginning if the server did not want it as it was. */
export function again(state: State, key: string): State {
  return change(state, key, (one) => {
    if (one.state !== "failed") return one;
    const file = one.file?.state === "refused" ? null : one.file;
    return { ...one, state: "waiting", file, unsure: file !== null, sent: file?.received ?? 0, code: null, tries: 0, due_ms: 0 };
  });
}

/** Its author lets a file go. */
export function cancel(state: State, key: string): Step {
  const one = state.uploads.find((upload) => upload.key === key);
  return one === undefined ? quiet(state) : letGo(state, [one], false);
}

export function letGo(state: State, some: readonly Upload[], done: boolean): Step {
  const commands = some.flatMap((one): Command[] => [
    ...(one.request === 0 ? [] : [{ t: "file_stop" as const, key: one.key }]),
    { t: "file_let_go", key: one.key, file: one.file, done },
  ]);
  return { state: { ...state, uploads: state.uploads.filter((one) => !some.includes(one)) }, commands };
}

/** What must follow any step: pause when the connection was lost, go on when there is one. */
export function follow(before: State, state: State, env: Env): Step {
  if (state.uploads.length === 0) return quiet(state);
  if (state.link.phase === "live") return flush(state, env);
  return before.link.phase === "live" ? pause(state) : quiet(state);
}

function pause(state: State): Step {
  const stopped = state.uploads.filter((one) => one.request !== 0);
  const uploads = state.uploads.map((one): Upload =>
    one.request === 0 ? one : { ...one, state: "waiting", request: 0, unsure: one.file !== null, sent: one.file?.received ?? 0, due_ms: 0 });
  return { state: { ...state, uploads }, commands: stopped.map(({ key }) => ({ t: "file_stop", key })) };
}

/** Begins what is due, the eldest first. */
function flush(state: State, env: Env): Step {
  let busy = state.uploads.filter((one) => one.request !== 0).length;
  let serial = state.upload_serial;
  const commands: Command[] = [];
  const uploads = state.uploads.map((one): Upload => {
    if (one.state !== "waiting" || env.now_ms < one.due_ms || busy >= UPLOADS_AT_ONCE_MAX) return one;
    busy += 1;
    serial += 1;
    commands.push(next(one, serial));
    return { ...one, state: "busy", request: serial };
  });
  return commands.length === 0 ? quiet(state) : { state: { ...state, uploads, upload_serial: serial }, commands };
}

function next({ key, file, unsure, name, size }: Upload, request: number): Command {
  if (file === null) return { t: "file_make", key, request, name, size };
  if (unsure) return { t: "file_look", key, request, file: file.id };
  return { t: "file_part", key, request, file: file.id, from: file.received, to: Math.min(size, file.received + file.part_bytes), total: size };
}

/** The file as its message will carry it. */
export function refOf({ id, name, type, size, width, height, thumbnail }: FileInfo): FileRef {
  return { id, name, type, size, width: width ?? null, height: height ?? null, thumbnail: thumbnail ?? false };
}

function change(state: State, key: string, how: (one: Upload) => Upload): State {
  const at = state.uploads.findIndex((one) => one.key === key);
  const one = state.uploads[at];
  if (one === undefined) return state;
  const next = how(one);
  return next === one ? state : { ...state, uploads: state.uploads.with(at, next) };
}

/** What waits for its turn only is begun by the step that ends another. */
export function dueMs(state: State): number[] {
  const busy = state.uploads.filter((one) => one.request !== 0).length;
  if (state.link.phase !== "live" || busy >= UPLOADS_AT_ONCE_MAX) return [];
  return state.uploads.filter((one) => one.state === "waiting").map((one) => one.due_ms);
}
