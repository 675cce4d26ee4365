/** What if: sites taken to be down, the load of everybody else, and what speaks against it.  Nothing is applied. */
import { Button } from "@mantine/core";

import type { Simulation, SiteStatus } from "../../core/traffic";
import { RegionTag } from "../RegionTag";
import { faultWords } from "../Toast";
import { number, percent } from "./say";

interface Props {
  sites: readonly SiteStatus[];
  down: readonly string[];
  onDown: (down: readonly string[]) => void;
  outcome: Simulation | null;
  fault: Error | null;
}

export function WhatIf({ sites, down, onDown, outcome, fault }: Props) {
  const toggle = (name: string) => onDown(down.includes(name) ? down.filter((one) => one !== name) : [...down, name]);
  return (
    <section className="operator-part" aria-labelledby="operator-what-if">
      <h2 id="operator-what-if">What if a site were down?</h2>
      <div className="operator-chips" role="group" aria-labelledby="operator-what-if">
        {sites.map((site) => (
          <button key={site.site} type="button" className="operator-chip" aria-pressed={down.includes(site.site)} onClick={() => toggle(site.site)}>{site.site}</button>
        ))}
        {down.length > 0 && <Button variant="subtle" size="compact-sm" onClick={() => onDown([])}>Back to what is</Button>}
      </div>
      {fault !== null && <p className="operator-fault" role="alert">That cannot be said: {faultWords(fault)}.</p>}
      {outcome !== null && <Outcome outcome={outcome} />}
    </section>
  );
}

function Outcome({ outcome }: { outcome: Simulation }) {
  return (
    <div className="operator-outcome">
      <p role="status">
        {percent(outcome.part)} of all {outcome.by === "clients" ? "clients" : "addresses"} would be sent elsewhere.{" "}
        {outcome.problems.length === 0 ? "Everybody would have a place." : ""}
      </p>
      {outcome.problems.length > 0 && <ul className="operator-list operator-harm">{outcome.problems.map((words) => <li key={words}>{words}</li>)}</ul>}
      <table className="operator-table">
        <thead><tr><th scope="col">Site</th><th scope="col">Region</th><th scope="col">Clients now</th><th scope="col">Then</th><th scope="col">Made for</th></tr></thead>
        <tbody>
          {outcome.sites.map((site) => (
            <tr key={site.name} data-over={site.over || undefined}>
              <th scope="row">{site.name}{!site.usable && <small>not usable</small>}</th>
              <td data-label="Region"><RegionTag region={site.region} /></td>
              <td data-label="Clients now">{number(site.before)}</td>
              <td data-label="Then">{number(site.after)}{site.over && <small>too full</small>}</td>
              <td data-label="Made for">{number(site.capacity)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
