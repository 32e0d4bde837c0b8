import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import en from '../messages/en.json'
import zhTW from '../messages/zh-TW.json'
import { text } from './i18n'

function sources(dir: string): string[] {
  return readdirSync(dir, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? sources(join(dir, e.name)) : /\.(svelte|ts)$/.test(e.name) && !/\.test\.|\.gen\./.test(e.name) ? [join(dir, e.name)] : []))
}
const code = sources(join(import.meta.dirname, '..')).map((f) => readFileSync(f, 'utf8')).join('\n')

test('both languages have the same keys with the same arguments, none empty', () => {
  expect(Object.keys(zhTW)).toEqual(Object.keys(en))
  for (const [key, value] of Object.entries(en)) {
    const other = (zhTW as Record<string, string>)[key]!
    expect(value && other, key).toBeTruthy()
    const args = (s: string) => [...s.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort()
    expect(args(other), key).toEqual(args(value))
  }
})

test('every key is used, literally or by its family', () => {
  const families = [...code.matchAll(/`([a-z]+)\.\$\{/g)].map((m) => m[1] + '.')
  const unused = Object.keys(en).filter((k) => !code.includes(`'${k}'`) && !families.some((f) => k.startsWith(f)))
  expect(unused).toEqual([])
})

test('no text stands outside the message files', () => {
  const han = code.replaceAll('中文', '').match(/[\u4e00-\u9fff]+/)
  expect(han).toBeNull()
})

test('arguments are filled in, and only they', () => {
  expect(text('en', 'signout', { name: '{n}' })).toBe('Sign out {n}')
  expect(text('zh-TW', 'alerts.seenBy', { name: 'Amy' })).toBe('Amy 已確認')
})
