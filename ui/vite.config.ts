import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2023',
    // The content security policy forbids data: fonts, so nothing is inlined.
    assetsInlineLimit: 0,
    cssCodeSplit: true,
    reportCompressedSize: true,
    modulePreload: { polyfill: false },
  },
  // In development the pages talk to a server on its default port.
  server: { proxy: { '/v1': 'http://127.0.0.1:4000', '/api': 'http://127.0.0.1:4000' } },
});
