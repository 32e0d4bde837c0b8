// Digital zoom into a picture: geometry in fractions of its size, so that it holds when the size changes.

export interface Zoom {
  scale: number // 1: the whole picture
  x: number // of the picture's left edge; 0 or less
  y: number
}

export const whole: Zoom = { scale: 1, x: 0, y: 0 }
export const most = 10

function inside(z: Zoom): Zoom {
  const clamp = (v: number) => Math.min(0, Math.max(1 - z.scale, v)) + 0 // no -0
  return { scale: z.scale, x: clamp(z.x), y: clamp(z.y) }
}

/** Zooms about a point (fractions of the frame): what is under it stays there. */
export function about(z: Zoom, px: number, py: number, factor: number): Zoom {
  const scale = Math.min(Math.max(z.scale * factor, 1), most)
  const f = scale / z.scale
  return inside({ scale, x: px - (px - z.x) * f, y: py - (py - z.y) * f })
}

export function pan(z: Zoom, dx: number, dy: number): Zoom {
  return inside({ ...z, x: z.x + dx, y: z.y + dy })
}
