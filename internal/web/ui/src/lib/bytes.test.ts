import { expect, test } from 'vitest'
import { size } from './bytes'

test.each([[0, '0 MB'], [7.4e6, '7 MB'], [99.4e6, '99 MB'], [100e6, '0.1 GB'], [1.26e9, '1.3 GB'], [252e9, '252 GB'], [3.6e12, '3.6 TB'], [16e12, '16 TB'], [2e15, '2.0 PB']])('%d', (n, want) => expect(size(n)).toBe(want))
