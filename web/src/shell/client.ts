/** The shell around the core: sockets, timers, requests and storage; it decides nothing. */
import { blank, type Command, type Input, nextDueMs, type State, step } from "../core/core";
import { PAGE_ROWS } from "../core/limits";
import type { Row, ServerFrame } from "../core/wire";
import { Api } from "./api";
import type { Auth } from "./auth";
import { Downloads } from "./downloads";
import { ApiError } from "./fault";
import { Pictures } from "./pictures";
import { Received } from "./transfer";
import { Uploader } from "./uploader";
import { forgetAllPending, forgetPending, keepPending, readPending } from "./storage";

const TICK_MS_MIN = 20;
const FRAME_MS = 16; // the screen is told at most this often
const IDLE_AFTER_MS = 5 * 60_000;

export class Client {
  state: State;
  readonly api: Api;
  readonly pictures: Pictures;
  readonly uploader: Uploader;
  readonly downloads: Downloads;
  readonly drafts = new Map<string, string>(); // what is being written, by room
  private readonly sockets = new Map<number, WebSocket | null>(); // null: waiting for its token
  private readonly listeners = new Set<() => void>();
  private readonly hearers = new Set<(room: string, row: Row) => void>();
  private readonly undo: (() => void)[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private told: ReturnType<typeof setTimeout> | undefined;
  private idleTimer: ReturnType<typeof setTimeout> | undefined;
  private told_ms = 0;
  private doors: readonly string[] = [];

  constructor(
    private readonly auth: Auth,
    readonly me: string,
  ) {
    this.state = blank(me);
    this.api = new Api((fresh) => auth.token(fresh));
    this.pictures = new Pictures(async (path, signal) => {
      const received = new Received();
      await this.api.bytes(path, received, signal);
      return received.blob();
    });
    this.downloads = new Downloads(this.api);
    this.uploader = new Uploader(this.api, this.pictures, (input) => this.do(input));
  }

  start(): void {
    const wake = () => this.do({ t: "wake" });
    const seen = () => {
      if (document.visibilityState === "visible") wake();
      else this.do({ t: "leaving" });
    };
    this.listen(window, "online", wake);
    this.listen(document, "visibilitychange", seen);
    this.listen(window, "pagehide", () => this.do({ t: "leaving" }));
    for (const name of ["pointerdown", "keydown", "focus"]) this.listen(window, name, () => this.busy());
    this.undo.push(this.auth.onRenewed((token) => this.do({ t: "token", token })));
    this.do({ t: "restore", items: readPending(this.me) });
    this.do({ t: "start" });
    this.busy();
  }

  stop(): void {
    for (const undo of this.undo.splice(0)) undo();
    clearTimeout(this.idleTimer);
    this.do({ t: "stop" });
    this.uploader.stop();
    this.downloads.stop();
    this.pictures.clear();
    clearTimeout(this.timer);
  }

  /** Ends the session on purpose.  What was not sent is forgotten with it. */
  async signOut(everywhere: boolean): Promise<void> {
    await (everywhere ? this.api.signOutEverywhere() : this.api.signOut()).catch((error: unknown) => {
      if (everywhere) throw error; // must not seem done when it is not
    });
    forgetAllPending(this.me);
    this.auth.end("signed_out");
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Calls back with every message of somebody else that comes while connected. */
  onHeard(hearer: (room: string, row: Row) => void): () => void {
    this.hearers.add(hearer);
    return () => this.hearers.delete(hearer);
  }

  /** Further doors of the world, for when this page's own cannot be reached. */
  knowDoors(urls: readonly string[]): void {
    this.doors = urls.filter((url) => url.startsWith("https://"));
  }

  /** Files for the message that is being written in a room. */
  attach(room: string, files: readonly File[]): void {
    this.do({ t: "attach", room, files: files.map((file) => this.uploader.hold(file)) });
  }

  do(input: Input): void {
    const { state, commands } = step(this.state, input, { now_ms: Date.now(), chance: Math.random() });
    const changed = state !== this.state;
    this.state = state;
    for (const command of commands) this.run(command);
    this.plan();
    if (changed) this.tell();
  }

  /** Sets the clock for what is due next, after every step: a timer may fire a little early and find nothing due yet. */
  private plan(): void {
    clearTimeout(this.timer);
    const due_ms = nextDueMs(this.state);
    if (due_ms !== null) this.timer = setTimeout(() => this.do({ t: "tick" }), Math.max(TICK_MS_MIN, due_ms - Date.now()));
  }

  private run(command: Command): void {
    switch (command.t) {
      case "open":
        void this.open(command.socket, command.fresh_token, command.attempt);
        return;
      case "send": {
        const socket = this.sockets.get(command.socket);
        if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(command.frame));
        return;
      }
      case "close":
        this.drop(command.socket)?.close(command.code);
        return;
      case "explain":
        void this.explain();
        return;
      case "page":
        void this.page(command.room, command.request, command.before);
        return;
      case "refill":
        this.api.page(command.room, command.before, PAGE_ROWS).then(({ rows }) => this.do({ t: "refilled", room: command.room, rows }), ignore);
        return;
      case "fetch_room":
        this.api.room(command.room).then((room) => this.do({ t: "room", room }), ignore);
        return;
      case "file_make":
      case "file_part":
      case "file_look":
      case "file_stop":
      case "file_let_go":
        this.uploader.run(command);
        return;
      case "files_gone":
        for (const file of command.files) this.pictures.forget(file);
        return;
      case "keep":
        keepPending(this.me, command.item);
        return;
      case "forget":
        forgetPending(this.me, command.client_id);
        return;
      case "heard":
        for (const hearer of this.hearers) hearer(command.room, command.row);
        return;
      case "ended":
        this.auth.end(command.reason);
    }
  }

  private async open(number: number, fresh: boolean, attempt: number): Promise<void> {
    this.sockets.set(number, null);
    let token: string;
    try {
      token = await this.auth.token(fresh);
    } catch {
      if (this.drop(number) !== undefined) this.do({ t: "closed", socket: number, code: 1006 });
      return;
    }
    if (!this.sockets.has(number)) return; // given up meanwhile
    const socket = new WebSocket(this.door(attempt), ["moonbow.v1", `moonbow.jwt.${token}`]);
    this.sockets.set(number, socket);
    socket.onopen = () => this.do({ t: "opened", socket: number });
    socket.onmessage = (event: MessageEvent<string>) => this.do({ t: "frame", socket: number, frame: JSON.parse(event.data) as ServerFrame });
    socket.onclose = (event) => {
      if (this.drop(number) !== undefined) this.do({ t: "closed", socket: number, code: event.code });
    };
  }

  /** This page's own name first; after two failures in a row every second attempt tries a door of another name. */
  private door(attempt: number): string {
    const others = this.doors.filter((url) => new URL(url).hostname !== location.hostname);
    const other = attempt >= 2 && attempt % 2 === 0 ? others[(attempt / 2 - 1) % Math.max(1, others.length)] : undefined;
    return new URL("/v1/stream", other ?? location.origin).href.replace(/^http/, "ws");
  }

  /** Forgets a socket, so that nothing it says is heard any more; undefined if it was forgotten before. */
  private drop(number: number): WebSocket | null | undefined {
    const socket = this.sockets.get(number);
    this.sockets.delete(number);
    if (socket != null) socket.onopen = socket.onmessage = socket.onclose = null;
    return socket;
  }

  private async explain(): Promise<void> {
    try {
      await this.api.me();
      this.do({ t: "trouble", trouble: null });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const { code, region, since } = error.problem;
      this.do({ t: "trouble", trouble: { code, region: region ?? null, since: since ?? null } });
    }
  }

  private async page(room: string, request: number, before: number): Promise<void> {
    try {
      this.do({ t: "page", room, request, page: await this.api.page(room, before, PAGE_ROWS) });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.do({ t: "page_failed", room, request, code: error.code });
    }
  }

  /** Somebody is at this device. */
  private busy(): void {
    clearTimeout(this.idleTimer);
    this.do({ t: "idle", idle: false });
    this.idleTimer = setTimeout(() => this.do({ t: "idle", idle: true }), IDLE_AFTER_MS);
  }

  private listen(target: EventTarget, name: string, work: () => void): void {
    target.addEventListener(name, work);
    this.undo.push(() => target.removeEventListener(name, work));
  }

  /** Tells the screen, at once if it has had time to breathe, else a little later. */
  private tell(): void {
    if (this.told !== undefined) return;
    this.told = setTimeout(
      () => {
        this.told = undefined;
        this.told_ms = Date.now();
        for (const listener of this.listeners) listener();
      },
      Math.max(0, this.told_ms + FRAME_MS - Date.now()),
    );
  }
}

function ignore(): void {
  // Not ours, or not reachable now: the next snapshot tells, or the core asks again.
}
