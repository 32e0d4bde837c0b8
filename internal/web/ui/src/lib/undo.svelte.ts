// What was changed last in the settings, and the button that takes it back.

import { call, type Problem } from './api'
import { app } from './app.svelte'

class Undo {
  /** The change that can be taken back, by its version, and what it was. */
  last = $state.raw<{ version: number; was: 'saved' | 'undone' | 'redone' | 'removed'; name?: string }>()
  problem = $state.raw<Problem>()
  busy = $state(false)

  offer(version: number, was: 'saved' | 'removed' = 'saved', name?: string): void {
    this.problem = undefined
    this.last = { version, was, name }
  }

  /** Offers what the person has just done, where the answer did not say its version. */
  async offerNewest(was: 'saved' | 'removed', name?: string): Promise<void> {
    const r = await call('get', '/changes')
    const newest = r.kind === 'ok' ? r.data.changes[0] : undefined
    if (newest?.by.name === app.session?.account && newest?.undo) this.offer(newest.version, was, name)
  }

  /** Takes a change back; then that is what can be taken back. */
  async run(version: number): Promise<void> {
    if (this.busy) return
    this.busy = true
    const r = await call('post', '/changes/{change}/undo', { params: { change: String(version) } })
    this.problem = r.kind === 'error' ? r.problem : undefined
    if (r.kind === 'ok') this.last = { version: r.data.version, was: this.last?.version === version && this.last.was === 'undone' ? 'redone' : 'undone' }
    else this.last = undefined
    await app.refresh()
    this.busy = false
  }

  close(): void {
    this.last = this.problem = undefined
  }
}

export const undo = new Undo()
