/** What can go wrong with a request, as one kind of error. */
import type { Problem } from "../core/wire";

/** The server refused, or could not be reached (`status` 0, code `unreachable`). */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail || problem.title || problem.code);
  }

  get code(): string {
    return this.problem.code;
  }

  get status(): number {
    return this.problem.status;
  }

  /** May the same request succeed a moment later? */
  get passing(): boolean {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504 || this.code === "downloads_too_many";
  }
}

export const UNREACHABLE: Problem = { status: 0, code: "unreachable", title: "Unreachable", detail: "The server cannot be reached.", retryable: true };

export function problemOf(status: number, text: string): Problem {
  const bare: Problem = { status, code: `http_${status}`, title: `HTTP ${status}`, detail: "" };
  try {
    return { ...bare, ...(JSON.parse(text) as Partial<Problem>) };
  } catch {
    return bare; // a door's own answer, not one of ours
  }
}
