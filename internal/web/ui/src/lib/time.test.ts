import { expect, test } from 'vitest'
import { addDays, ambiguous, clock, dayOf, dayRange, instantOf, instantsOf, offset } from './time'

const berlin = 'Europe/Berlin'
const taipei = 'Asia/Taipei'
const hour = 3_600_000

test.each([
  ['2026-11-24', taipei, 24],
  ['2026-03-29', berlin, 23], // the clock goes forward
  ['2026-10-25', berlin, 25], // and back
  ['2026-10-04', 'Australia/Lord_Howe', 23.5], // by half an hour
])('%s in %s has %d hours', (day, zone, hours) => {
  const [from, to] = dayRange(day, zone)
  expect((to - from) / hour).toBe(hours)
  expect(dayOf(from, zone)).toBe(day)
  expect(dayOf(to - 1, zone)).toBe(day)
  expect(dayOf(to, zone)).toBe(addDays(day, 1))
})

test('the hour that comes twice can be told apart', () => {
  const first = instantOf('2026-10-25T02:30', berlin)
  expect(new Date(first).toISOString()).toBe('2026-10-25T00:30:00.000Z')
  expect(clock(first, berlin, 'en')).toBe('02:30:00 UTC+2')
  expect(clock(first + hour, berlin, 'en')).toBe('02:30:00 UTC+1')
  expect(ambiguous(first - hour, berlin)).toBe(false)
  expect(clock(first + 2 * hour, berlin, 'en')).toBe('03:30:00')
})

test('a time that the clock skips counts from after the step', () => {
  expect(new Date(instantOf('2026-03-29T02:30', berlin)).toISOString()).toBe('2026-03-29T01:30:00.000Z')
  expect(clock(instantOf('2026-03-29T02:30', berlin), berlin, 'en')).toBe('03:30:00')
})

test('offsets', () => {
  expect(offset(0, taipei)).toBe(480)
  expect(offset(Date.UTC(2026, 6, 1), 'America/St_Johns')).toBe(-150)
})

test.each([
  ['2026-10-25T02:30:00', berlin, ['2026-10-25T00:30:00.000Z', '2026-10-25T01:30:00.000Z']], // twice
  ['2026-10-25T03:00:00', berlin, ['2026-10-25T02:00:00.000Z']],
  ['2026-03-29T02:30:00', berlin, []], // never
  ['2026-03-29T03:00:00', berlin, ['2026-03-29T01:00:00.000Z']],
  ['2026-11-24T14:03:27', taipei, ['2026-11-24T06:03:27.000Z']],
])('the instants of %s in %s', (local, zone, want) => {
  expect(instantsOf(local, zone).map((ms) => new Date(ms).toISOString())).toEqual(want)
})
