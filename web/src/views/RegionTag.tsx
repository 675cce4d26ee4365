/** A region, always in the same colour of the bow, so that one sees at a glance where something rests. */
import { useContext } from "react";

import { WorldContext } from "./hooks";
import { longRegion, pick, shortRegion } from "./words";

const TONES = 7;

/** Regions are spread over the spectrum by their place in the world's list. */
export function useRegionTone(region: string): number {
  const regions = useContext(WorldContext)?.regions ?? [];
  const at = regions.findIndex((one) => one.name === region);
  return at < 0 ? pick(region, TONES) : (at * 3 + 4) % TONES;
}

export function RegionTag({ region, long = false }: { region: string; long?: boolean }) {
  const tone = useRegionTone(region);
  const regions = useContext(WorldContext)?.regions;
  const title = longRegion(region, regions);
  return (
    <span className="region" title={long ? undefined : title}>
      <span className="region-dot" data-tone={tone} aria-hidden="true" />
      {long ? title : shortRegion(region)}
    </span>
  );
}
