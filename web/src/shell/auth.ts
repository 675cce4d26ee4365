/**
 * Who is signed in.  The access token lives in memory only; the refresh token rotates in local storage, one tab at a
 * time (Web Locks), so that tabs hand it on to each other instead of using it twice.
 */
import type { Person, Session } from "../core/wire";
import { refresh, signIn } from "./api";
import { ApiError } from "./fault";
import { forgetSession, onForgotten, readSession, writeSession } from "./storage";

const RENEW_AT = 0.8; // of a token's life
const MARGIN_MS = 15_000; // a token with less than this left is not used any more
const RETRY_MS = 5_000;

export type Ending = "signed_out" | "expired" | "revoked";
export type AuthState = { readonly person: Person; readonly ending: null } | { readonly person: null; readonly ending: Ending | null };

interface Access {
  readonly token: string;
  readonly until_ms: number;
}

export class Auth {
  state: AuthState;
  private access: Access | null = null;
  private refreshing: Promise<string> | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<() => void>();
  private readonly renewals = new Set<(token: string) => void>();

  constructor() {
    const kept = readSession();
    this.state = kept === null ? { person: null, ending: null } : { person: kept.person, ending: null };
    onForgotten(() => this.end("signed_out"));
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Calls back with each new access token, for the socket that must outlive the old one. */
  onRenewed(callback: (token: string) => void): () => void {
    this.renewals.add(callback);
    return () => this.renewals.delete(callback);
  }

  async signIn(login: string, password: string): Promise<void> {
    this.accept(await signIn(login, password));
  }

  /** A valid access token.  Throws `ApiError`; with status 401 the session has ended and so has this object's. */
  async token(fresh = false): Promise<string> {
    if (!fresh && this.access !== null && this.access.until_ms - Date.now() > MARGIN_MS) return this.access.token;
    this.refreshing ??= this.exclusively(() => this.renew()).finally(() => {
      this.refreshing = null;
    });
    return this.refreshing;
  }

  end(ending: Ending): void {
    if (this.state.person === null) return;
    clearTimeout(this.timer);
    forgetSession();
    this.access = null;
    this.set({ person: null, ending });
  }

  private exclusively(work: () => Promise<string>): Promise<string> {
    return "locks" in navigator ? navigator.locks.request("moonbow.refresh", work) : work();
  }

  private async renew(): Promise<string> {
    const kept = readSession();
    if (kept === null) {
      this.end("expired");
      throw new ApiError({ status: 401, code: "signed_out", title: "Signed out", detail: "This session has ended." });
    }
    try {
      return this.accept(await refresh(kept.refresh_token));
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.end("expired");
      throw error;
    }
  }

  private accept(session: Session): string {
    writeSession({ refresh_token: session.refresh_token, person: session.person });
    this.access = { token: session.access_token, until_ms: Date.now() + session.expires_in_s * 1000 };
    this.plan(session.expires_in_s * RENEW_AT * 1000);
    if (this.state.person?.id !== session.person.id || this.state.person.name !== session.person.name) {
      this.set({ person: session.person, ending: null });
    }
    for (const callback of this.renewals) callback(session.access_token);
    return session.access_token;
  }

  private plan(wait_ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.token(true).catch(() => {
        if (this.state.person !== null) this.plan(RETRY_MS);
      });
    }, wait_ms);
  }

  private set(state: AuthState): void {
    this.state = state;
    for (const listener of this.listeners) listener();
  }
}
