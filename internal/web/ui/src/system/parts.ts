// The parts of the page System: "#system/<part>".

import type { Key } from '../lib/i18n'

export const parts = ['recording', 'disks', 'people', 'language', 'certificate', 'changes', 'log', 'about'] as const
export type Part = (typeof parts)[number]

export const partNames: Record<Part, Key> = {
  recording: 'system.partRecording', disks: 'system.partDisks', people: 'system.partPeople', language: 'system.partLanguage',
  certificate: 'system.partCertificate', changes: 'system.partChanges', log: 'nav.log', about: 'system.partAbout',
}

/** What helps where an alert of a kind stands: a place of the page, and its name. */
export function remedy(alert: { kind: string; camera?: string }): { place: 'cameras' | 'system' | 'alerts'; id: string; text: Key } {
  if (alert.camera && !/^file-|^key-/.test(alert.kind)) return { place: 'cameras', id: alert.camera, text: 'system.mend' }
  const to: [RegExp, Part, Key][] = [
    [/^(disk|volume|space)-/, 'disks', 'system.seeDisks'],
    [/^retention-/, 'recording', 'system.seeRecording'],
    [/^(signin|account)-/, 'people', 'system.seePeople'],
    [/^clock-/, 'language', 'system.seeClock'],
    [/^certificate/, 'certificate', 'system.seeCertificate'],
    [/^audit-/, 'log', 'system.seeLog'],
  ]
  const found = to.find(([kind]) => kind.test(alert.kind))
  return found ? { place: 'system', id: found[1], text: found[2] } : { place: 'alerts', id: '', text: 'system.whatToDo' }
}
