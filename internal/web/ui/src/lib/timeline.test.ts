import { expect, test } from 'vitest'
import { columns, instant, merge, minSpan, pan, spanOf, ticks, wheelFactor, x, zoom, type View } from './timeline'
import { clock, dayRange, offset } from './time'

const day: View = { from: 0, to: 86_400_000, width: 960 }

test('pixels and instants are inverses, zoom holds the pixel', () => {
  expect(instant(day, x(day, 12_345_678))).toBeCloseTo(12_345_678, 3)
  const z = zoom(day, 240, 0.5)
  expect(instant(z, 240)).toBeCloseTo(instant(day, 240), 3)
  expect(zoom(day, 0, 1e-9).to - zoom(day, 0, 1e-9).from).toBe(minSpan)
  expect(pan(day, 96).from).toBe(8_640_000)
})

test.each([
  ['2026-03-29', 22],
  ['2026-10-25', 24],
  ['2026-10-26', 23],
])('hours of %s in Berlin are all there and round', (d, inner) => {
  const zone = 'Europe/Berlin'
  const [from, to] = dayRange(d, zone)
  const got = ticks({ from, to, width: 25 * 40 }, 38, (ms) => offset(ms, zone))
  expect(got[0]!.step).toBe(3_600_000)
  expect(got.length).toBe(inner + 2) // both midnights
  for (const t of got) expect(clock(t.at, zone, 'en', false)).toMatch(/^\d\d:00/)
})

test('a second has ticks of parts of it, and a month of days', () => {
  const got = ticks({ from: 1000, to: 2000, width: 800 }, 60, () => 0)
  expect(got.map((t) => t.at)).toEqual([1000, 1100, 1200, 1300, 1400, 1500, 1600, 1700, 1800, 1900, 2000])
  const [from] = dayRange('2026-03-01', 'Europe/Berlin')
  const [, to] = dayRange('2026-03-31', 'Europe/Berlin')
  const days = ticks({ from, to, width: 1240 }, 38, (ms) => offset(ms, 'Europe/Berlin'))
  expect(days.length).toBe(32)
  for (const t of days) expect(clock(t.at, 'Europe/Berlin', 'en', false)).toBe('00:00')
})

test('ranges nearer than a pixel become one', () => {
  const r = [{ from: 0, to: 60_000 }, { from: 60_100, to: 120_000 }, { from: 1_000_000, to: 1_060_000 }, { from: 90_000_000, to: 91_000_000 }]
  expect(merge(day, r)).toEqual([{ from: 0, to: 120_000 }, { from: 1_000_000, to: 1_060_000 }])
})

test('cells are columns as high as there is footage, of the last one what has passed', () => {
  const v: View = { from: 1000, to: 5000, width: 400 }
  expect(columns({ from: 0, length: 1000, seconds: [1, 0.5, 0, 2, 0.25, 1] }, v, 4500)).toEqual([
    { x: 0, width: 100, part: 0.5 }, { x: 200, width: 100, part: 1 }, { x: 300, width: 50, part: 0.5 },
  ])
  expect(columns({ from: 0, length: 1000, seconds: [] }, v, 4500)).toEqual([])
})

test.each([[28, 24, 'month'], [31 + 1 / 24, 24, 'month'], [7 + 1 / 24, 24, 'week'], [1, 24, 'day'], [25 / 24, 25, 'day'], [1, 25, undefined], [1 / 24, 24, 'hour'], [3, 24, undefined]] as const)('%d days are a span', (days, hours, want) => {
  expect(spanOf(days * 86_400_000, hours)).toBe(want)
})

test('the wheel', () => {
  expect(wheelFactor(100, 0)).toBe(1.25)
  expect(wheelFactor(-100, 0)).toBe(0.8)
  expect(wheelFactor(1e9, 0)).toBe(1.5625)
  expect(wheelFactor(3, 1)).toBeCloseTo(1.25, 1)
  expect(wheelFactor(4, 0)).toBeLessThan(1.01)
})
