// Instants are ms since the epoch; days are local days of a named zone, which have 23 or 25 hours twice a year.

const formats = new Map<string, Intl.DateTimeFormat>()

function format(locale: string, zone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = locale + zone + JSON.stringify(options)
  let f = formats.get(key)
  if (!f) formats.set(key, (f = new Intl.DateTimeFormat(locale, { ...options, timeZone: zone })))
  return f
}

/** Minutes that the zone is ahead of UTC at an instant. */
export function offset(ms: number, zone: string): number {
  const p: Record<string, number> = {}
  const f = format('en-US', zone, { hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric' })
  for (const part of f.formatToParts(ms)) p[part.type] = Number(part.value)
  const local = Date.UTC(p.year!, p.month! - 1, p.day!, p.hour!, p.minute!, p.second!)
  return Math.round((local - Math.floor(ms / 1000) * 1000) / 60_000)
}

/** The first instant of a local time "2026-10-25", "2026-10-25T02:30"; a time that the clock skips counts from after the step. */
export function instantOf(local: string, zone: string): number {
  const wanted = Date.parse((local.length === 10 ? local + 'T00:00' : local) + 'Z')
  // The zone's offset a day before and a day after bound what it can be then; the earlier instant that reads as wanted wins.
  const guesses = [offset(wanted - 86_400_000, zone), offset(wanted + 86_400_000, zone)].map((o) => wanted - o * 60_000)
  const right = guesses.filter((ms) => ms + offset(ms, zone) * 60_000 === wanted)
  if (right.length) return Math.min(...right)
  return Math.max(...guesses)
}

/**
 * All instants of a local time, by the clock on the wall: two in the night when an hour comes twice, none when the clock skips it.
 * local has a date and a time.
 */
export function instantsOf(local: string, zone: string): number[] {
  const first = instantOf(local, zone)
  const wanted = Date.parse(local + 'Z')
  if (first + offset(first, zone) * 60_000 !== wanted) return []
  const other = twin(first, zone)
  return other === undefined ? [first] : [first, other].sort((a, b) => a - b)
}

/** The local day that holds an instant, "2026-10-25". */
export function dayOf(ms: number, zone: string): string {
  return new Date(ms + offset(ms, zone) * 60_000).toISOString().slice(0, 10)
}

/** The local day n days later. */
export function addDays(day: string, n: number): string {
  return new Date(Date.parse(day + 'T00:00Z') + n * 86_400_000).toISOString().slice(0, 10)
}

/** A local day as [first instant, first instant of the next day]. */
export function dayRange(day: string, zone: string): [number, number] {
  return [instantOf(day, zone), instantOf(addDays(day, 1), zone)]
}

/** "14:05:09"; on the night when an hour comes twice the offset is added, so that the two can be told apart. */
export function clock(ms: number, zone: string, locale: string, seconds = true): string {
  const text = format(locale, zone, { hourCycle: 'h23', hour: '2-digit', minute: '2-digit', ...(seconds ? { second: '2-digit' } : {}) }).format(ms)
  return ambiguous(ms, zone) ? `${text} ${zoneName(ms, zone)}` : text
}

/** Does this local time come twice? */
export function ambiguous(ms: number, zone: string): boolean {
  return twin(ms, zone) !== undefined
}

/** "UTC+8", "UTC+5:30". */
export function zoneName(ms: number, zone: string): string {
  const o = offset(ms, zone)
  const minutes = Math.abs(o) % 60
  return `UTC${o < 0 ? '−' : '+'}${Math.floor(Math.abs(o) / 60)}${minutes ? ':' + String(minutes).padStart(2, '0') : ''}`
}

/** A day for people: "Tue 24 November 2026". */
export function dayName(day: string, locale: string): string {
  return format(locale, 'UTC', { dateStyle: 'full' }).format(Date.parse(day + 'T12:00Z'))
}

/** A full time stamp for people: year first in both languages, because 11/10 and 10/11 have been confused. */
export function stamp(ms: number, zone: string, locale: string): string {
  const day = dayOf(ms, zone)
  return (locale === 'en' ? day : day.replaceAll('-', '/')) + ' ' + clock(ms, zone, locale)
}

/** "2026-10-25T02:30:00", what an input of local time shows. */
export function local(ms: number, zone: string): string {
  return new Date(ms + offset(ms, zone) * 60_000).toISOString().slice(0, 19)
}

/** The other instant with the same local time, on the night when an hour comes twice. */
export function twin(ms: number, zone: string): number | undefined {
  const here = offset(ms, zone)
  for (const other of [offset(ms - 10_800_000, zone), offset(ms + 10_800_000, zone)]) {
    const then = ms + (here - other) * 60_000
    if (other !== here && offset(then, zone) === other) return then
  }
  return undefined
}

/** A length of time by its two largest units: 3 days and 4 hours, 12 seconds. */
export function units(ms: number): { n: number; unit: 'd' | 'h' | 'min' | 's' }[] {
  const s = Math.max(0, Math.round(ms / 1000))
  const all = [{ n: Math.floor(s / 86_400), unit: 'd' }, { n: Math.floor(s / 3600) % 24, unit: 'h' }, { n: Math.floor(s / 60) % 60, unit: 'min' }, { n: s % 60, unit: 's' }] as const
  const first = all.findIndex((u) => u.n > 0)
  return first < 0 ? [all[3]] : all.slice(first, first + 2).filter((u) => u.n > 0)
}

/** The zones to choose from; browsers leave UTC out. */
export const zones: readonly string[] = [...new Set(['UTC', ...Intl.supportedValuesOf('timeZone')])]
