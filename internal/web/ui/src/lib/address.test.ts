import { expect, test } from 'vitest'
import { credentials, encrypted, parseLines } from './address'

test.each([
  ['rtsp://admin:p%40ss@192.0.2.1/s', { address: 'rtsp://192.0.2.1/s', user: 'admin', password: 'p@ss' }],
  ['rtsps://admin@cam.local:322/s?x=1', { address: 'rtsps://cam.local:322/s?x=1', user: 'admin' }],
  ['rtsp://admin:a@b@192.0.2.1/s', { address: 'rtsp://192.0.2.1/s', user: 'admin', password: 'a@b' }],
  ['rtsp://192.0.2.1/s', undefined],
  ['rtsp://192.0.2.1/s@2', undefined],
])('credentials of %s', (address, want) => expect(credentials(address)).toEqual(want))

test('the encrypted address', () => {
  expect(encrypted('rtsp://192.0.2.1:554/s?x=1')).toBe('rtsps://192.0.2.1:322/s?x=1')
  expect(encrypted('rtsps://192.0.2.1/s')).toBeUndefined()
})

test.each([
  ['rtsp://192.0.2.1/s', '192.0.2.1', ['rtsp://192.0.2.1/s']],
  ['Front door   rtsp://192.0.2.1/s', 'Front door', ['rtsp://192.0.2.1/s']],
  ['"Door, front",rtsps://192.0.2.1:322/s', 'Door, front', ['rtsps://192.0.2.1:322/s']],
  ['Till 192.0.2.65', 'Till', ['rtsps://192.0.2.65:322/', 'rtsp://192.0.2.65/']],
  ['192.0.2.65:8554', '192.0.2.65', ['rtsps://192.0.2.65:8554/', 'rtsp://192.0.2.65:8554/']],
  ['Yard\t192.0.2.9/live', 'Yard', ['rtsps://192.0.2.9:322/live', 'rtsp://192.0.2.9/live']],
  ['[2001:db8::1]:554/x', '[2001:db8::1]', ['rtsps://[2001:db8::1]:554/x', 'rtsp://[2001:db8::1]:554/x']],
  ['camera7', 'camera7', ['rtsps://camera7:322/', 'rtsp://camera7/']],
  ['倉庫 rtsp://192.0.2.1/s', '倉庫', ['rtsp://192.0.2.1/s']],
])('the line %s', (line, name, tries) => {
  const [got] = parseLines(line, [])
  expect(got).toMatchObject({ name, tries })
  expect(got!.fault).toBeUndefined()
})

test('tables may say user and password', () => {
  expect(parseLines('Door;rtsp://192.0.2.1/s;admin;se cret', [])[0]).toMatchObject({ name: 'Door', user: 'admin', password: 'se cret' })
  expect(parseLines('Door,192.0.2.1,admin', [])[0]).toMatchObject({ name: 'Door', user: 'admin', password: undefined, bare: true })
  expect(parseLines('rtsp://amy:x@192.0.2.1/s', [])[0]).toMatchObject({ typed: 'rtsp://192.0.2.1/s', user: 'amy', password: 'x' })
})

test('what is wrong is named', () => {
  const there = [{ name: 'Old', streams: [{ url: 'rtsp://192.0.2.7/s' }] }]
  const got = parseLines('http://192.0.2.1/\nA rtsp://192.0.2.2/s\nB rtsp://192.0.2.2/s\nrtsp://192.0.2.7/s\n???\n# a note\n\nOld 192.0.2.3', there)
  expect(got.map((l) => l.fault)).toEqual([
    { why: 'not-rtsp', arg: 'http://192.0.2.1/' }, undefined, { why: 'twice', arg: 'A' }, { why: 'there', arg: 'Old' }, { why: 'not-address', arg: '???' }, undefined,
  ])
  expect(got.at(-1)!.name).toBe('Old 2')
})

test('names are made different, and lines are bounded', () => {
  expect(parseLines('rtsp://192.0.2.1/a\nrtsp://192.0.2.1/b', []).map((l) => l.name)).toEqual(['192.0.2.1', '192.0.2.1 2'])
  expect(parseLines('192.0.2.1\n'.repeat(500), []).length).toBe(65) // one more than goes: that is said
})
