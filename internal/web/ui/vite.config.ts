import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vitest/config'

// The page is served from the binary under a policy without inline code, so nothing is inlined here.
export default defineConfig({
  plugins: [svelte()],
  base: './',
  build: { outDir: 'dist', assetsInlineLimit: 0, modulePreload: false, target: 'es2022', sourcemap: false },
  test: { include: ['src/**/*.test.ts'] },
})
