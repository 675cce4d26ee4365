/** How sites, flows, orders and times are said to operators.  Pure. */
import type { DirectorStatus, Flow, Order, SiteStatus } from "../../core/traffic";
import { pick } from "../words";

const TONES = 7;
const PERCENT = new Intl.NumberFormat(undefined, { style: "percent", maximumFractionDigits: 1 });
const COUNT = new Intl.NumberFormat();
const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const COUNTRY = new Intl.DisplayNames(undefined, { type: "region" });

export const percent = (part: number) => PERCENT.format(part);
export const number = (n: number) => COUNT.format(n);

/** A moment: its time, with the day if it is not within half a day of now. */
export function moment(at: string, now_ms: number): string {
  const ms = Date.parse(at);
  return (Math.abs(now_ms - ms) < 43_200_000 ? TIME : DAY).format(ms);
}

/** A region's colour in the bow: by its place among the world's regions, as elsewhere in the client. */
export function toneOf(sites: readonly SiteStatus[], region: string): number {
  const regions = [...new Set(sites.filter((site) => !site.sealed).map((site) => site.region))];
  const at = regions.indexOf(region);
  return at < 0 ? pick(region, TONES) : (at * 3 + 4) % TONES;
}

export type State = "offered" | "drained" | "out";

export function stateOf(site: SiteStatus): State {
  if (site.override === "drain") return "drained";
  return site.healthy ? "offered" : "out";
}

export const STATE_WORDS: Record<State, string> = { offered: "offered", drained: "drained", out: "not offered" };

/** The state of a site with what the operator has said of it. */
export function stateWords(site: SiteStatus): string {
  const words = [STATE_WORDS[stateOf(site)]];
  if (site.override === "down") words.push("declared down");
  if (site.override === "up") words.push("declared up");
  if (site.weight !== 100) words.push(`weight ${site.weight} %`);
  if (site.canary > 0) words.push(`canary of ${site.canary} of 16 slices`);
  return words.join(", ");
}

export function countryWords(codes: readonly string[], most = 4): string {
  const names = codes.map((code) => (code === "XK" ? "Kosovo" : (COUNTRY.of(code) ?? code)));
  if (names.length <= most) return names.join(", ");
  return `${names.slice(0, most).join(", ")} and ${names.length - most} more`;
}

/** A group of clients, as a heading. */
export function flowWords(flow: Flow): string {
  if (flow.countries.length === 1) return countryWords(flow.countries);
  return flow.countries.length === 0 ? flow.name : `${flow.name}, ${flow.countries.length} countries`;
}

export function toWords(flow: Flow): string {
  return flow.to.map(({ site, share }) => (share > 0.995 ? site : `${site} ${percent(share)}`)).join(", ");
}

export function orderWords(order: Order): string {
  switch (order.kind) {
    case "drain":
      return `Drain ${order.target}`;
    case "down":
      return `${order.target} declared down`;
    case "up":
      return `${order.target} declared up`;
    case "weight":
      return `Weight of ${order.target}: ${order.value} %`;
    case "canary":
      return `Canary ${order.target} on ${order.value} of 16 slices`;
  }
}

/** The whole in one sentence, and whether somebody should look at it. */
export function headline(status: DirectorStatus): { words: string; well: boolean } {
  const out = status.sites.filter((site) => !site.healthy);
  if (status.frozen !== "") return { words: `Decisions stand still: ${status.frozen}`, well: false };
  if (status.age_s > 5) return { words: `What is answered is ${Math.round(status.age_s)} s old`, well: false };
  if (out.length > 0) return { words: `${out.length} of ${status.sites.length} sites ${out.length === 1 ? "is" : "are"} not offered`, well: false };
  if (status.spilled > 0) return { words: `${status.spilled} slices go elsewhere because sites are full`, well: false };
  return { words: `All ${status.sites.length} sites are offered`, well: true };
}

/** Sentences of a change, without those that only count slices. */
export function changeWords(words: readonly string[]): string[] {
  const said = words.filter((line) => !/^(door|edge|media|turn): \d+ of \d+ slices/.test(line));
  return said.length > 0 ? said : ["The load of sites moved some slices"];
}
