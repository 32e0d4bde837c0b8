import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Thumbs } from './thumbs'

let made = 0
const revoked: string[] = []

beforeEach(() => {
  made = 0
  revoked.length = 0
  vi.stubGlobal('URL', Object.assign(URL, { createObjectURL: () => `blob:${++made}`, revokeObjectURL: (u: string) => revoked.push(u) }))
})
afterEach(() => vi.useRealTimers())

function rig(answer: (at: number) => Blob | undefined | Error = () => new Blob(['x'])) {
  const asked: number[] = []
  const shown: (string | undefined)[] = []
  const waiting: (() => void)[] = []
  const thumbs = new Thumbs(
    async (_, at) => {
      asked.push(at)
      await new Promise<void>((ok) => waiting.push(ok))
      const a = answer(at)
      if (a instanceof Error) throw a
      return a && { blob: a, at }
    },
    (thumb) => shown.push(thumb?.url),
  )
  const come = async () => {
    waiting.shift()!()
    await new Promise((ok) => setTimeout(ok))
  }
  return { thumbs, asked, shown, come }
}

test('one is asked for at a time, and the newest wish is the next', async () => {
  const r = rig()
  for (const at of [1000, 2000, 3000, 9000]) r.thumbs.want('s', at, 1)
  expect(r.asked).toEqual([1000])
  await r.come()
  expect(r.asked).toEqual([1000, 9000])
  expect(r.shown).toEqual(['blob:1']) // on the way
  await r.come()
  expect(r.shown.at(-1)).toBe('blob:2')
  r.thumbs.want('s', 1400, 1) // the same second: kept
  expect(r.shown.at(-1)).toBe('blob:1')
  expect(r.asked).toEqual([1000, 9000])
})

test('where nothing was recorded nothing is shown, and it is not asked again', async () => {
  const r = rig(() => undefined)
  r.thumbs.want('s', 5000, 1)
  await r.come()
  r.thumbs.want('s', 5000, 1)
  expect(r.shown).toEqual([undefined, undefined])
  expect(r.asked).toEqual([5000])
})

test('after an error it rests', async () => {
  const r = rig(() => new Error('503'))
  r.thumbs.want('s', 5000, 1)
  await r.come()
  r.thumbs.want('s', 6000, 1)
  expect(r.asked).toEqual([5000])
  vi.useFakeTimers({ now: Date.now() + 6000 })
  r.thumbs.want('s', 7000, 1)
  expect(r.asked).toEqual([5000, 7000])
})

test('far out the instants are on a grid, and only so many are kept', async () => {
  const r = rig()
  r.thumbs.want('s', 123_456_789, 60_000)
  expect(r.asked).toEqual([123_360_000])
  await r.come()
  for (let i = 0; i < 320; i++) {
    r.thumbs.want('s', i * 1000, 1)
    await r.come()
  }
  expect(revoked.length).toBe(21)
  r.thumbs.close()
  expect(revoked.length).toBe(321)
  r.thumbs.want('s', 1e9, 1)
  expect(r.asked.length).toBe(321)
})
