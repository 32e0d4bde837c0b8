import { expect, test } from 'vitest'
import { about, most, pan, whole } from './zoom'

test('what is under the pointer stays there', () => {
  const z = about(whole, 0.25, 0.75, 2)
  expect(z).toEqual({ scale: 2, x: -0.25, y: -0.75 })
  const again = about(z, 0.25, 0.75, 1.5)
  expect((0.25 - again.x) / again.scale).toBeCloseTo(0.25)
  expect((0.75 - again.y) / again.scale).toBeCloseTo(0.75)
})

test('the picture fills its frame, whatever is done', () => {
  expect(about(whole, 0.3, 0.3, 0.1)).toEqual(whole)
  expect(about(whole, 0.5, 0.5, 1000).scale).toBe(most)
  expect(pan(whole, 0.5, -0.5)).toEqual(whole)
  const z = about(whole, 0, 0, 2)
  expect(pan(z, 5, 5)).toEqual({ scale: 2, x: 0, y: 0 })
  expect(pan(z, -5, -5)).toEqual({ scale: 2, x: -1, y: -1 })
  expect(about(pan(z, -5, -5), 0, 0, 0.5)).toEqual(whole)
})
