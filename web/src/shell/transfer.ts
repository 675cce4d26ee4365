/** Bytes of files on their way up and down: how far they are is told, and silence is a fault, not slowness. */
import type { FileInfo } from "../core/wire";
import { ApiError, problemOf, UNREACHABLE } from "./fault";

const SILENCE_MS = 20_000; // without a single byte

export interface Span {
  readonly from: number; // first byte
  readonly to: number; // one beyond the last
  readonly total: number;
}

/** Calls `onSilence` when `alive` was not called for long. */
function watchdog(onSilence: () => void): { alive: () => void; end: () => void } {
  let timer = setTimeout(onSilence, SILENCE_MS);
  return {
    alive: () => {
      clearTimeout(timer);
      timer = setTimeout(onSilence, SILENCE_MS);
    },
    end: () => clearTimeout(timer),
  };
}

/** Puts one part of a file; the browser tells how much of it has left only through this older way of asking. */
export function sendPart(path: string, token: string, span: Span, part: Blob, signal: AbortSignal, onBytes: (bytes: number) => void): Promise<FileInfo> {
  const request = new XMLHttpRequest();
  const dog = watchdog(() => request.abort());
  const stop = () => request.abort();
  return new Promise<FileInfo>((resolve, reject) => {
    const fail = () => reject(new ApiError(UNREACHABLE));
    request.open("PUT", path);
    request.setRequestHeader("Authorization", `Bearer ${token}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("Content-Range", `bytes ${span.from}-${span.to - 1}/${span.total}`);
    request.upload.onprogress = ({ loaded }) => {
      dog.alive();
      onBytes(loaded);
    };
    request.onload = () => {
      if (request.status < 200 || request.status > 299) reject(new ApiError(problemOf(request.status, request.responseText)));
      else resolve(JSON.parse(request.responseText) as FileInfo);
    };
    request.onerror = request.onabort = request.ontimeout = fail;
    signal.addEventListener("abort", stop);
    if (signal.aborted) fail();
    else request.send(part);
  }).finally(() => {
    dog.end();
    signal.removeEventListener("abort", stop);
  });
}

/** What has come of a file so far. */
export class Received {
  private chunks: Uint8Array<ArrayBuffer>[] = [];
  private type = "";
  bytes = 0;

  /** An answer begins: with what is lacking (status 206), or from the beginning. */
  begin(answer: Response): void {
    if (answer.status === 206) return;
    this.chunks = [];
    this.bytes = 0;
    this.type = answer.headers.get("Content-Type") ?? "";
  }

  add(chunk: Uint8Array<ArrayBuffer>): void {
    this.chunks.push(chunk);
    this.bytes += chunk.length;
  }

  blob(): Blob {
    return new Blob(this.chunks, { type: this.type });
  }
}

/** Gets what is lacking of a file's bytes.  `onBytes` hears how many have come. */
export async function fetchBytes(path: string, token: string, into: Received, signal: AbortSignal, onBytes?: (bytes: number) => void): Promise<void> {
  const silence = new AbortController();
  const dog = watchdog(() => silence.abort());
  try {
    const rest: Record<string, string> = into.bytes > 0 ? { Range: `bytes=${into.bytes}-` } : {};
    const answer = await fetch(path, { headers: { Authorization: `Bearer ${token}`, ...rest }, signal: AbortSignal.any([signal, silence.signal]), cache: "no-store" });
    if (!answer.ok) throw new ApiError(problemOf(answer.status, await answer.text()));
    into.begin(answer);
    const reader = answer.body?.getReader();
    for (let read = await reader?.read(); read?.done === false; read = await reader?.read()) {
      dog.alive();
      into.add(read.value);
      onBytes?.(into.bytes);
    }
  } catch (error) {
    throw error instanceof ApiError ? error : new ApiError(UNREACHABLE);
  } finally {
    dog.end();
  }
}

/** Hands bytes to the person as a file of this name. */
export function saveAs(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser reads it a little later
}
