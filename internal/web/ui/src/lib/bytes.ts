// Sizes of disks, as their makers count.

/** "3.6 TB". */
export function size(bytes: number): string {
  const units = ['GB', 'TB', 'PB'] as const
  let n = bytes / 1e9
  let i = 0
  for (; n >= 1000 && i < 2; i++) n /= 1000
  return `${n.toFixed(n < 10 ? 1 : 0)} ${units[i]}`
}
