export default {
  entry: ['./src/index.html', './src/main.js'],
  // The page itself goes along as it is.
  module: { rules: [{ test: /index\.html$/, type: 'asset/resource', generator: { filename: 'index.html' } }] },
};
