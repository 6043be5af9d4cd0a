// The versions of the tools that npm does not pin. wasm-bindgen must equal the crate of that name in Cargo.lock.
export const wasmBindgen = '0.2.130';

// The newest Litestream, the newest that reads and writes only the older page format, and the last of the old layout.
export const litestream = ['0.5.17', '0.5.15', '0.3.13'];

// A real S3 server for the tests; 0.17 wants a newer Rust.
export const s3sFs = '0.14.1';

// A real Azure Blob Storage server for the tests; 3.37 wants a newer Node.
export const azurite = '3.34.0';

// Lint findings fail the tests on this compiler; on others, whose lints we have not seen, they are only shown.
export const rustForLints = '1.95';
