/**
 * What outlives the page in this browser: the refresh token, and messages not yet placed.  See web/README.md for why.
 * Storage may be full or forbidden; then the client works on and forgets at reload.
 */
import type { Pending } from "../core/model";
import type { Person } from "../core/wire";

const SESSION = "moonbow.session";
const OUTBOX = "moonbow.outbox.";

export interface Kept {
  readonly refresh_token: string;
  readonly person: Person;
}

function attempt<T>(work: () => T, otherwise: T): T {
  try {
    return work();
  } catch {
    return otherwise;
  }
}

export function readSession(): Kept | null {
  return attempt(() => JSON.parse(localStorage.getItem(SESSION) ?? "null") as Kept | null, null);
}

export function writeSession(kept: Kept): void {
  attempt(() => localStorage.setItem(SESSION, JSON.stringify(kept)), undefined);
}

export function forgetSession(): void {
  attempt(() => localStorage.removeItem(SESSION), undefined);
}

/** Calls back when another tab of this browser signs out. */
export function onForgotten(callback: () => void): void {
  window.addEventListener("storage", (event) => {
    if (event.key === null || (event.key === SESSION && event.newValue === null)) callback();
  });
}

/** One key a message, so that tabs do not write over each other. */
export function keepPending(person: string, item: Pending): void {
  attempt(() => localStorage.setItem(`${OUTBOX}${person}.${item.client_id}`, JSON.stringify(item)), undefined);
}

export function forgetPending(person: string, client_id: string): void {
  attempt(() => localStorage.removeItem(`${OUTBOX}${person}.${client_id}`), undefined);
}

export function readPending(person: string): Pending[] {
  const prefix = `${OUTBOX}${person}.`;
  return attempt(() => Object.keys(localStorage).filter((key) => key.startsWith(prefix)), []).flatMap((key) =>
    attempt(() => [whole(JSON.parse(localStorage.getItem(key) ?? "") as Pending)], []),
  );
}

/** Earlier versions kept messages that knew nothing of files. */
function whole(item: Pending): Pending {
  return "files" in item ? item : { ...(item as Pending), files: [] };
}

export function forgetAllPending(person: string): void {
  for (const item of readPending(person)) forgetPending(person, item.client_id);
}

/** The colour scheme chosen on this device, where Mantine keeps it; null for the device's own. */
export function chosenScheme(): string | null {
  return attempt(() => localStorage.getItem("mantine-color-scheme-value"), null);
}
