// Texts of the page in the languages of Vigil: one file each, complete in both (i18n.test.ts).

import en from '../messages/en.json'
import zhTW from '../messages/zh-TW.json'

export type Key = keyof typeof en
export type Locale = 'en' | 'zh-TW'

const texts: Record<Locale, Record<Key, string>> = { en, 'zh-TW': zhTW }

/** The language asked for before: kept by the browser, else the browser's own. */
export function initialLocale(): Locale {
  const kept = localStorage.getItem('vigil.locale')
  if (kept === 'en' || kept === 'zh-TW') return kept
  return navigator.languages.some((l) => /^zh/i.test(l)) ? 'zh-TW' : 'en'
}

/** The text for a key, {names} filled in. */
export function text(locale: Locale, key: Key, args: Record<string, string | number> = {}): string {
  return texts[locale][key].replace(/\{(\w+)\}/g, (whole, name: string) => String(args[name] ?? whole))
}

export function hasText(key: string): key is Key {
  return key in en
}
