/** A value that follows another one after it has rested a while. */
import { useEffect, useState } from "react";

export function useLater<T>(value: T, rest_ms: number): T {
  const [later, setLater] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setLater(value), rest_ms);
    return () => clearTimeout(timer);
  }, [value, rest_ms]);
  return later;
}
