// The settings that are not a camera's: read, changed, written, with what somebody else changed meanwhile refused.

import { call, type Result, type Settings } from './api'

/** Changes what there is now; the version is that of a moment ago, so that nothing of somebody else's is written over unseen. */
export async function changeSettings(change: (s: Settings) => void): Promise<Result<Settings>> {
  const now = await call('get', '/settings')
  if (now.kind !== 'ok') return now
  change(now.data)
  return call('put', '/settings', { body: now.data })
}
