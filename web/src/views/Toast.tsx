/** Short notices of something that could not be done; read out at once, gone after a while. */
import { CloseButton } from "@mantine/core";
import { createContext, type ReactNode, useCallback, useContext, useEffect, useState } from "react";

import { ApiError } from "../shell/fault";
import { codeWords } from "./words";

const SHOWN_MS = 7_000;

type Say = (words: string) => void;
const ToastContext = createContext<Say>(() => undefined);

export function ToastProvider({ children }: { children: ReactNode }) {
  const [words, setWords] = useState<string | null>(null);
  const say = useCallback((next: string) => setWords(next), []);
  useEffect(() => {
    if (words === null) return;
    const timer = setTimeout(() => setWords(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [words]);
  return (
    <ToastContext value={say}>
      {children}
      <div className="toasts" role="alert">
        {words !== null && (
          <div className="toast">
            <span>{words}</span>
            <CloseButton size="sm" variant="transparent" aria-label="Close this notice" onClick={() => setWords(null)} />
          </div>
        )}
      </div>
    </ToastContext>
  );
}

/** Why something failed, as the end of a sentence. */
export function faultWords(error: unknown): string {
  if (!(error instanceof ApiError)) return "something went wrong here";
  const known = codeWords(error.code);
  return known.startsWith("the server said") && error.problem.detail !== "" ? error.problem.detail : known;
}

/** `say(words)` shows a notice; `attempt(what, work)` does the work and says so if it fails. */
export function useToast(): { say: Say; attempt: (what: string, work: () => Promise<unknown>) => Promise<boolean> } {
  const say = useContext(ToastContext);
  const attempt = useCallback(
    async (what: string, work: () => Promise<unknown>) => {
      try {
        await work();
        return true;
      } catch (error) {
        say(`${what}: ${faultWords(error)}.`);
        return false;
      }
    },
    [say],
  );
  return { say, attempt };
}
