// One clock for several players, so that nine cameras show one instant. It goes on by itself; the players keep to it, each by its own
// speed (player.ts). It waits a moment for pictures that are still coming, so that all begin together, but not for ever: one that has
// nothing does not stop the others. Where none has anything it goes on with the first that has.

import type { Kept, Pace } from './player'

/** A player. */
export interface Voice {
  keepTo(at: number, rate: number, pace: Pace): Kept
}

const patience = 3000 // ms that all wait for one
const grace = 200 // ms that nobody waits: a seek takes so long
const asleep = 1000 // ms between two ticks after which time is taken to have stood still

export class Clock {
  rate = 1
  private at = 0
  private stands = false
  private ticked: number | undefined
  private lacking: number | undefined // since when somebody has no picture yet
  private gaveUp = false // on those that lack one
  private lost = false // the recorder does not answer: time stands

  constructor(
    /** The instant with footage of any of them after one without; undefined where there is none, or it is not known. */
    private readonly next: (after: number) => number | undefined,
    private readonly end: () => number, // now, beyond which there is nothing
    private readonly time: () => number = () => performance.now(),
  ) {}

  instant(): number {
    return this.at
  }

  isHeld(): boolean {
    return this.stands
  }

  hold(): void {
    this.stands = true
  }

  release(): void {
    this.stands = false
  }

  /** Goes to an instant; all wait for their pictures. */
  go(at: number): void {
    this.at = at
    this.lacking = this.time()
    this.gaveUp = false
  }

  /** Goes on, and lets the players keep to it. Returns what each has. */
  tick(voices: readonly Voice[]): Kept[] {
    const now = this.time()
    const passed = this.ticked === undefined ? 0 : now - this.ticked
    this.ticked = now
    const waits = this.lacking !== undefined && !this.gaveUp && now - this.lacking >= 0
    if (!this.stands && !waits && !this.lost && passed < asleep) this.at = Math.min(this.at + passed * this.rate, Math.max(this.at, this.end()))
    const has = voices.map((v) => v.keepTo(this.at, this.rate, this.stands ? 'stands' : waits ? 'waits' : 'runs'))
    this.lost = has.includes('failed') && !has.includes('shown')
    if (has.includes('coming')) {
      this.lacking ??= now + grace
      if (now - this.lacking > patience) this.gaveUp = true
    } else {
      this.lacking = undefined
      this.gaveUp = false
    }
    if (has.length && !this.stands && has.every((h) => h === 'none')) {
      const next = this.next(this.at)
      if (next !== undefined && next > this.at) this.go(next)
    }
    return has
  }
}
