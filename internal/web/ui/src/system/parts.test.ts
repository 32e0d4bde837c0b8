import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parts, remedy } from './parts'

const source = readFileSync(join(import.meta.dirname, '../../../../alert/kinds.go'), 'utf8')
const kinds = [...source.matchAll(/Kind = "([a-z-]+)"/g)].map((m) => m[1]!)

test('every trouble leads to what helps', () => {
  expect(kinds.length).toBeGreaterThan(30)
  for (const kind of kinds) {
    const to = remedy({ kind })
    if (to.place === 'system') expect(parts, kind).toContain(to.id)
    expect(to.text, kind).toBeTruthy()
  }
})

test('the ones that people meet most', () => {
  expect(remedy({ kind: 'camera-lost', camera: 'c1' })).toMatchObject({ place: 'cameras', id: 'c1' })
  expect(remedy({ kind: 'file-damaged', camera: 'c1' })).toMatchObject({ place: 'alerts' }) // it is the disk's trouble, not the camera's
  for (const [kind, part] of [['disk-trouble', 'disks'], ['space-low', 'disks'], ['account-locked', 'people'], ['clock-free', 'language'], ['certificate', 'certificate'], ['audit-tampered', 'log'], ['retention-short', 'recording']])
    expect(remedy({ kind: kind! }), kind).toMatchObject({ place: 'system', id: part })
})
