import { defineConfig } from 'vite';

export default defineConfig({
  base: './',
  esbuild: { jsx: 'automatic' },
  // `vite` (not `vite build`) would copy the package into one file, away from its worker and its wasm.
  optimizeDeps: { exclude: ['walferry'] },
});
