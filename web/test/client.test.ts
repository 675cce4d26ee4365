// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Auth } from "../src/shell/auth";
import { Client } from "../src/shell/client";
import { readPending, writeSession } from "../src/shell/storage";
import { ack, ME, room, ROOM, welcome } from "./playbook";

/** The browser's socket, as far as the client uses it. */
class Socket {
  static made: Socket[] = [];
  static readonly OPEN = 1;
  readyState = 1;
  sent: string[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    Socket.made.push(this);
  }

  send(text: string): void {
    this.sent.push(text);
  }

  close(): void {
    this.readyState = 3;
  }
}

const person = { id: ME, name: "Me", region: "emea", role: "member" as const, company: "" };
let refreshed = 0;

function answer(path: string): Response {
  if (path === "/v1/sessions/refresh") {
    refreshed += 1;
    return Response.json({ access_token: `access${refreshed}`, expires_in_s: 600, refresh_token: `refresh${refreshed}`, person });
  }
  return Response.json({ status: 404, code: "not_found" }, { status: 404 });
}

async function begin(): Promise<Client> {
  const client = new Client(new Auth(), ME);
  client.start();
  await vi.advanceTimersByTimeAsync(1);
  return client;
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", Socket);
  vi.stubGlobal("fetch", (path: string) => Promise.resolve(answer(path)));
  Socket.made = [];
  refreshed = 0;
  localStorage.clear();
  writeSession({ refresh_token: "refresh0", person });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("the shell", () => {
  it("opens a socket with its token last, and rotates the refresh token", async () => {
    await begin();
    expect(Socket.made.map((one) => one.protocols)).toEqual([["moonbow.v1", "moonbow.jwt.access1"]]);
    expect(localStorage.getItem("moonbow.session")).toContain("refresh1");
    expect(Object.keys(localStorage).map((key) => localStorage.getItem(key)).join()).not.toContain("access1");
  });

  it("comes back even when a timer fires before its time", async () => {
    await begin();
    Socket.made[0]?.onclose?.({ code: 1006 });
    vi.setSystemTime(Date.now() - 60); // the clock was put back: the next tick finds nothing due yet
    await vi.advanceTimersByTimeAsync(400);
    expect(Socket.made).toHaveLength(2);
  });

  it("renews its token before it ends, and tells the open socket", async () => {
    const client = await begin();
    const [socket] = Socket.made;
    socket?.onopen?.();
    socket?.onmessage?.({ data: JSON.stringify(welcome([room(ROOM)])) });
    for (let i = 0; i < 490; i += 1) {
      await vi.advanceTimersByTimeAsync(1_000);
      socket?.onmessage?.({ data: JSON.stringify({ t: "pong", n: i }) });
    }
    expect(refreshed).toBe(2);
    expect(socket?.sent.filter((text) => text.includes("renew"))).toEqual(['{"t":"renew","access_token":"access2"}']);
    expect(Socket.made).toHaveLength(1);
    client.stop();
  });

  it("keeps a message in this browser until it has its place", async () => {
    const client = await begin();
    client.do({ t: "post", room: ROOM, client_id: "c1", text: "hello" });
    expect(readPending(ME).map((item) => item.client_id)).toEqual(["c1"]);
    client.stop();
    const next = await begin();
    const socket = Socket.made.at(-1);
    socket?.onopen?.();
    socket?.onmessage?.({ data: JSON.stringify(welcome([room(ROOM, { head: 4 })])) });
    expect(socket?.sent.some((text) => text.includes('"client_id":"c1"'))).toBe(true);
    socket?.onmessage?.({ data: JSON.stringify(ack("c1", { id: "ent_emea_1", seq: 4 })) });
    expect(readPending(ME)).toEqual([]);
    next.stop();
  });
});
