import { expect, test } from 'vitest'
import { choices, fit, perDay, round, share } from './fit'

test.each([
  ['one camera of 4 Mbit/s on 1 TB', 1e12, [4e6], 23],
  ['ten of them', 1e12, Array(10).fill(4e6), 2.3],
  ['a small disk', 1e9, [4e6], 0],
  ['no room', 0, [4e6], 0],
  ['nothing measured', 1e12, [], undefined],
])('%s', (_, room, rates: number[], days) => {
  const got = fit(room, rates.reduce((n, r) => n + perDay(r), 0))
  expect(got === undefined ? got : round(got)).toBe(days)
})

test('cameras with days of their own take theirs first', () => {
  const rest = { bitsPerSecond: 8e6 }
  const { shared, taken } = share(1400, [rest, { days: 10, bitsPerSecond: 4e6 }, { days: 0, bitsPerSecond: 2e6 }])
  expect([shared, taken]).toEqual([1000, 4000]) // as long as there is space is no number of days
  expect(fit(7000 - taken, shared)).toBe(3)
  expect(fit(3000 - taken, shared)).toBe(0)
  expect(share(1400, [rest])).toEqual({ shared: 1400, taken: 0 })
  expect(share(1400, [{ days: 3, bitsPerSecond: 0 }])).toEqual({ shared: 1400, taken: 0 }) // nothing measured yet
  expect(share(1400, [{ days: 3, bitsPerSecond: 5e6 }])).toEqual({ shared: 0, taken: 4200 })
})

test('the choices are in order and have what is kept now', () => {
  expect(choices(30)).toEqual([1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 365, 0])
  expect(choices(40)).toContain(40)
  expect(choices(0).filter((n) => n === 0)).toEqual([0])
})
