/** Files on their way up: keeps their bytes and does what the core asks for; it decides nothing. */
import type { Chosen, Command, Input } from "../core/model";
import type { FileInfo } from "../core/wire";
import type { Api } from "./api";
import { ApiError } from "./fault";
import { isShown, picturePath, type Pictures } from "./pictures";

interface Held {
  readonly blob: File;
  stop: AbortController | null; // of the request under way
  url: string | null; // for showing it before it is there
}

export type FileCommand = Extract<Command, { t: "file_make" | "file_part" | "file_look" | "file_stop" | "file_let_go" }>;

export class Uploader {
  private readonly held = new Map<string, Held>();

  constructor(
    private readonly api: Api,
    private readonly pictures: Pictures,
    private readonly tell: (input: Input) => void,
  ) {}

  /** Takes a file in and gives what the core should know of it. */
  hold(blob: File): Chosen {
    const key = crypto.randomUUID();
    this.held.set(key, { blob, stop: null, url: null });
    return { key, name: blob.name, size: blob.size, type: blob.type };
  }

  /** An address for showing a picture that is here and perhaps not yet there. */
  preview(key: string): string | null {
    const held = this.held.get(key);
    if (held === undefined || !isShown(held.blob.type)) return null;
    return (held.url ??= URL.createObjectURL(held.blob));
  }

  run(command: FileCommand): void {
    switch (command.t) {
      case "file_make":
        this.ask(command, () => this.api.makeFile(command.key, command.name, command.size));
        return;
      case "file_look":
        this.ask(command, () => this.api.file(command.file));
        return;
      case "file_part":
        this.ask(command, (held, signal) => this.api.putPart(command.file, command, held.blob.slice(command.from, command.to), signal, (bytes) =>
          this.tell({ t: "upload_progress", key: command.key, request: command.request, bytes })));
        return;
      case "file_stop":
        this.held.get(command.key)?.stop?.abort();
        return;
      case "file_let_go":
        this.letGo(command);
    }
  }

  stop(): void {
    for (const key of [...this.held.keys()]) this.release(key);
  }

  private ask({ key, request }: { key: string; request: number }, work: (held: Held, signal: AbortSignal) => Promise<FileInfo>): void {
    const held = this.held.get(key);
    if (held === undefined) return;
    held.stop = new AbortController();
    work(held, held.stop.signal).then(
      (file) => this.tell({ t: "upload_answer", key, request, file }),
      (error: unknown) => {
        if (!(error instanceof ApiError)) throw error;
        this.tell({ t: "upload_fault", key, request, problem: error.problem });
      },
    );
  }

  /** One's own picture need not be fetched to be shown. */
  private letGo({ key, file, done }: Extract<Command, { t: "file_let_go" }>): void {
    const blob = this.held.get(key)?.blob;
    this.release(key);
    if (file === null) return;
    if (!done) this.api.deleteFile(file.id).catch(() => undefined); // unfinished ones are forgotten there by themselves
    else if (blob !== undefined && isShown(file.type)) this.pictures.put(picturePath(file), blob);
  }

  private release(key: string): void {
    const held = this.held.get(key);
    this.held.delete(key);
    held?.stop?.abort();
    if (held?.url != null) URL.revokeObjectURL(held.url);
  }
}
