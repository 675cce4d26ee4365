/** The operators' page: where the world's clients are sent now, why, and what would be if a site were down. */
import "../../styles/operator.css";

import { ActionIcon } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";

import { ApiError } from "../../shell/fault";
import { OperatorApi } from "../../shell/operator";
import { goTo, useClient } from "../hooks";
import { BackIcon } from "../icons";
import { faultWords } from "../Toast";
import { Explain } from "./Explain";
import { Flows } from "./Flows";
import { History } from "./History";
import { Orders } from "./Orders";
import { headline, moment } from "./say";
import { Sites } from "./Sites";
import { WhatIf } from "./WhatIf";
import { WorldMap } from "./WorldMap";

const AGAIN_MS = 4_000;

export default function Operator({ narrow }: { narrow: boolean }) {
  const client = useClient();
  const api = useMemo(() => new OperatorApi(client.api), [client]);
  const [down, setDown] = useState<readonly string[]>([]);
  const live = { refetchInterval: AGAIN_MS, placeholderData: keepPreviousData, staleTime: 0 };
  const status = useQuery({ queryKey: ["operator", "status"], queryFn: api.status, ...live });
  const flows = useQuery({ queryKey: ["operator", "flows"], queryFn: () => api.flows("door"), ...live });
  const supposed = useQuery({ queryKey: ["operator", "what-if", down], queryFn: () => api.simulate(down), enabled: down.length > 0, ...live });

  const what = down.length > 0 ? supposed.data : undefined;
  const shown = what?.flows ?? flows.data?.flows ?? [];
  const gone = useMemo(() => new Set(what === undefined ? [] : what.sites.filter((site) => !site.usable).map((site) => site.name)), [what]);
  const found = status.data;
  const said = found === undefined ? null : headline(found);
  return (
    <main className="operator">
      <header className="room-head operator-head">
        {narrow && <ActionIcon variant="subtle" size="lg" aria-label="Back to the rooms" onClick={() => goTo(null)}><BackIcon /></ActionIcon>}
        <div className="room-names">
          <h1>Where traffic goes</h1>
          {found !== undefined && (
            <p>Snapshot {found.snapshot} since {moment(found.changed_at, status.dataUpdatedAt)}, said by {found.site || "the director"}</p>
          )}
        </div>
        {said !== null && <p className="operator-state" role="status" data-well={said.well || undefined}>{said.words}</p>}
      </header>
      <div className="operator-body" aria-busy={status.isPending}>
        {status.error !== null && <Fault error={status.error} />}
        {found !== undefined && (
          <>
            <section className="operator-map" aria-label="World map">
              {down.length > 0 && <p className="operator-supposed" role="status"><strong>What if</strong> {down.join(" and ")} {down.length === 1 ? "were" : "were all"} down. Nothing of this is applied.</p>}
              <WorldMap sites={found.sites} flows={shown} down={gone} supposed={down.length > 0} label={`World map: ${found.sites.length} sites, and arrows from ${shown.length} groups of clients to the sites they ${down.length > 0 ? "would be" : "are"} sent to. The tables below say the same.`} />
              <Legend supposed={down.length > 0} />
            </section>
            <WhatIf sites={found.sites} down={down} onDown={setDown} outcome={what ?? null} fault={down.length > 0 ? supposed.error : null} />
            <Sites sites={found.sites} api={api} />
            <Flows flows={shown} by={flows.data?.by ?? "addresses"} supposed={down.length > 0} sites={found.sites} />
            <Orders api={api} />
            <Explain api={api} />
            <History api={api} />
          </>
        )}
      </div>
    </main>
  );
}

function Fault({ error }: { error: Error }) {
  const denied = error instanceof ApiError && error.code === "operator_only";
  return (
    <p className="operator-fault" role="alert">
      {denied ? "This page is for the operators whom the world file names." : `The director cannot be asked now: ${faultWords(error)}.`}
    </p>
  );
}

function Legend({ supposed }: { supposed: boolean }) {
  return (
    <ul className="operator-legend" aria-label="Legend">
      <li><svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true"><circle className="legend-mark" r="5" /></svg> data-center</li>
      <li><svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true"><path className="legend-mark" d="M0-6 6 0 0 6-6 0Z" /></svg> edge</li>
      <li><svg width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true"><circle className="legend-out" r="5" /><path className="legend-cross" d="M-2.5-2.5 2.5 2.5M2.5-2.5-2.5 2.5" /></svg> not offered</li>
      <li><svg width="26" height="10" viewBox="0 0 26 10" aria-hidden="true"><path className="legend-flow" data-supposed={supposed || undefined} d="M1 5h24" /></svg> clients go there; the wider, the more</li>
    </ul>
  );
}
