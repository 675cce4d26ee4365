/** What the arrows say, as a table: groups of clients and the sites they are sent to. */
import { Button } from "@mantine/core";
import { useState } from "react";

import type { Flow, SiteStatus } from "../../core/traffic";
import { RegionTag } from "../RegionTag";
import { countryWords, flowWords, percent, toWords } from "./say";

const FIRST = 10;

export function Flows({ flows, by, supposed, sites }: { flows: readonly Flow[]; by: "clients" | "addresses"; supposed: boolean; sites: readonly SiteStatus[] }) {
  const [all, setAll] = useState(false);
  const some = flows.filter((flow) => flow.part >= 0.00005 || flow.at === null);
  const shown = all ? some : some.slice(0, FIRST);
  const skipped = sites.filter((site) => !site.healthy);
  return (
    <section className="operator-part" aria-labelledby="operator-flows">
      <h2 id="operator-flows">{supposed ? "Who would go where" : "Who goes where"}</h2>
      <p className="operator-note">Parts of all {by === "clients" ? "clients, as foreseen" : "addresses, while few clients are connected"}.</p>
      <table className="operator-table">
        <thead><tr><th scope="col">From</th><th scope="col">Region</th><th scope="col">Part</th><th scope="col">{supposed ? "Would go to" : "Goes to"}</th></tr></thead>
        <tbody>
          {shown.map((flow) => (
            <tr key={`${flow.name}${flow.countries[0] ?? ""}${flow.region}${toWords(flow)}`}>
              <th scope="row">{flowWords(flow)}{flow.countries.length > 1 && <small>{countryWords(flow.countries)}</small>}</th>
              <td data-label="Region"><RegionTag region={flow.region} /></td>
              <td data-label="Part">{percent(flow.part)}</td>
              <td data-label={supposed ? "Would go to" : "Goes to"}>{toWords(flow)}{flow.degraded && <small>not their first choice</small>}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {some.length > FIRST && <Button variant="subtle" size="compact-sm" onClick={() => setAll(!all)}>{all ? "Show the largest only" : `Show all ${some.length} groups`}</Button>}
      {skipped.length > 0 && (
        <>
          <h3>Skipped sites</h3>
          <ul className="operator-list">{skipped.map((site) => <li key={site.site}><strong>{site.site}</strong>: {site.why}</li>)}</ul>
        </>
      )}
    </section>
  );
}
