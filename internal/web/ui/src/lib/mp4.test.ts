import { expect, test } from 'vitest'
import { Splitter } from './mp4'

function box(kind: string, ...body: (Uint8Array | number)[]): Uint8Array {
  const flat = body.flatMap((b) => (typeof b === 'number' ? [b] : [...b]))
  const out = new Uint8Array(8 + flat.length)
  new DataView(out.buffer).setUint32(0, out.length)
  for (let i = 0; i < 4; i++) out[4 + i] = kind.charCodeAt(i)
  out.set(flat, 8)
  return out
}

function tfdt(ticks: bigint): Uint8Array {
  const b = new Uint8Array(12)
  const v = new DataView(b.buffer)
  v.setUint8(0, 1)
  v.setBigUint64(4, ticks)
  return box('tfdt', b)
}

function words(...list: number[]): Uint8Array {
  const b = new Uint8Array(list.length * 4)
  list.forEach((n, i) => new DataView(b.buffer).setUint32(i * 4, n))
  return b
}

const at = 1_900_000_000_000
const bytes = [box('ftyp', 1), box('moov', 2), box('prft', 3), box('moof', box('mfhd', 0), box('traf', box('tfhd', 0), tfdt(BigInt(at) * 90n))), box('mdat', 4, 5), box('moof', box('traf', tfdt(BigInt(at + 250) * 90n))), box('mdat', 6)]

test.each([1, 2, 7, 1000])('pieces come out whole whatever the chunks of %i bytes', (n) => {
  const all = new Uint8Array(bytes.reduce((s, b) => s + b.length, 0))
  bytes.reduce((o, b) => (all.set(b, o), o + b.length), 0)
  const s = new Splitter()
  const got = []
  for (let i = 0; i < all.length; i += n) got.push(...s.push(all.slice(i, i + n)))
  expect(got.map((p) => [p.kind, p.time])).toEqual([['init', 0], ['fragment', at], ['fragment', at + 250]])
  expect(got.reduce((sum, p) => sum + p.bytes.length, 0)).toBe(all.length)
})

test('each picture has its time, also where they are shown in another order', () => {
  const of = (track: number, ...trun: number[]) => new Splitter().push(new Uint8Array([...box('moof', box('traf', box('tfhd', words(0x020000, track)), tfdt(BigInt(at) * 90n), box('trun', words(...trun)))), ...box('mdat', 1)]))[0]!.pictures
  expect(of(1, 0x701, 3, 0, 3600, 9, 0, 4500, 9, 0, 3600, 9, 0)).toEqual([at, at + 40, at + 90])
  expect(of(1, 0xf01, 3, 0, 3600, 9, 0, 3600, 3600, 9, 0, 7200, 3600, 9, 0, 0)).toEqual([at + 40, at + 120, at + 80])
  expect(of(2, 0x701, 1, 0, 3600, 9, 0)).toEqual([])
  expect(of(1, 0x701, 1_000_000, 0, 3600, 9, 0)).toEqual([])
})

test('an absurd size is refused', () => {
  expect(() => new Splitter().push(new Uint8Array([0xff, 0xff, 0xff, 0xff, 0x6d, 0x6f, 0x6f, 0x66]))).toThrow('moof')
  expect(() => new Splitter().push(new Uint8Array([0, 0, 0, 4, 0x6d, 0x6f, 0x6f, 0x66]))).toThrow('moof')
})

test('the clock of the camera beside ours', () => {
  const prft = (flags: number, ms: number) => box('prft', words(1 << 24 | flags, 1, Math.floor(ms / 1000) + 2_208_988_800, (ms % 1000) * 4_294_967.296, 0, 0))
  const of = (...list: Uint8Array[]) => new Splitter().push(new Uint8Array([...list.flatMap((b) => [...b]), ...box('moof', box('traf', tfdt(BigInt(at) * 90n))), ...box('mdat', 1)]))[0]!.ahead
  expect(of(prft(8, at), prft(24, at - 76_500))).toBeCloseTo(-76_500, 1)
  expect(of(prft(8, at))).toBeUndefined()
  expect(of()).toBeUndefined()
  expect(of(box('prft', 1), box('prft', 2))).toBeUndefined()
})
