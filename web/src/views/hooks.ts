/** What views share: the client, pieces of its state, the address in the page's hash, and a few facts of the device. */
import { createContext, useCallback, useContext, useEffect, useState, useSyncExternalStore } from "react";

import type { State } from "../core/model";
import type { Bootstrap } from "../core/wire";
import type { Client } from "../shell/client";
import { dayKey } from "./words";

export const ClientContext = createContext<Client | null>(null);
export const WorldContext = createContext<Bootstrap | null>(null);

export function useClient(): Client {
  const client = useContext(ClientContext);
  if (client === null) throw new Error("outside of the client");
  return client;
}

/** A piece of the core's state.  `select` must give the same value as long as nothing changed. */
export function useCore<T>(select: (state: State) => T): T {
  const client = useClient();
  return useSyncExternalStore(client.subscribe, () => select(client.state));
}

export type Route = { at: "home" } | { at: "operator" } | { at: "room"; room: string };

function subscribeHash(listener: () => void): () => void {
  window.addEventListener("hashchange", listener);
  return () => window.removeEventListener("hashchange", listener);
}

/** The page or the room that the address names. */
export function useRoute(): Route {
  const hash = useSyncExternalStore(subscribeHash, () => location.hash);
  if (hash === OPERATOR) return { at: "operator" };
  const room = /^#\/rooms\/([A-Za-z0-9_]+)$/.exec(hash)?.[1];
  return room === undefined ? { at: "home" } : { at: "room", room };
}

export const OPERATOR = "#/operator";
export const addressOf = (room: string) => `#/rooms/${room}`;

export function goTo(room: string | null): void {
  location.hash = room === null ? "#/" : addressOf(room);
}

/** Does a media query hold now? */
export function useMedia(query: string): boolean {
  const subscribe = useCallback(
    (listener: () => void) => {
      const list = matchMedia(query);
      list.addEventListener("change", listener);
      return () => list.removeEventListener("change", listener);
    },
    [query],
  );
  return useSyncExternalStore(subscribe, () => matchMedia(query).matches);
}

export const useNarrow = () => useMedia("(max-width: 47.99em)");
export const useWide = () => useMedia("(min-width: 75em)");

function everyMinute(listener: () => void): () => void {
  const timer = setInterval(listener, 60_000);
  return () => clearInterval(timer);
}

/** Today's key; changes at midnight. */
export const useToday = () => useSyncExternalStore(everyMinute, () => dayKey(Date.now()));

const SETTLED_MS = 10; // by then whoever wants the focus has it

/** When a dialog that is born open goes, the focus goes back where it was; Mantine's own return waits for one that opens. */
export function useFocusBack(): void {
  const [before] = useState(() => document.activeElement);
  useEffect(
    () => () => {
      setTimeout(() => {
        const lost = document.activeElement === null || document.activeElement === document.body;
        if (lost && before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
      }, SETTLED_MS);
    },
    [before],
  );
}
