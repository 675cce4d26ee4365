/** The inside: one client for one signed-in person, and what every view of it needs. */
import "../styles/inside.css";

import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { useEffect, useState } from "react";

import type { Bootstrap, Person } from "../core/wire";
import { bootstrap } from "../shell/api";
import type { Auth } from "../shell/auth";
import { Client } from "../shell/client";
import { ClientContext, WorldContext } from "./hooks";
import { Frame } from "./Frame";
import { ToastProvider } from "./Toast";

export default function Inside({ auth, me }: { auth: Auth; me: Person }) {
  const [client] = useState(() => new Client(auth, me.id));
  const [queries] = useState(() => new QueryClient({ defaultOptions: { queries: { staleTime: 60_000, retry: 2, refetchOnWindowFocus: false } } }));
  const [world, setWorld] = useState<Bootstrap | null>(null);

  useEffect(() => {
    client.start();
    client.do({ t: "people", people: [me] });
    return () => client.stop();
  }, [client, me]);

  useEffect(() => learnWorld(client, setWorld), [client]);
  useEffect(() => {
    void learnPeople(client);
  }, [client]);

  return (
    <QueryClientProvider client={queries}>
      <ClientContext value={client}>
        <WorldContext value={world}>
          <ToastProvider>
            <Frame me={me} />
          </ToastProvider>
        </WorldContext>
      </ClientContext>
    </QueryClientProvider>
  );
}

/** Reads the world's regions and doors at the start, and again every few minutes: doors come and go. */
function learnWorld(client: Client, learned: (world: Bootstrap) => void): () => void {
  const ask = () =>
    bootstrap().then(
      (world) => {
        learned(world);
        client.knowDoors(world.doors.map((door) => door.url));
      },
      () => undefined, // what is known stays
    );
  void ask();
  const timer = setInterval(() => void ask(), 5 * 60_000);
  return () => clearInterval(timer);
}

const PEOPLE_PAGES_MAX = 10;

/** Learns the names of colleagues, for rows carry only ids.  Kept in memory: names of other regions must not rest here. */
async function learnPeople(client: Client): Promise<void> {
  let cursor: string | null = null;
  for (let page = 0; page < PEOPLE_PAGES_MAX; page += 1) {
    try {
      const { people, next } = await client.api.people("", cursor);
      client.do({ t: "people", people });
      if (next === null) return;
      cursor = next;
    } catch {
      return; // names come with each room's members, too
    }
  }
}
