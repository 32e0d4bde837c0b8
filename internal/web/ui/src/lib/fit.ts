// How many days of footage fit.

const day = 86_400

/** Bytes a day of so many bits a second. */
export const perDay = (bitsPerSecond: number) => (bitsPerSecond / 8) * day

/** Days that fit into room bytes at so many bytes a day; undefined while that is not known. */
export const fit = (room: number, bytesPerDay: number): number | undefined => (bytesPerDay > 0 ? Math.max(room, 0) / bytesPerDay : undefined)

/** A camera that records: the days of its own, if it has any (0: as long as there is space), and its rate. */
export interface Share { days?: number; bitsPerSecond: number }

/**
 * Of all bytes a day those that follow the days of the recorder, and what the others take, which are kept for a number of days of their
 * own. One that is kept as long as there is space takes what is left like the rest. The rates say who has which part of it.
 */
export function share(bytesPerDay: number, cameras: Share[]): { shared: number; taken: number } {
  const all = cameras.reduce((n, c) => n + c.bitsPerSecond, 0)
  if (all === 0) return { shared: bytesPerDay, taken: 0 }
  const part = (c: Share) => (bytesPerDay * c.bitsPerSecond) / all
  return { shared: cameras.reduce((n, c) => n + (c.days ? 0 : part(c)), 0), taken: cameras.reduce((n, c) => n + (c.days ? c.days * part(c) : 0), 0) }
}

/** What a slider offers; 0 is as long as there is space. kept is among them. */
export function choices(kept: number): number[] {
  const days = [...new Set([1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 365, kept])].filter((n) => n > 0).sort((a, b) => a - b)
  return [...days, 0]
}

/** Days in words' numbers: one decimal below ten. */
export const round = (days: number) => (days < 10 ? Math.floor(days * 10) / 10 : Math.floor(days))
