// Reads the clock that package clockface puts into pictures. The geometry and
// the rules are described and decided in clockface.go; a Go test holds the
// two readers against each other.
//
//   const c = new OffscreenCanvas(video.videoWidth, video.videoHeight).getContext('2d')
//   c.drawImage(video, 0, 0)
//   readClock(c.getImageData(0, 0, c.canvas.width, c.canvas.height)) // ms since the start of the minute, or null

const CELLS = 20, HEIGHT = 15, N = 5

/**
 * @param {{data: ArrayLike<number>, width: number, height: number}} image RGBA, the whole picture at any scale
 * @returns {number|null} milliseconds since the start of the minute, a multiple of 40
 */
export function readClock({ data, width, height }) {
  const v = []
  for (let cell = 0; cell < CELLS; cell++) {
    let sum = 0
    for (let y = 0; y < N; y++) {
      for (let x = 0; x < N; x++) {
        const px = Math.floor((width * (cell * 4 * N + N + 2 * x + 1)) / (CELLS * 4 * N))
        const py = Math.floor((height * (N + 2 * y + 1)) / (HEIGHT * 4 * N))
        const i = 4 * (py * width + px)
        sum += Math.floor((299 * data[i] + 587 * data[i + 1] + 114 * data[i + 2]) / 1000)
      }
    }
    v.push(Math.floor(sum / (N * N)))
  }
  const hi = Math.min(v[0], v[CELLS - 1]), lo = Math.max(v[1], v[CELLS - 2])
  if (hi - lo < 64) return null
  const mid = Math.floor((hi + lo) / 2), doubt = Math.floor((hi - lo) / 6)
  let code = 0
  for (const b of v.slice(2, CELLS - 2)) {
    if (b > mid - doubt && b < mid + doubt) return null
    code = code * 2 + (b > mid ? 1 : 0)
  }
  const tick = code >> 5, check = code & 31
  if (tick >= 1500 || check !== 31 - (tick % 31)) return null
  return tick * 40
}
