/** Why one address gets the sites it gets. */
import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useMutation } from "@tanstack/react-query";
import type { SyntheticEvent } from "react";

import type { Explanation, RankedSite } from "../../core/traffic";
import type { OperatorApi } from "../../shell/operator";
import { RegionTag } from "../RegionTag";
import { faultWords } from "../Toast";
import { countryWords } from "./say";

const SERVICES = [
  { value: "door", label: "doors" }, { value: "edge", label: "edge" }, { value: "media", label: "media" }, { value: "turn", label: "TURN" },
];

export function Explain({ api }: { api: OperatorApi }) {
  const asked = useMutation({ mutationFn: ({ address, name }: { address: string; name: string }) => api.explain(address, name) });

  function ask(event: SyntheticEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    asked.mutate({ address: (form.get("address") as string).trim(), name: form.get("name") as string });
  }

  return (
    <section className="operator-part" aria-labelledby="operator-explain">
      <h2 id="operator-explain">Explain an address</h2>
      <form className="operator-ask" onSubmit={ask}>
        <TextInput name="address" label="Address" placeholder="1.33.0.1 or 2400:4000::1" required maxLength={45} autoComplete="off" spellCheck={false} />
        <NativeSelect name="name" label="Service" data={SERVICES} />
        <Button type="submit" loading={asked.isPending}>Explain</Button>
      </form>
      <div aria-live="polite">
        {asked.error !== null && <p className="operator-fault">That cannot be said: {faultWords(asked.error)}.</p>}
        {asked.data !== undefined && <Answer found={asked.data} />}
      </div>
    </section>
  );
}

function Answer({ found }: { found: Explanation }) {
  const where = found.country === null ? "no known country" : countryWords([found.country]);
  const named = [...new Set(found.answer.map((door) => door.site))];
  return (
    <dl className="operator-answer">
      <div><dt>Network</dt><dd>{found.network}, in {where}; slice {found.slice} of 16</dd></div>
      <div><dt>Rule</dt><dd>{found.rule} → <RegionTag region={found.region} long /></dd></div>
      <div><dt>Answer</dt><dd><strong>{named.join(", ")}</strong>, for {found.ttl_s} s: {found.reason}</dd></div>
      <Ranked title="Then" sites={found.sites.filter(({ site }) => !named.includes(site))} />
      <Ranked title="Skipped" sites={found.skipped} />
      <div><dt>Decided</dt><dd>in snapshot {found.snapshot} ({found.digest})</dd></div>
    </dl>
  );
}

function Ranked({ title, sites }: { title: string; sites: readonly RankedSite[] }) {
  if (sites.length === 0) return null;
  return (
    <div>
      <dt>{title}</dt>
      <dd><ol className="operator-list">{sites.map((site) => <li key={site.site}><strong>{site.site}</strong>: {site.why}</li>)}</ol></dd>
    </div>
  );
}
