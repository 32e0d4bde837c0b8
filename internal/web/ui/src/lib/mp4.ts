// Splits a stream of bytes into the pieces that a SourceBuffer takes whole: the initialisation segment (ftyp, moov) and fragments
// (prft, moof, mdat). ISO/IEC 14496-12. What comes from the recorder is trusted to be well formed, but not to be small.

export interface Piece {
  kind: 'init' | 'fragment'
  bytes: Uint8Array<ArrayBuffer>
  /** decode time of the first sample, ms since the epoch; 0 for init */
  time: number
  /** when each picture is to be shown, ms since the epoch, in decode order; they have no even distance */
  pictures: number[]
  /** the camera's clock less the recorder's when the first unit came, ms; undefined where the camera does not tell */
  ahead?: number
}

const ticksPerMs = 90
const maxPiece = 64 << 20

function boxAt(v: DataView, at: number): { size: number; kind: string } | undefined {
  if (at + 8 > v.byteLength) return undefined
  return { size: v.getUint32(at), kind: String.fromCharCode(v.getUint8(at + 4), v.getUint8(at + 5), v.getUint8(at + 6), v.getUint8(at + 7)) }
}

/** Finds the first box of a kind inside a range, looking into containers on the way. */
function find(v: DataView, from: number, to: number, path: string[]): number {
  for (let at = from; at + 8 <= to; ) {
    const b = boxAt(v, at)
    if (!b || b.size < 8 || at + b.size > to) return -1
    if (b.kind === path[0]) return path.length === 1 ? at : find(v, at + 8, at + b.size, path.slice(1))
    at += b.size
  }
  return -1
}

function decodeTime(v: DataView, moof: number, size: number): number {
  const at = find(v, moof + 8, moof + size, ['traf', 'tfdt'])
  return at < 0 ? 0 : Number(v.getBigUint64(at + 12)) / ticksPerMs
}

/** The times of the pictures: track 1, as the recorder writes its trun (duration, size, flags and maybe composition offset of each). */
function pictureTimes(v: DataView, moof: number, size: number): number[] {
  const traf = find(v, moof + 8, moof + size, ['traf'])
  if (traf < 0) return []
  const end = traf + v.getUint32(traf)
  const tfhd = find(v, traf + 8, end, ['tfhd'])
  const run = find(v, traf + 8, end, ['trun'])
  if (tfhd < 0 || run < 0 || v.getUint32(tfhd + 12) !== 1) return []
  const flags = v.getUint32(run + 8) & 0xffffff
  const row = flags === 0xf01 ? 16 : flags === 0x701 ? 12 : 0
  const count = v.getUint32(run + 12)
  if (!row || run + 20 + count * row > end) return []
  const out: number[] = []
  let at = decodeTime(v, moof, size)
  for (let i = 0, p = run + 20; i < count; i++, p += row) {
    out.push(at + (row === 16 ? v.getInt32(p + 12) / ticksPerMs : 0))
    at += v.getUint32(p) / ticksPerMs
  }
  return out
}

const ntpEpoch = 2_208_988_800_000 // ms from 1900 to 1970
const oursFlags = 8
const cameraFlags = 24

/** A clock's time in a prft box (ISO/IEC 14496-12, 8.16.5), ms since the epoch, and whose it is. */
function producerTime(v: DataView, at: number, size: number): { flags: number; ms: number } | undefined {
  if (size < 24) return undefined
  return { flags: v.getUint32(at + 8) & 0xffffff, ms: v.getUint32(at + 16) * 1000 + v.getUint32(at + 20) / 4_294_967.296 - ntpEpoch }
}

export class Splitter {
  private rest = new Uint8Array(0)

  /** Adds bytes and returns the pieces that are complete now. */
  push(chunk: Uint8Array): Piece[] {
    const all = new Uint8Array(this.rest.length + chunk.length)
    all.set(this.rest)
    all.set(chunk, this.rest.length)
    const view = new DataView(all.buffer)
    const out: Piece[] = []
    let start = 0
    let time = 0
    let pictures: number[] = []
    let ours: number | undefined, cameras: number | undefined
    for (let at = 0; ; ) {
      const b = boxAt(view, at)
      if (!b) break
      if (b.size < 8 || b.size > maxPiece) throw new Error(`box ${b.kind} of ${b.size} bytes`)
      if (at + b.size > all.length) break
      if (b.kind === 'moof') {
        time = decodeTime(view, at, b.size)
        pictures = pictureTimes(view, at, b.size)
      }
      const clock = b.kind === 'prft' ? producerTime(view, at, b.size) : undefined
      if (clock?.flags === oursFlags) ours = clock.ms
      if (clock?.flags === cameraFlags) cameras = clock.ms
      at += b.size
      if (b.kind === 'moov' || b.kind === 'mdat') {
        out.push({ kind: b.kind === 'moov' ? 'init' : 'fragment', bytes: all.slice(start, at), time, pictures, ahead: ours === undefined || cameras === undefined ? undefined : cameras - ours })
        pictures = []
        ours = cameras = undefined
        start = at
      }
    }
    this.rest = all.slice(start)
    return out
  }
}
