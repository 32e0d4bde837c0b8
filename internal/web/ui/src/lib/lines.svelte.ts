// What the timelines of the shown cameras have, as far as it was asked for. An answer is for the view and as much again on both
// sides, so that panning shows something at once; it is asked for anew when the view leaves it, or is so much closer that there is more to see.

import { call, type Problem, type Timeline } from './api'
import { app } from './app.svelte'
import { maxSpan } from './timeline'

export interface Line {
  camera: string
  stream: string
}

interface Stretch {
  from: number
  to: number
}

const pace = 150 // ms between two rounds of asking
const closer = 8 // times closer there is more to be seen
const whole = 96 * 3_600_000 // up to which the recorder tells each gap

/** Whether an answer about a stretch shows all that a view can show. */
export function suits(s: Stretch, view: Stretch): boolean {
  const [length, wanted] = [s.to - s.from, view.to - view.from]
  if (view.from < s.from - 1 || view.to > s.to + 1) return false
  return length <= closer * wanted && (length <= whole || 3 * wanted > whole)
}

export class Lines {
  /** By stream. */
  data = $state.raw<Record<string, Timeline>>({})
  problem = $state<Problem>()
  private asked = new Map<string, Stretch>()
  private timer: ReturnType<typeof setTimeout> | undefined
  private last = 0

  of(stream: string | undefined): Timeline | undefined {
    return stream === undefined ? undefined : this.data[stream]
  }

  /** Asks for what the view shows where that is lacking: at once, but not for each step of a wheel. */
  want(lines: readonly Line[], view: Stretch, then: () => void): void {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      this.last = performance.now()
      void this.load(lines, view, false).then(then)
    }, Math.max(0, this.last + pace - performance.now()))
  }

  close(): void {
    clearTimeout(this.timer)
  }

  /** Asks for what the view shows; again: also if it is there. */
  async load(lines: readonly Line[], view: Stretch, again: boolean): Promise<void> {
    const length = view.to - view.from
    const more = Math.min(length, Math.max(0, (maxSpan - length) / 2))
    const from = Math.max(0, Math.floor(view.from - more))
    const to = Math.min(Math.floor(view.to + more), from + maxSpan)
    for (const id of Object.keys(this.data)) if (!lines.some((l) => l.stream === id)) this.drop(id)
    await Promise.all(
      lines.map(async ({ camera, stream }) => {
        const before = this.asked.get(stream)
        if (!again && before && suits(before, view)) return
        const key = { from, to }
        this.asked.set(stream, key)
        const r = await call('get', '/cameras/{camera}/timeline', { params: { camera }, query: { stream, from, to } })
        if (this.asked.get(stream) !== key) return
        if (r.kind !== 'ok') this.asked.delete(stream)
        if (r.kind === 'error' && r.problem.code !== 'unreachable') this.problem = r.problem
        if (r.kind !== 'ok') return
        this.problem = undefined
        app.heard(r.data.now)
        this.data = { ...this.data, [stream]: r.data }
      }),
    )
  }

  /** The first footage of any of them after an instant; undefined where none is known. */
  next(after: number): number | undefined {
    const starts = Object.values(this.data).flatMap((d) => d.ranges.map((r) => r.from).filter((ms) => ms > after))
    return starts.length ? Math.min(...starts) : undefined
  }

  /** The gap that an instant lies in. */
  gap(stream: string | undefined, at: number | undefined): Timeline['gaps'][number] | undefined {
    return at === undefined ? undefined : this.of(stream)?.gaps.find((g) => at >= g.from && at < g.to)
  }

  private drop(stream: string): void {
    this.asked.delete(stream)
    const { [stream]: _, ...rest } = this.data
    this.data = rest
  }
}
