import { expect, test } from 'vitest'
import { choices, fit, perDay, round } from './fit'

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

test('the choices are in order and have what is kept now', () => {
  expect(choices(30)).toEqual([1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 365, 0])
  expect(choices(40)).toContain(40)
  expect(choices(0).filter((n) => n === 0)).toEqual([0])
})
