import { expect, test } from 'vitest'
import { Clock, type Voice } from './clock'
import type { Kept, Pace } from './player'

class Fake implements Voice {
  has: Kept = 'shown'
  asked: { at: number; pace: Pace }[] = []
  keepTo(at: number, _: number, pace: Pace): Kept {
    this.asked.push({ at, pace })
    return this.has
  }
}

function rig(next: (after: number) => number | undefined = () => undefined) {
  let now = 0
  const clock = new Clock(next, () => 1_000_000, () => now)
  const voices = [new Fake(), new Fake()] as const
  const run = (ms: number) => {
    for (const end = now + ms; now < end; now += 50) clock.tick(voices)
  }
  return { clock, voices, run }
}

test('it goes on at its rate, and stands when it is held', () => {
  const { clock, run } = rig()
  clock.go(1000)
  run(100)
  const from = clock.instant()
  run(1000)
  expect(clock.instant()).toBe(from + 1000)
  clock.rate = 4
  run(1000)
  expect(clock.instant()).toBe(from + 5000)
  clock.hold()
  run(1000)
  expect(clock.instant()).toBe(from + 5000)
})

test('all wait for a picture that is coming, but not for ever', () => {
  const { clock, voices, run } = rig()
  voices[1].has = 'coming'
  clock.go(1000)
  run(2000)
  expect(clock.instant()).toBe(1000)
  expect(voices[0].asked.at(-1)).toEqual({ at: 1000, pace: 'waits' })
  voices[1].has = 'shown'
  run(1000)
  expect(clock.instant()).toBeGreaterThan(1800)
  voices[1].has = 'coming'
  run(100) // a seek is not waited for
  const here = clock.instant()
  run(2000)
  expect(clock.instant() - here).toBeLessThan(200)
  run(3000)
  expect(clock.instant() - here).toBeGreaterThan(1500)
})

test('a camera without footage stops nobody; where none has any, it goes on with the next', () => {
  const { clock, voices, run } = rig((after) => (after < 90_000 ? 90_000 : undefined))
  clock.go(1000)
  voices[0].has = 'none'
  run(1000)
  expect(clock.instant()).toBeGreaterThan(1900)
  voices[1].has = 'none'
  run(100)
  expect(clock.instant()).toBeGreaterThanOrEqual(90_000)
  const held = rig(() => 90_000)
  held.voices[0].has = held.voices[1].has = 'none'
  held.clock.go(1000)
  held.clock.hold()
  held.run(1000)
  expect(held.clock.instant()).toBe(1000) // who looks at a gap stays there
})

test('while the recorder does not answer time stands, and nothing is stepped over', () => {
  const { clock, voices, run } = rig(() => 90_000)
  clock.go(1000)
  voices[0].has = 'failed'
  voices[1].has = 'none'
  run(10_000)
  expect(clock.instant()).toBeLessThan(1200)
  voices[0].has = voices[1].has = 'shown'
  run(1000)
  expect(clock.instant()).toBeGreaterThan(1900)
})

test('it ends at now, and a night asleep is no time', () => {
  let now = 0
  const clock = new Clock(() => undefined, () => 5000, () => now)
  clock.go(4000)
  for (; now < 3000; now += 50) clock.tick([])
  expect(clock.instant()).toBe(5000)
  clock.go(1000)
  now += 8 * 3_600_000
  clock.tick([])
  expect(clock.instant()).toBe(1000)
})
