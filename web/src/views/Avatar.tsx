/** A person as a round picture of initials, with a dot for presence. */
import { useCore } from "./hooks";
import { initials, personName, pick, presenceWords } from "./words";

const TONES = 7;

export function Avatar({ person, size = 36, dot = false }: { person: string; size?: number; dot?: boolean }) {
  const name = useCore((state) => personName(state, person));
  return (
    <span className="avatar" style={{ width: size, height: size, fontSize: size * 0.38 }} data-tone={pick(person, TONES)} aria-hidden="true">
      {initials(name)}
      {dot && <PresenceDot person={person} />}
    </span>
  );
}

function PresenceDot({ person }: { person: string }) {
  const state = useCore((s) => s.presence.get(person)?.state ?? "offline");
  return <span className="presence" data-state={state} />;
}

/** Presence in words, for those who do not see the dot. */
export function PresenceText({ person }: { person: string }) {
  const presence = useCore((state) => state.presence.get(person));
  return <>{presenceWords(presence)}{presence?.text ? `, ${presence.text}` : ""}</>;
}
