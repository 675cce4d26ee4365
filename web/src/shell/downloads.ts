/** Files on their way to the person's own disk; they go on when nobody looks at their card any more. */
import type { FileRef } from "../core/wire";
import type { Api } from "./api";
import { ApiError } from "./fault";
import { contentPath } from "./pictures";
import { Received, saveAs } from "./transfer";

const AT_ONCE_MAX = 5;
const TRIES_MAX = 6; // in a row without a byte; each goes on where the last one ended
const AGAIN_MS = 500; // doubling

export interface Download {
  readonly file: FileRef;
  readonly bytes: number;
  readonly stop: AbortController;
}

export class Downloads {
  /** Those under way, by file. */
  running: ReadonlyMap<string, Download> = new Map();
  private readonly listeners = new Set<() => void>();

  constructor(private readonly api: Api) {}

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Gets a file and hands it over.  Throws `ApiError`; nothing happens when it is let go, or is under way already. */
  async start(file: FileRef): Promise<void> {
    if (this.running.has(file.id)) return;
    if (this.running.size >= AT_ONCE_MAX) throw new ApiError({ status: 0, code: "downloads_too_many", title: "Too many downloads", detail: "too many downloads are under way" });
    const stop = new AbortController();
    const set = (bytes: number) => this.set(new Map(this.running).set(file.id, { file, bytes, stop }));
    set(0);
    try {
      const blob = await this.whole(file.id, stop.signal, set);
      if (!stop.signal.aborted) saveAs(blob, file.name);
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    } finally {
      this.set(new Map([...this.running].filter(([id]) => id !== file.id)));
    }
  }

  letGo(file: string): void {
    this.running.get(file)?.stop.abort();
  }

  stop(): void {
    for (const { stop } of this.running.values()) stop.abort();
  }

  private async whole(file: string, signal: AbortSignal, set: (bytes: number) => void): Promise<Blob> {
    const received = new Received();
    for (let tries = 0; ; tries += 1) {
      const before = received.bytes;
      try {
        await this.api.bytes(contentPath(file), received, signal, set);
        return received.blob();
      } catch (error) {
        if (!(error instanceof ApiError) || !error.passing || error.code === "file_held" || signal.aborted) throw error;
        if (received.bytes > before) tries = 0;
        if (tries >= TRIES_MAX) throw error;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS * 2 ** tries));
      }
    }
  }

  private set(running: ReadonlyMap<string, Download>): void {
    this.running = running;
    for (const listener of this.listeners) listener();
  }
}
