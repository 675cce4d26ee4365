/** Files on their way to the person's own disk; they go on when nobody looks at their card any more. */
import type { FileRef } from "../core/wire";
import type { Api } from "./api";
import { ApiError } from "./fault";
import { contentPath } from "./pictures";
import { saveAs } from "./transfer";

const AT_ONCE_MAX = 5;

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
      const blob = await this.api.blob(contentPath(file.id), stop.signal, set);
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

  private set(running: ReadonlyMap<string, Download>): void {
    this.running = running;
    for (const listener of this.listeners) listener();
  }
}
