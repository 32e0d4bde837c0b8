import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'svelte/compiler'
import { expect, test } from 'vitest'
import en from '../messages/en.json'
import zhTW from '../messages/zh-TW.json'
import { text } from './i18n'

const root = join(import.meta.dirname, '../../../../..')

function sources(dir: string, kind: RegExp): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? (e.name === 'node_modules' ? [] : sources(join(dir, e.name), kind)) : kind.test(e.name) ? [join(dir, e.name)] : []))
}
const files = sources(join(import.meta.dirname, '..'), /\.(svelte|ts)$/).filter((f) => !/\.test\.|\.gen\./.test(f))
const code = files.map((f) => readFileSync(f, 'utf8')).join('\n')

// What the recorder can say, for the texts whose key is put together: the enumerations of the interface, and the actions of the log.
const document = readFileSync(join(root, 'internal/web/openapi.yaml'), 'utf8')
const enums = [...document.matchAll(/enum: \[([^\]]*)\]/g)].map((m) => m[1]!.split(/,\s*/))
const causes = enums.find((e) => e.includes('camera-offline'))!
const actions = sources(join(root, 'internal'), /(?<!_test)\.go$/).flatMap((f) => [...readFileSync(f, 'utf8').matchAll(/\b(?:Action\s+=|Action:|c\.record\()\s*"([a-z.-]+)"/g)].map((m) => m[1]!))
const places = /places = \[(.*?)\] as const/.exec(code)![1]!.match(/\w+/g)!
const ends = ['from', 'to', 'd', 'h', 'min', 's', 'month', 'week', 'day', 'hour']

test('both languages have the same keys with the same arguments, none empty', () => {
  expect(Object.keys(zhTW)).toEqual(Object.keys(en))
  for (const [key, value] of Object.entries(en)) {
    const other = (zhTW as Record<string, string>)[key]!
    expect(value && other, key).toBeTruthy()
    const args = (s: string) => [...s.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort()
    expect(args(other), key).toEqual(args(value))
  }
})

test('every key is used: as it stands, or by a family with an ending that can come', () => {
  const families = new Set([...code.matchAll(/`([a-z]+)\.\$\{/g)].map((m) => m[1] + '.'))
  const endings = new Set([...enums.flat(), ...actions, ...places, ...ends])
  const unused = Object.keys(en).filter((k) => {
    const family = k.slice(0, k.indexOf('.') + 1)
    return !code.includes(`'${k}'`) && !(families.has(family) && endings.has(k.slice(family.length)))
  })
  expect(unused).toEqual([])
})

test('every key that is used is there', () => {
  const used = [...code.matchAll(/\bt\(\s*'([^']+)'/g), ...code.matchAll(/\?\s*'([a-z]+\.[A-Za-z.-]+)'\s*:\s*'([a-z]+\.[A-Za-z.-]+)'/g)].flatMap((m) => m.slice(1))
  expect(used.length).toBeGreaterThan(100)
  expect(used.filter((k) => !(k in en))).toEqual([])
})

test('every cause of a gap and every action of the log has a text', () => {
  expect(causes.filter((c) => !(`cause.${c}` in en))).toEqual([])
  expect(actions.length).toBeGreaterThan(30)
  // The rights (schema Action) are declared in the same way.
  const rights = [...enums.find((e) => e.includes('playback'))!, 'public', 'self', 'console']
  expect(actions.filter((a) => !(`action.${a}` in en) && !rights.includes(a))).toEqual([])
})

test('no text stands outside the message files', () => {
  const han = code.replaceAll('中文', '').match(/[\u4e00-\u9fff]+/)
  expect(han).toBeNull()
  // Names and units that are the same in both languages.
  const same = /^(Vigil|FIPS 140-3:?|SHA-256|TCP|UDP|English|Hz|UTC)$/
  const found: string[] = []
  const walk = (node: unknown, file: string): void => {
    if (Array.isArray(node)) return node.forEach((n) => walk(n, file))
    if (!node || typeof node !== 'object') return
    const n = node as { type?: string; data?: string; name?: string; value?: unknown }
    if (n.type === 'Text' && /\p{L}{2}/u.test(n.data ?? '') && !n.data!.trim().split(/\s{2,}/).every((s) => same.test(s.trim()))) found.push(`${file}: ${n.data!.trim()}`)
    if (n.type === 'StyleDirective') return
    if (n.type === 'Attribute') {
      if (/^(title|placeholder|alt|aria-(label|description|valuetext|roledescription))$/.test(n.name ?? '')) walk(n.value, file)
      return
    }
    for (const [key, value] of Object.entries(n)) if (key !== 'metadata' && key !== 'parent') walk(value, file)
  }
  // An address stands as an example in one field.
  for (const f of files.filter((f) => f.endsWith('.svelte'))) walk(parse(readFileSync(f, 'utf8'), { modern: true }).fragment, f.slice(root.length + 1))
  expect(found.filter((s) => !s.endsWith('rtsps://192.0.2.10/stream1'))).toEqual([])
})

test('arguments are filled in, and only they', () => {
  expect(text('en', 'signout', { name: '{n}' })).toBe('Sign out {n}')
  expect(text('zh-TW', 'alerts.seenBy', { name: 'Amy' })).toBe('Amy 已確認')
})
