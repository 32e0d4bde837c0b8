// What the timelines of the shown cameras have, as far as it was asked for. An answer is for the view and as much again on both
// sides, so that panning shows something at once.

import { call, type Problem, type Timeline } from './api'
import { app } from './app.svelte'
import { maxSpan } from './timeline'

export interface Line {
  camera: string
  stream: string
}

export class Lines {
  /** By stream. */
  data = $state.raw<Record<string, Timeline>>({})
  problem = $state<Problem>()
  private asked = new Map<string, string>()

  of(stream: string | undefined): Timeline | undefined {
    return stream === undefined ? undefined : this.data[stream]
  }

  /** Asks for what the view shows; again: also if it was asked for already. */
  async load(lines: readonly Line[], view: { from: number; to: number }, again: boolean): Promise<void> {
    const length = view.to - view.from
    const more = Math.min(length, Math.max(0, (maxSpan - length) / 2))
    const from = Math.max(0, Math.floor(view.from - more))
    const to = Math.min(Math.floor(view.to + more), from + maxSpan)
    for (const id of [...this.asked.keys()]) if (!lines.some((l) => l.stream === id)) this.drop(id)
    await Promise.all(
      lines.map(async ({ camera, stream }) => {
        const key = `${from} ${to}`
        if (!again && key === this.asked.get(stream)) return
        this.asked.set(stream, key)
        const r = await call('get', '/cameras/{camera}/timeline', { params: { camera }, query: { stream, from, to } })
        if (this.asked.get(stream) !== key) return
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
