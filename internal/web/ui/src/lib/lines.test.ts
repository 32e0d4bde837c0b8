import { expect, test, vi } from 'vitest'

vi.mock('./app.svelte', () => ({ app: { heard: () => {} } }))

const { suits } = await import('./lines.svelte')
const hour = 3_600_000
const day = 24 * hour

test.each([
  ['the middle of a day and its neighbours', [0, 3 * day], [day, 2 * day], true],
  ['a little aside', [0, 3 * day], [1.5 * day, 2.5 * day], true],
  ['beyond its end', [0, 3 * day], [2.5 * day, 3.5 * day], false],
  ['much closer', [0, 3 * day], [day, day + 8 * hour], false],
  ['a day within a month, whose gaps are not all told', [0, 6 * day], [2 * day, 3 * day], false],
  ['two days within it', [0, 6 * day], [2 * day, 4 * day], true],
] as const)('%s', (_, [a, b], [from, to], want) => {
  expect(suits({ from: a, to: b }, { from, to })).toBe(want)
})
