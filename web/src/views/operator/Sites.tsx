/** All sites as a table: state and why, load, who watches them; and a drain for those that may be drained. */
import { Button, Checkbox, Modal, NativeSelect } from "@mantine/core";
import { useQueryClient } from "@tanstack/react-query";
import { type SyntheticEvent, useState } from "react";

import type { DrainReason, SiteStatus } from "../../core/traffic";
import { ApiError } from "../../shell/fault";
import type { OperatorApi } from "../../shell/operator";
import { RegionTag } from "../RegionTag";
import { faultWords } from "../Toast";
import { number, percent, stateOf, stateWords } from "./say";

export function Sites({ sites, api }: { sites: readonly SiteStatus[]; api: OperatorApi }) {
  const [draining, setDraining] = useState<string | null>(null);
  return (
    <section className="operator-part" aria-labelledby="operator-sites">
      <h2 id="operator-sites">Sites</h2>
      <table className="operator-table">
        <thead>
          <tr><th scope="col">Site</th><th scope="col">Region</th><th scope="col">State</th><th scope="col">Clients</th><th scope="col">Watched by</th><th scope="col"><span className="sr">Orders</span></th></tr>
        </thead>
        <tbody>
          {sites.map((site) => (
            <tr key={site.site}>
              <th scope="row">{site.site}<small>{site.city}, {site.kind === "primary" ? "data-center" : site.kind}</small></th>
              <td data-label="Region"><RegionTag region={site.region} />{site.sealed && <small>sealed</small>}</td>
              <td data-label="State"><span className="site-state" data-state={stateOf(site)}>{stateWords(site)}</span>{site.why !== "healthy" && <small>{site.why}</small>}</td>
              <td data-label="Clients"><Load site={site} /></td>
              <td data-label="Watched by">{site.voters.join(", ") || "nobody"}{site.disputed && <small>they do not agree</small>}</td>
              <td className="operator-act">
                {site.kind === "primary" && site.override === null && (
                  <Button size="compact-sm" variant="default" aria-label={`Drain ${site.site}`} onClick={() => setDraining(site.site)}>Drain…</Button>
                )}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {draining !== null && <Drain site={draining} api={api} onClose={() => setDraining(null)} />}
    </section>
  );
}

function Load({ site: { load, capacity } }: { site: SiteStatus }) {
  if (load === null) return <>of {number(capacity)}</>;
  const ratio = load.capacity > 0 ? Math.min(1, load.connections / load.capacity) : 0;
  return (
    <>
      {number(load.connections)} of {number(load.capacity)}
      <span className="load" aria-hidden="true"><i style={{ width: `${ratio * 100}%` }} data-full={ratio > 0.9 || undefined} /></span>
      <small>CPU {percent(load.cpu)}{load.errors > 0 && `, errors ${percent(load.errors)}`}</small>
    </>
  );
}

const REASONS: { value: DrainReason; label: string }[] = [
  { value: "maintenance", label: "Maintenance" }, { value: "trouble", label: "Trouble" }, { value: "trial", label: "A trial" },
];
const SPANS = [
  { value: "900", label: "15 minutes" }, { value: "1800", label: "30 minutes" }, { value: "7200", label: "2 hours" }, { value: "86400", label: "a day" },
];

function Drain({ site, api, onClose }: { site: string; api: OperatorApi; onClose: () => void }) {
  const queries = useQueryClient();
  const [fault, setFault] = useState<{ words: string; harm: boolean } | null>(null);
  const [busy, setBusy] = useState(false);

  async function give(event: SyntheticEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    try {
      await api.drain({ site, why: form.get("why") as DrainReason, for_s: Number(form.get("for")), force: form.get("force") === "on" });
      await queries.invalidateQueries({ queryKey: ["operator"] });
      onClose();
    } catch (error) {
      setFault({ words: faultWords(error), harm: error instanceof ApiError && error.code === "would_overload" });
      setBusy(false);
    }
  }

  return (
    <Modal opened onClose={onClose} title={`Drain ${site}`}>
      <form className="form" onSubmit={(event) => void give(event)}>
        <p>Its clients are sent elsewhere and new ones kept away; its processes go on. It comes back by itself.</p>
        <NativeSelect name="for" label="For" data={SPANS} defaultValue="1800" />
        <NativeSelect name="why" label="Why" description="A word that every region may know; who you are stays at your home." data={REASONS} />
        {fault !== null && <p className="operator-fault" role="alert">Refused: {fault.words}.</p>}
        {fault?.harm === true && <Checkbox name="force" label="Drain it all the same" />}
        <Button type="submit" loading={busy}>Drain</Button>
      </form>
    </Modal>
  );
}
