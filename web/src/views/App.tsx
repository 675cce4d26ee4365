/** The door or the inside, whichever the session says.  The inside is loaded only when somebody goes in. */
import { Loader } from "@mantine/core";
import { lazy, Suspense, useSyncExternalStore } from "react";

import type { Auth } from "../shell/auth";
import { SignIn } from "./SignIn";

const Inside = lazy(() => import("./Inside"));

export function App({ auth }: { auth: Auth }) {
  const { person, ending } = useSyncExternalStore(auth.subscribe, () => auth.state);
  if (person === null) return <SignIn auth={auth} ending={ending} />;
  return (
    <Suspense fallback={<Opening />}>
      <Inside key={person.id} auth={auth} me={person} />
    </Suspense>
  );
}

export function Opening() {
  return (
    <main className="opening" aria-busy="true">
      <Loader type="dots" aria-label="Loading" />
    </main>
  );
}
