import { expect, test } from 'vitest'
import { merge, put } from './news'

const x = (id: string, state: string) => ({ id, state })

test('news changes a list, and an answer that was on its way does not take it back', () => {
  const now = put(put([x('a', 'running')], x('a', 'done')), x('c', 'new'), true) // heard while the answer was made
  expect(now).toEqual([x('c', 'new'), x('a', 'done')])
  const answer = [x('b', 'done'), x('a', 'running'), x('gone', 'running')]
  expect(merge(answer, now, new Set(['a', 'c', 'gone']))).toEqual([x('c', 'new'), x('b', 'done'), x('a', 'done')])
  expect(merge(answer, now, new Set())).toEqual(answer)
})
