// Sizes of disks, as their makers count.

/** "3.6 TB". What was recorded a moment ago is more than nothing too. */
export function size(bytes: number): string {
  const units = ['MB', 'GB', 'TB', 'PB'] as const
  let n = bytes / 1e6
  let i = 0
  for (; n >= (i ? 1000 : 100) && i < 3; i++) n /= 1000
  return `${n.toFixed(i && n < 10 ? 1 : 0)} ${units[i]}`
}
