import { describe, expect, it } from "vitest";

import type { DirectorStatus, Flow, Order, SiteStatus } from "../src/core/traffic";
import { changeWords, countryWords, flowWords, headline, orderWords, stateOf, stateWords, toneOf, toWords } from "../src/views/operator/say";

const site = (name: string, more: Partial<SiteStatus> = {}): SiteStatus => ({
  site: name, region: "emea", city: name, kind: "primary", healthy: true, why: "healthy", override: null, doors: [], at: [0, 0], sealed: false,
  voters: [], disputed: false, capacity: 10_000, load: null, weight: 100, canary: 0, flaps: 0, ...more,
});
const status = (sites: SiteStatus[], more: Partial<DirectorStatus> = {}): DirectorStatus => ({
  world: "w", snapshot: 1, changed_at: "2026-01-01T00:00:00Z", addresses: "", buckets: 1, sites, site: "paris", digest: "d", frozen: "", age_s: 0, silent: [],
  degraded: 0, spilled: 0, ...more,
});
const flow = (more: Partial<Flow> = {}): Flow => ({ name: "Asia", region: "apac", countries: ["JP", "KR"], at: [30, 130], part: 0.1, to: [{ site: "tokyo", share: 1 }], degraded: false, ...more });

describe("what operators are told", () => {
  it("says the worst first", () => {
    expect(headline(status([site("a"), site("b")]))).toEqual({ words: "All 2 sites are offered", well: true });
    expect(headline(status([site("a", { healthy: false }), site("b")]))).toEqual({ words: "1 of 2 sites is not offered", well: false });
    expect(headline(status([site("a", { healthy: false })], { frozen: "cut off" })).words).toBe("Decisions stand still: cut off");
    expect(headline(status([site("a")], { age_s: 61 })).well).toBe(false);
    expect(headline(status([site("a")], { spilled: 3 })).words).toContain("3 slices");
  });

  it("names a site's state and what was ordered of it", () => {
    expect(stateWords(site("a", { weight: 25, canary: 2 }))).toBe("offered, weight 25 %, canary of 2 of 16 slices");
    expect(stateOf(site("a", { override: "drain", healthy: false }))).toBe("drained");
    expect(stateWords(site("a", { override: "down", healthy: false }))).toBe("not offered, declared down");
  });

  it("names groups, shares and orders", () => {
    expect(flowWords(flow())).toBe("Asia, 2 countries");
    expect(flowWords(flow({ countries: ["JP"] }))).toBe("Japan");
    expect(flowWords(flow({ name: "10.0.0.0/8", countries: [] }))).toBe("10.0.0.0/8");
    expect(toWords(flow({ to: [{ site: "tokyo", share: 0.75 }, { site: "singapore", share: 0.25 }] }))).toBe("tokyo 75%, singapore 25%");
    expect(countryWords(["FR", "DE", "XK", "ES", "IT"])).toBe("France, Germany, Kosovo, Spain and 1 more");
    const order: Order = { id: "o1", kind: "drain", target: "paris", value: 0, who: "", why: "", at: "", until: null };
    const kinds = (["drain", "down", "up", "weight", "canary"] as const).map((kind) => orderWords({ ...order, kind, value: 4 }));
    expect(new Set(kinds).size).toBe(5);
    expect(kinds.every((words) => words.includes("paris"))).toBe(true);
  });

  it("leaves out of a change what only counts slices", () => {
    expect(changeWords(["paris is out: gone", "door: 3 of 672 slices are sent elsewhere"])).toEqual(["paris is out: gone"]);
    expect(changeWords(["door: 3 of 672 slices are sent elsewhere"])).toHaveLength(1);
  });

  it("gives a region one colour, whichever of its sites are shown", () => {
    const sites = [site("a"), site("b", { region: "apac" }), site("c", { region: "cn", sealed: true })];
    expect(toneOf(sites, "emea")).not.toBe(toneOf(sites, "apac"));
    expect(toneOf(sites, "cn")).toBe(toneOf([...sites].reverse(), "cn"));
  });
});
