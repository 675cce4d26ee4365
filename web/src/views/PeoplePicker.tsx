/** Finds colleagues and lets one choose some of them. */
import { Checkbox, Loader, TextInput } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import type { Person } from "../core/wire";
import { useClient } from "./hooks";
import { RegionTag } from "./RegionTag";
import { useLater } from "./later";
import { count, shortRegion } from "./words";

interface Props {
  chosen: ReadonlyMap<string, Person>;
  onChange: (chosen: ReadonlyMap<string, Person>) => void;
  without: ReadonlySet<string>;
  max: number;
}

/** Colleagues whose name begins like, or contains, what was typed. */
export function usePeople(typed: string) {
  const client = useClient();
  const q = useLater(typed.trim(), 150);
  return useQuery({
    queryKey: ["people", q],
    queryFn: async () => {
      const answer = await client.api.people(q, null);
      client.do({ t: "people", people: answer.people });
      return answer;
    },
    placeholderData: keepPreviousData,
  });
}

export function PeoplePicker({ chosen, onChange, without, max }: Props) {
  const [typed, setTyped] = useState("");
  const { data, isFetching, isError } = usePeople(typed);
  const found = (data?.people ?? []).filter((person) => !without.has(person.id));
  const rest = [...chosen.values()].filter((person) => !found.some((one) => one.id === person.id));

  function toggle(person: Person, on: boolean) {
    const next = new Map(chosen);
    if (on) next.set(person.id, person);
    else next.delete(person.id);
    onChange(next);
  }

  return (
    <fieldset className="picker">
      <legend>People{chosen.size > 0 && ` (${chosen.size} chosen)`}</legend>
      <TextInput aria-label="Find people by name" placeholder="Find by name" value={typed} onChange={(event) => setTyped(event.target.value)} rightSection={isFetching ? <Loader size="xs" aria-label="Looking" /> : null} />
      <div className="picker-list">
        {[...rest, ...found].map((person) => (
          <Checkbox
            key={person.id}
            checked={chosen.has(person.id)}
            disabled={!chosen.has(person.id) && chosen.size >= max}
            onChange={(event) => toggle(person, event.currentTarget.checked)}
            label={<span className="picker-person"><span>{person.name}</span><RegionTag region={person.region} /></span>}
          />
        ))}
        {data !== undefined && found.length === 0 && rest.length === 0 && <p className="note">Nobody of that name.</p>}
        {isError && <p className="note">People could not be looked up just now.</p>}
      </div>
      {(data?.missing.length ?? 0) > 0 && <p className="note">{data?.missing.map(shortRegion).join(", ")} did not answer: people there may be missing.</p>}
      {chosen.size >= max && <p className="note">No more than {count(max, "person", "people")} at once.</p>}
    </fieldset>
  );
}
