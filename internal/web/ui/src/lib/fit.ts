// How many days of footage fit.

const day = 86_400

/** Bytes a day of so many bits a second. */
export const perDay = (bitsPerSecond: number) => (bitsPerSecond / 8) * day

/** Days that fit into room bytes at so many bytes a day; undefined while that is not known. */
export const fit = (room: number, bytesPerDay: number): number | undefined => (bytesPerDay > 0 ? room / bytesPerDay : undefined)

/** What a slider offers; 0 is as long as there is space. kept is among them. */
export function choices(kept: number): number[] {
  const days = [...new Set([1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 365, kept])].filter((n) => n > 0).sort((a, b) => a - b)
  return [...days, 0]
}

/** Days in words' numbers: one decimal below ten. */
export const round = (days: number) => (days < 10 ? Math.floor(days * 10) / 10 : Math.floor(days))
