/** A person as their picture, or as initials in a shade of their region's colour; with a dot for presence. */
import { regionOf } from "../core/wire";
import { avatarPath } from "../shell/pictures";
import { usePicture } from "./fileHooks";
import { useCore } from "./hooks";
import { useRegionTone } from "./RegionTag";
import { initials, personName, pick, presenceWords } from "./words";

const SHADES = 4;

export function Avatar({ person, size = 36, dot = false }: { person: string; size?: number; dot?: boolean }) {
  const name = useCore((state) => personName(state, person));
  const version = useCore((state) => state.people.get(person)?.avatar ?? null);
  const { url } = usePicture(version === null ? null : avatarPath(person, version));
  const tone = useRegionTone(regionOf(person));
  return (
    <span className="avatar" style={{ width: size, height: size, fontSize: size * 0.38 }} data-initials={initials(name)} data-tone={tone} data-shade={pick(person, SHADES)} aria-hidden="true">
      {url !== null && <img className="avatar-picture" src={url} alt="" />}
      {dot && <PresenceDot person={person} />}
    </span>
  );
}

function PresenceDot({ person }: { person: string }) {
  const state = useCore((s) => s.presence.get(person)?.state);
  return state === undefined ? null : <span className="presence" data-state={state} />;
}

/** Presence in words; nothing for somebody whose presence is not asked for. */
export function PresenceText({ person }: { person: string }) {
  const presence = useCore((state) => state.presence.get(person));
  if (presence === undefined) return null;
  return <>{presenceWords(presence)}{presence.text ? `, ${presence.text}` : ""}</>;
}
