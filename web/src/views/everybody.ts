/** Who is who: rows carry only ids, and pictures change. */
import { useQuery } from "@tanstack/react-query";

import type { People } from "../core/wire";
import type { Client } from "../shell/client";
import { useClient, useCore } from "./hooks";

const PEOPLE_PAGES_MAX = 10;
const PEOPLE_AGAIN_MS = 20_000; // while a region did not answer
const PEOPLE_FRESH_MS = 5 * 60_000;

/**
 * Learns the names of colleagues, for rows carry only ids; gives the regions that did not answer.  Kept in memory
 * only: names of other regions must not rest here.
 */
async function learnPeople(client: Client): Promise<Set<string>> {
  const silent = new Set<string>();
  let cursor: string | null = null;
  for (let page = 0; page < PEOPLE_PAGES_MAX; page += 1) {
    const { people, next, missing }: People = await client.api.people("", cursor);
    client.do({ t: "people", people });
    for (const region of missing) silent.add(region);
    if (next === null) break;
    cursor = next;
  }
  return silent;
}

/** Asks at every landing, while a region is silent, and when a room is opened after a while. */
export function useEverybody(): void {
  const client = useClient();
  const site = useCore((state) => state.link.place?.site ?? null);
  useQuery({
    queryKey: ["everybody", site],
    queryFn: () => learnPeople(client),
    enabled: site !== null,
    staleTime: PEOPLE_FRESH_MS,
    refetchInterval: ({ state }) => ((state.data?.size ?? 0) > 0 ? PEOPLE_AGAIN_MS : false),
  });
}
