/** The inside: one client for one signed-in person, and what every view of it needs. */
import "../styles/inside.css";

import { keepPreviousData, QueryClient, QueryClientProvider, useQuery } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";

import type { Person } from "../core/wire";
import { bootstrap } from "../shell/api";
import type { Auth } from "../shell/auth";
import { Client } from "../shell/client";
import { useEverybody } from "./everybody";
import { Frame } from "./Frame";
import { ClientContext, useClient, useCore, WorldContext } from "./hooks";
import { ToastProvider } from "./Toast";

export default function Inside({ auth, me }: { auth: Auth; me: Person }) {
  const [client] = useState(() => new Client(auth, me.id));
  const [queries] = useState(() => new QueryClient({ defaultOptions: { queries: { staleTime: 60_000, retry: 2, refetchOnWindowFocus: false } } }));

  useEffect(() => {
    client.start();
    client.do({ t: "people", people: [me] });
    return () => client.stop();
  }, [client, me]);

  return (
    <QueryClientProvider client={queries}>
      <ClientContext value={client}>
        <World>
          <ToastProvider>
            <Frame me={me} />
          </ToastProvider>
        </World>
      </ClientContext>
    </QueryClientProvider>
  );
}

const WORLD_AGAIN_MS = 5 * 60_000;

/** The world's regions and doors, and who is who: asked for at the start, at every landing, and now and then. */
function World({ children }: { children: ReactNode }) {
  const client = useClient();
  const site = useCore((state) => state.link.place?.site ?? null);
  const { data } = useQuery({ queryKey: ["world", site], queryFn: bootstrap, placeholderData: keepPreviousData, refetchInterval: WORLD_AGAIN_MS });
  useEverybody();
  useEffect(() => client.knowDoors((data?.doors ?? []).map((door) => door.url)), [client, data]);
  return <WorldContext value={data ?? null}>{children}</WorldContext>;
}
