/** What directors say to operators: the types of `src/moonbow/wire/traffic.py` that this client uses, field by field. */
import type { Door } from "./wire";

export type Kind = "primary" | "edge" | "witness";
export type OrderKind = "drain" | "down" | "up" | "weight" | "canary";
export type DrainReason = "maintenance" | "trouble" | "trial";

export interface SiteLoad {
  connections: number;
  capacity: number;
  cpu: number;
  errors: number;
}

export interface SiteStatus {
  site: string;
  region: string;
  city: string;
  kind: Kind;
  healthy: boolean;
  why: string;
  override: "drain" | "down" | "up" | null;
  doors: { address: string; port: number; up: boolean; why: string; since: string | null }[];
  at: [number, number]; // latitude and longitude in degrees
  sealed: boolean;
  voters: string[];
  disputed: boolean;
  capacity: number;
  load: SiteLoad | null;
  weight: number;
  canary: number;
  flaps: number;
}

export interface DirectorStatus {
  world: string;
  snapshot: number;
  changed_at: string;
  addresses: string;
  buckets: number;
  sites: SiteStatus[];
  site: string;
  digest: string;
  frozen: string;
  age_s: number;
  silent: string[];
  degraded: number;
  spilled: number;
}

export interface Flow {
  name: string;
  region: string;
  countries: string[];
  at: [number, number] | null;
  part: number; // 0..1 of all clients of the world
  to: { site: string; share: number }[];
  degraded: boolean;
}

export interface Flows {
  service: string;
  snapshot: number;
  by: "clients" | "addresses";
  flows: Flow[];
}

export interface Forecast {
  name: string;
  region: string;
  capacity: number;
  before: number;
  after: number;
  over: boolean;
  usable: boolean;
}

export interface Simulation {
  down: string[];
  sites: Forecast[];
  regions: Forecast[];
  part: number;
  over: string[];
  problems: string[];
  by: "clients" | "addresses";
  flows: Flow[];
}

export interface Order {
  id: string;
  kind: OrderKind;
  target: string;
  value: number;
  who: string;
  why: string;
  at: string;
  until: string | null;
}

export interface NewDrain {
  site: string;
  why: DrainReason;
  for_s: number;
  force: boolean;
}

export interface Change {
  number: number;
  at: string;
  digest: string;
  words: string[];
}

export interface RankedSite {
  site: string;
  region: string;
  city: string;
  kind: Kind;
  km: number | null;
  why: string;
}

export interface Explanation {
  address: string;
  network: string;
  country: string | null;
  continent: string | null;
  rule: string;
  region: string;
  reason: string;
  ttl_s: number;
  answer: Door[];
  sites: RankedSite[];
  skipped: RankedSite[];
  snapshot: number;
  service: string;
  slice: number;
  digest: string;
}
