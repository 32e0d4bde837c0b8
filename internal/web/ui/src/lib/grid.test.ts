import { expect, test } from 'vitest'
import { columns, inSight, moved } from './grid'

test.each([
  [0, 1280, 700, 1], [1, 1280, 700, 1], [2, 1280, 700, 2], [3, 1280, 700, 2], [4, 1280, 700, 2], [5, 1280, 700, 3], [6, 1280, 700, 3], [9, 1280, 700, 3],
  [16, 1920, 1000, 4], [36, 1920, 1000, 6], [36, 1280, 700, 5],
  [4, 360, 600, 1], [2, 360, 600, 1], [4, 640, 300, 2], [12, 200, 100, 1],
])('%i tiles in %i x %i: %i columns', (tiles, width, height, want) => {
  expect(columns(tiles, width, height)).toBe(want)
})

test.each([
  [1, 1, 1248, 650, 1155], [1, 1, 1248, 800, undefined], [2, 2, 1248, 650, undefined], [4, 2, 1248, 650, 1155], [3, 2, 1248, 650, 1155], [36, 5, 1248, 650, undefined],
])('%i tiles in %i columns, %i x %i: all rows are in sight when they are %s wide', (tiles, cols, width, height, want) => {
  expect(inSight(tiles, cols, width, height)).toBe(want)
})

test('an item moves, the others keep their order', () => {
  expect(moved(['a', 'b', 'c', 'd'], 'b', 3)).toEqual(['a', 'c', 'd', 'b'])
  expect(moved(['a', 'b', 'c'], 'c', 0)).toEqual(['c', 'a', 'b'])
  expect(moved(['a', 'b'], 'a', 99)).toEqual(['b', 'a'])
  expect(moved(['a', 'b'], 'a', -1)).toEqual(['a', 'b'])
  expect(moved(['a', 'b'], 'x', 0)).toEqual(['a', 'b'])
})
