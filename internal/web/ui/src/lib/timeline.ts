// The geometry of a timeline: which instants lie under which pixels, where ticks go. Pure, so that it is tested without a screen.

export interface View {
  from: number // ms since the epoch at the left edge
  to: number // and at the right edge
  width: number // pixels
}

export const minSpan = 1_000
export const maxSpan = 32 * 86_400_000

export function x(v: View, ms: number): number {
  return ((ms - v.from) / (v.to - v.from)) * v.width
}

export function instant(v: View, px: number): number {
  return v.from + (px / v.width) * (v.to - v.from)
}

/** Zooms about a pixel: factor below 1 shows less time. */
export function zoom(v: View, px: number, factor: number): View {
  const span = Math.min(Math.max((v.to - v.from) * factor, minSpan), maxSpan)
  const at = instant(v, px)
  const from = at - (px / v.width) * span
  return { ...v, from, to: from + span }
}

export function pan(v: View, px: number): View {
  const d = (px / v.width) * (v.to - v.from)
  return { ...v, from: v.from + d, to: v.to + d }
}

const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800].map((s) => s * 1000)

export interface Tick {
  at: number
  step: number
}

/** Ticks at least `apart` pixels from each other, on round local times: offset gives the zone's minutes ahead of UTC. */
export function ticks(v: View, apart: number, offset: (ms: number) => number): Tick[] {
  const step = steps.find((s) => (s / (v.to - v.from)) * v.width >= apart) ?? steps[steps.length - 1]!
  const out: Tick[] = []
  for (let at = v.from; at <= v.to && out.length < 500; ) {
    const o = offset(at) * 60_000
    let next = Math.ceil((at + o) / step) * step - o
    if (offset(next) * 60_000 !== o) {
      // A clock step lies between: the first round local time that is read after it.
      const after = offset(next) * 60_000
      next = Math.ceil((at + after) / step) * step - after
      for (let i = 0; i < 2 && offset(next) * 60_000 !== after; i++) next += step
    }
    if (next > v.to) break
    out.push({ at: next, step })
    at = next + 1
  }
  return out
}

/** Ranges that lie nearer than a pixel are drawn as one. */
export function merge<T extends { from: number; to: number }>(v: View, ranges: readonly T[]): { from: number; to: number }[] {
  const px = (v.to - v.from) / v.width
  const out: { from: number; to: number }[] = []
  for (const r of ranges) {
    if (r.to < v.from || r.from > v.to) continue
    const last = out[out.length - 1]
    if (last && r.from - last.to < px) last.to = Math.max(last.to, r.to)
    else out.push({ from: r.from, to: r.to })
  }
  return out
}

/** How much of each cell of a stretch was recorded, as columns: part of the height, from 0 to 1. */
export function columns(c: { from: number; length: number; seconds: readonly number[] }, v: View, now: number): { x: number; width: number; part: number }[] {
  const out: { x: number; width: number; part: number }[] = []
  const first = Math.max(0, Math.floor((v.from - c.from) / c.length))
  for (let i = first; i < c.seconds.length; i++) {
    const from = c.from + i * c.length
    if (from >= v.to) break
    const past = Math.min(from + c.length, now) - from // of the cell that lasts, what has passed
    const recorded = c.seconds[i]! * 1000
    if (!recorded || past <= 0) continue
    const left = Math.max(0, x(v, from))
    out.push({ x: left, width: Math.max(Math.min(v.width, x(v, from + past)) - left, 1), part: Math.min(1, recorded / past) })
  }
  return out
}

const notch = 100 // what a notch of most wheels says, in pixels
const perUnit = [1, 33, 800] // pixels, lines, pages

/** The factor by which a turn of the wheel zooms: a notch by a quarter, the small steps of a touch pad by as little as they are. */
export function wheelFactor(delta: number, mode: number): number {
  const px = delta * (perUnit[mode] ?? 1)
  return 1.25 ** (Math.max(-2 * notch, Math.min(2 * notch, px)) / notch)
}

export const spans = ['month', 'week', 'day', 'hour'] as const
export type Span = (typeof spans)[number]

const hour = 3_600_000

/** Which of them a stretch is, if any; a day has so many hours. */
export function spanOf(length: number, dayHours: number): Span | undefined {
  const [long, off] = [{ month: 29.5 * 24, week: 7 * 24, day: dayHours, hour: 1 }, { month: 37, week: 2, day: 0.1, hour: 0.01 }]
  return spans.find((s) => Math.abs(length / hour - long[s]) <= off[s])
}
