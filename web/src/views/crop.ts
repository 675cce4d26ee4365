/** Which square of a picture becomes one's portrait.  Pure. */
export interface Crop {
  readonly zoom: number; // 1: the largest square that fits
  readonly x: number; // its middle, 0..1 of the picture's width
  readonly y: number;
}

export const CROP_ZOOM_MAX = 4;
export const WHOLE: Crop = { zoom: 1, x: 0.5, y: 0.5 };

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** The square in pixels of the picture; always inside of it. */
export function square({ width, height }: Size, { zoom, x, y }: Crop): { x: number; y: number; side: number } {
  const side = Math.min(width, height) / Math.min(CROP_ZOOM_MAX, Math.max(1, zoom));
  const clamp = (middle: number, whole: number) => Math.min(whole - side, Math.max(0, middle * whole - side / 2));
  return { x: clamp(x, width), y: clamp(y, height), side };
}

/** Moves the square by a part of its own side, no further than the picture's edge. */
export function move(size: Size, crop: Crop, right: number, down: number): Crop {
  const now = square(size, crop);
  const to = square(size, { ...crop, x: (now.x + now.side * (0.5 + right)) / size.width, y: (now.y + now.side * (0.5 + down)) / size.height });
  return { ...crop, x: (to.x + to.side / 2) / size.width, y: (to.y + to.side / 2) / size.height };
}
