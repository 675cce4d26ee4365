/** How much room the pictures and files of a message take, known before they have come, so that nothing jumps.  Pure. */
import type { FileRef } from "../core/wire";
import { isPicture } from "../shell/pictures";

const SINGLE_WIDTH_PX = 320;
const SINGLE_HEIGHT_PX = 260;
const SINGLE_PX_MIN = 56; // so that it can be hit, and can say what is wrong with it
const CELL_PX = 152;
const GAP_PX = 6;
const CARD_PX = 62;

export interface Parts {
  readonly pictures: readonly FileRef[];
  readonly others: readonly FileRef[];
}

export function partsOf(files: readonly FileRef[]): Parts {
  return { pictures: files.filter(isPicture), others: files.filter((file) => !isPicture(file)) };
}

/** The box of a picture that stands alone: its own shape, never larger than itself or than its place. */
export function singleBox({ width, height }: { width?: number | null; height?: number | null }): { width: number; height: number } {
  const w = width ?? SINGLE_WIDTH_PX;
  const h = height ?? SINGLE_HEIGHT_PX;
  const scale = Math.min(1, SINGLE_WIDTH_PX / w, SINGLE_HEIGHT_PX / h);
  return { width: Math.max(SINGLE_PX_MIN, Math.round(w * scale)), height: Math.max(SINGLE_PX_MIN, Math.round(h * scale)) };
}

/** Several pictures stand in squares: two or four as two columns, else three. */
export function columns(pictures: number): number {
  return pictures === 2 || pictures === 4 ? 2 : 3;
}

/** What the files of a message add to its height, roughly. */
export function filesHeight(files: readonly FileRef[]): number {
  const { pictures, others } = partsOf(files);
  const [first] = pictures;
  const shown = first === undefined ? 0 : pictures.length === 1 ? singleBox(first).height : Math.ceil(pictures.length / columns(pictures.length)) * (CELL_PX + GAP_PX);
  return shown + others.length * CARD_PX + (files.length > 0 ? 2 * GAP_PX : 0);
}
