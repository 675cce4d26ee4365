/** What changed lately, the newest first. */
import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import type { OperatorApi } from "../../shell/operator";
import { changeWords, moment } from "./say";

const FIRST = 6;
const AGAIN_MS = 4_000;

export function History({ api }: { api: OperatorApi }) {
  const [all, setAll] = useState(false);
  const { data, dataUpdatedAt } = useQuery({ queryKey: ["operator", "history"], queryFn: api.history, refetchInterval: AGAIN_MS, staleTime: 0 });
  const changes = data?.changes ?? [];
  return (
    <section className="operator-part" aria-labelledby="operator-history">
      <h2 id="operator-history">History</h2>
      {changes.length === 0 && <p className="operator-note">Nothing has changed since this director began.</p>}
      <ol className="operator-history">
        {(all ? changes : changes.slice(0, FIRST)).map((change) => (
          <li key={change.number}>
            <time dateTime={change.at}>{moment(change.at, dataUpdatedAt)}</time>
            <div>
              {changeWords(change.words).map((words) => <p key={words}>{words}</p>)}
              <small>snapshot {change.number}, {change.digest}</small>
            </div>
          </li>
        ))}
      </ol>
      {changes.length > FIRST && <Button variant="subtle" size="compact-sm" onClick={() => setAll(!all)}>{all ? "Show the latest only" : `Show all ${changes.length} changes`}</Button>}
    </section>
  );
}
