/** "Rests in EMEA, served by Singapore": where one's data is, and which site answers now. */
import { Popover, UnstyledButton } from "@mantine/core";
import { useContext } from "react";

import type { Person } from "../core/wire";
import { useCore, WorldContext } from "./hooks";
import { RegionTag, useRegionTone } from "./RegionTag";
import { longRegion, shortRegion } from "./words";

export function PlaceBadge({ me }: { me: Person }) {
  const world = useContext(WorldContext);
  const place = useCore((state) => state.link.place);
  const live = useCore((state) => state.link.phase === "live");
  const tone = useRegionTone(me.region);
  const served = place === null ? "connecting" : live ? `served by ${place.city}` : `was served by ${place.city}`;
  return (
    <Popover position="top-start" width={300} shadow="md" trapFocus returnFocus>
      <Popover.Target>
        <UnstyledButton className="place" data-live={live || undefined}>
          <span className="region-dot" data-tone={tone} aria-hidden="true" />
          <span className="place-words"><span>rests in <strong>{shortRegion(me.region)}</strong>,</span> <span>{served}</span></span>
        </UnstyledButton>
      </Popover.Target>
      <Popover.Dropdown>
        <dl className="facts">
          <dt>Your messages rest in</dt>
          <dd><RegionTag region={me.region} long /></dd>
          <dt>You came in by</dt>
          <dd>{world === null ? "not known yet" : `${world.served_by.city}, ${longRegion(world.served_by.region, world.regions)}`}</dd>
          <dt>You are served by</dt>
          <dd>{place === null ? "nobody yet" : `${place.city}, ${longRegion(place.region, world?.regions)}`}</dd>
        </dl>
        <p className="facts-note">Other regions see your words only while somebody there reads them.</p>
      </Popover.Dropdown>
    </Popover>
  );
}
