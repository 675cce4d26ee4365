/**
 * Pictures shown from memory: fetched with the token of whoever looks, few at a time, kept while they are shown and a
 * little longer, the least lately shown let go first.  Nothing of this rests on the device.
 */
import type { FileRef, Problem } from "../core/wire";
import { ApiError } from "./fault";

const BYTES_MAX = 64 * 1_048_576; // of pictures that nobody looks at now
const FETCHES_MAX = 6;
const AGAIN_MS = 20_000; // a picture on the screen that could not be had is asked for again
const SHOWN = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp"]);
const WHOLE_BYTES_MAX = 4 * 1_048_576; // a picture without a small form is shown in the timeline up to this size

export interface Picture {
  readonly url: string | null;
  readonly problem: Problem | null; // why it cannot be had
}

interface Entry {
  picture: Picture;
  readonly path: string;
  bytes: number;
  holders: number;
  stop: AbortController | null; // of the fetch under way
  timer: ReturnType<typeof setTimeout> | undefined;
}

const GONE: Problem = { status: 410, code: "file_gone", title: "Gone", detail: "" };
const NOT_YET: Picture = { url: null, problem: null };

/** Can browsers show it, without running anything? */
export const isShown = (type: string) => SHOWN.has(type);

/** Is it shown as a picture among messages, rather than as a card? */
export const isPicture = ({ type, size, width, height, thumbnail }: FileRef) =>
  isShown(type) && width != null && height != null && (thumbnail === true || size <= WHOLE_BYTES_MAX);

export const contentPath = (file: string) => `/v1/files/${encodeURIComponent(file)}/content`;
export const picturePath = ({ id, thumbnail }: FileRef) => `${contentPath(id)}${thumbnail === true ? "?size=small" : ""}`;
export const avatarPath = (person: string, version: string) => `/v1/avatars/${person}?v=${encodeURIComponent(version)}`;

export class Pictures {
  private readonly entries = new Map<string, Entry>(); // the least lately shown first
  private readonly waiting = new Set<Entry>();
  private readonly listeners = new Set<() => void>();
  private fetching = 0;

  constructor(
    private readonly fetchBlob: (path: string, signal: AbortSignal) => Promise<Blob>,
    private readonly bytes_max = BYTES_MAX,
  ) {}

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** What is known of a picture; the same value until that changes. */
  get(path: string): Picture {
    return this.entries.get(path)?.picture ?? NOT_YET;
  }

  /** Wants a picture shown until the function that is given back is called. */
  hold(path: string): () => void {
    const entry = this.entries.get(path) ?? { picture: NOT_YET, path, bytes: 0, holders: 0, stop: null, timer: undefined };
    this.entries.delete(path);
    this.entries.set(path, entry);
    entry.holders += 1;
    if (entry.picture.url === null && entry.stop === null && entry.timer === undefined) this.wait(entry);
    return () => this.release(entry);
  }

  /** Asks at once for one that could not be had. */
  again(path: string): void {
    const entry = this.entries.get(path);
    if (entry === undefined || entry.stop !== null || entry.picture.url !== null) return;
    this.set(entry, NOT_YET);
    this.wait(entry);
  }

  /** A picture whose bytes are here already. */
  put(path: string, blob: Blob): void {
    if (this.entries.has(path)) return;
    const entry: Entry = { picture: NOT_YET, path, bytes: 0, holders: 0, stop: null, timer: undefined };
    this.entries.set(path, entry);
    this.accept(entry, blob);
  }

  /** Forgets what is kept of a file that is no longer there; who still looks is told so. */
  forget(file: string): void {
    for (const [path, entry] of [...this.entries]) {
      if (!path.startsWith(contentPath(file))) continue;
      this.drop(entry);
      if (entry.holders === 0) continue;
      this.entries.set(path, entry);
      this.set(entry, { url: null, problem: GONE });
    }
  }

  clear(): void {
    for (const entry of [...this.entries.values()]) this.drop(entry);
  }

  private wait(entry: Entry): void {
    clearTimeout(entry.timer);
    entry.timer = undefined;
    this.waiting.add(entry);
    this.pump();
  }

  private pump(): void {
    for (const entry of this.waiting) {
      if (this.fetching >= FETCHES_MAX) return;
      this.waiting.delete(entry);
      void this.fetch(entry);
    }
  }

  private async fetch(entry: Entry): Promise<void> {
    const stop = (entry.stop = new AbortController());
    this.fetching += 1;
    try {
      const blob = await this.fetchBlob(entry.path, stop.signal);
      if (!stop.signal.aborted) this.accept(entry, blob);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (!stop.signal.aborted) this.fail(entry, error);
    } finally {
      if (entry.stop === stop) entry.stop = null;
      this.fetching -= 1;
      this.pump();
    }
  }

  private accept(entry: Entry, blob: Blob): void {
    entry.bytes = blob.size;
    this.set(entry, { url: URL.createObjectURL(blob), problem: null });
    this.trim();
  }

  private fail(entry: Entry, error: ApiError): void {
    if (error.passing && entry.holders > 0) entry.timer = setTimeout(() => this.wait(entry), AGAIN_MS);
    this.set(entry, { url: null, problem: error.problem });
  }

  private release(entry: Entry): void {
    entry.holders -= 1;
    if (entry.holders > 0 || this.entries.get(entry.path) !== entry) return;
    if (entry.picture.url === null) this.drop(entry);
    else this.trim();
  }

  private trim(): void {
    const idle = [...this.entries.values()].filter((entry) => entry.holders === 0);
    let bytes = idle.reduce((sum, entry) => sum + entry.bytes, 0);
    for (const entry of idle) {
      if (bytes <= this.bytes_max) return;
      bytes -= entry.bytes;
      this.drop(entry);
    }
  }

  private drop(entry: Entry): void {
    clearTimeout(entry.timer);
    entry.timer = undefined;
    entry.stop?.abort();
    this.waiting.delete(entry);
    this.entries.delete(entry.path);
    if (entry.picture.url !== null) URL.revokeObjectURL(entry.picture.url);
    this.set(entry, NOT_YET);
  }

  private set(entry: Entry, picture: Picture): void {
    entry.picture = picture;
    for (const listener of this.listeners) listener();
  }
}
