// How many pictures stand side by side, and how their order changes. Pure.

const least = 220 // pixels below which a picture is too small to be told apart
const mostColumns = 8

/** Columns for so many tiles in so much room: as square as the room, none narrower than it must be. */
export function columns(tiles: number, width: number, height: number): number {
  if (tiles <= 1) return 1
  const fit = Math.max(1, Math.min(Math.floor(width / least), mostColumns, tiles))
  let best = 1
  let area = 0
  for (let c = 1; c <= fit; c++) {
    const rows = Math.ceil(tiles / c)
    const w = Math.min(width / c, (height / rows) * (16 / 9)) // all in sight without scrolling
    if (w > area + 0.5) [best, area] = [c, w]
  }
  // Where they do not all fit in sight at a size that helps, one scrolls.
  return area < least ? fit : best
}

/** How wide the columns may be together so that all rows are in sight; undefined where one scrolls anyway. */
export function inSight(tiles: number, columns: number, width: number, height: number): number | undefined {
  const tile = (height / Math.ceil(tiles / columns)) * (16 / 9)
  return tile < least || tile * columns >= width ? undefined : Math.floor(tile * columns)
}

/** The list with one item at another place. */
export function moved<T>(list: readonly T[], item: T, to: number): T[] {
  const rest = list.filter((x) => x !== item)
  if (rest.length === list.length) return [...list]
  rest.splice(Math.max(0, Math.min(to, rest.length)), 0, item)
  return rest
}
