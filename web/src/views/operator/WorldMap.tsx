/** The world: land, sites by kind and state, and arrows from where clients are to where they are sent. */
import { useElementSize } from "@mantine/hooks";
import { type GeoProjection, geoEqualEarth, geoPath } from "d3-geo";
import { useMemo } from "react";
import { feature } from "topojson-client";
import type { Topology } from "topojson-specification";
import atlas from "world-atlas/land-110m.json";

import type { Flow, SiteStatus } from "../../core/traffic";
import { flowWords, percent, stateOf, stateWords, toneOf, toWords } from "./say";

const RATIO = 0.5;
const PART_MIN = 0.0005;
const FRAME = { type: "MultiPoint" as const, coordinates: [[-168, 0], [179, 0], [0, 76], [0, -52]] };

const topology = atlas as unknown as Topology;
const land = topology.objects["land"];
const LAND = land === undefined ? null : feature(topology, land);

interface Props {
  sites: readonly SiteStatus[];
  flows: readonly Flow[];
  down: ReadonlySet<string>;
  supposed: boolean;
  label: string;
}

export function WorldMap({ sites, flows, down, supposed, label }: Props) {
  const { ref, width } = useElementSize<HTMLDivElement>();
  const height = Math.round(width * RATIO);
  const projection = useMemo(() => geoEqualEarth().fitExtent([[6, 6], [Math.max(width, 100) - 6, Math.max(height, 50) - 6]], FRAME), [width, height]);
  const ground = useMemo(() => (LAND === null ? "" : (geoPath(projection)(LAND) ?? "")), [projection]);
  const arrows = useMemo(() => draw(flows, sites, projection), [flows, sites, projection]);
  const marks = useMemo(() => {
    const troubled = ({ site }: Mark) => down.has(site.site) || !site.healthy; // drawn last, so that nothing covers them
    return place(sites, projection, width).sort((a, b) => Number(troubled(a)) - Number(troubled(b)));
  }, [sites, projection, width, down]);
  return (
    <div ref={ref} className="world" data-supposed={supposed || undefined} style={{ aspectRatio: `${1 / RATIO}` }}>
      {width > 0 && (
        <svg width={width} height={height} role="img" aria-label={label}>
          <path className="world-land" d={ground} />
          {arrows.map((arrow) => (
            <g key={arrow.key} data-tone={arrow.tone} className="world-flow" data-dashed={supposed || arrow.degraded || undefined}>
              <path d={arrow.path} strokeWidth={arrow.width} strokeDasharray={supposed || arrow.degraded ? `${2 + arrow.width * 0.8} ${3 + arrow.width * 0.6}` : undefined} />
              <circle cx={arrow.from[0]} cy={arrow.from[1]} r={Math.max(1.5, arrow.width / 2)} />
              <title>{arrow.title}</title>
            </g>
          ))}
          {marks.map(({ site, x, y, words }) => (
            <g key={site.site} className="world-site" data-tone={toneOf(sites, site.region)} data-state={down.has(site.site) ? "out" : stateOf(site)} transform={`translate(${x} ${y})`}>
              <title>{`${site.city}: ${site.site}, ${stateWords(site)}`}</title>
              {site.kind === "edge" ? <path d="M0-6.5 6.5 0 0 6.5-6.5 0Z" /> : <circle r="6" />}
              {(down.has(site.site) || !site.healthy) && <path className="world-cross" d="M-3-3 3 3M3-3-3 3" />}
              {words !== null && <text x={words.x} y={words.y} textAnchor={words.anchor}>{site.site}</text>}
            </g>
          ))}
        </svg>
      )}
    </div>
  );
}

interface Arrow {
  key: string;
  path: string;
  width: number;
  tone: number;
  from: [number, number];
  title: string;
  degraded: boolean;
}

/** Arcs of great circles, the widest first, so that thin ones stay in sight. */
function draw(flows: readonly Flow[], sites: readonly SiteStatus[], projection: GeoProjection): Arrow[] {
  const path = geoPath(projection);
  const found: Arrow[] = [];
  for (const flow of flows) {
    if (flow.at === null || flow.part < PART_MIN) continue;
    const here: [number, number] = [flow.at[1], flow.at[0]];
    const from = projection(here);
    if (from === null) continue;
    for (const { site, share } of flow.to) {
      const target = sites.find((one) => one.site === site);
      if (target === undefined) continue;
      const line = path({ type: "LineString", coordinates: [here, [target.at[1], target.at[0]]] });
      found.push({
        key: `${flow.name}${flow.countries[0] ?? ""}${site}`,
        path: line ?? "",
        width: 0.8 + 11 * Math.sqrt(flow.part * share),
        tone: toneOf(sites, target.region),
        from,
        title: `${flowWords(flow)}: ${percent(flow.part)} of all, to ${toWords(flow)}`,
        degraded: flow.degraded,
      });
    }
  }
  return found.sort((a, b) => b.width - a.width);
}

interface Words {
  x: number;
  y: number;
  anchor: "start" | "end" | "middle";
}

interface Mark {
  site: SiteStatus;
  x: number;
  y: number;
  words: Words | null;
}

const LETTER = 6.6;
const SPOTS: Words[] = [
  { x: 11, y: 4, anchor: "start" }, { x: -11, y: 4, anchor: "end" }, { x: 0, y: -11, anchor: "middle" }, { x: 0, y: 20, anchor: "middle" },
];

/** Sites where they are; a name stands where it covers no other name and no other site, or is left to the table. */
function place(sites: readonly SiteStatus[], projection: GeoProjection, width: number): Mark[] {
  const points = sites.map((site): [number, number] => projection([site.at[1], site.at[0]]) ?? [0, 0]);
  const taken: [number, number, number, number][] = points.map(([x, y]) => [x - 7, y - 7, x + 7, y + 7]);
  return sites.map((site, at) => {
    const [x, y]: [number, number] = points[at] ?? [0, 0];
    for (const spot of SPOTS) {
      const size = site.site.length * LETTER;
      const left = x + spot.x - (spot.anchor === "end" ? size : spot.anchor === "middle" ? size / 2 : 0);
      const box: [number, number, number, number] = [left, y + spot.y - 11, left + size, y + spot.y + 3];
      const free = taken.every((other, no) => no === at || box[2] < other[0] || other[2] < box[0] || box[3] < other[1] || other[3] < box[1]);
      if (free && box[0] > 0 && box[2] < width) {
        taken.push(box);
        return { site, x, y, words: spot };
      }
    }
    return { site, x, y, words: null };
  });
}
