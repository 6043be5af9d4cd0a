//! CRC-64/GO-ISO of bytes: by the processor's carry-less multiplication in the native build, by tables in the others, which must
//! be small.

use std::hint::black_box;
use std::sync::LazyLock;

use crc::{CRC_64_GO_ISO, Crc, Table};

/// Made at the first use, within some microseconds: as data, it would be 32 kB of every WebAssembly file.
static TABLES: LazyLock<Crc<u64, Table<16>>> =
    LazyLock::new(|| Crc::<u64, Table<16>>::new(black_box(&CRC_64_GO_ISO)));

/// The CRC of some bytes.
pub(crate) fn crc64(bytes: &[u8]) -> u64 {
    extend(0, bytes)
}

/// The CRC of those bytes that `crc` is of, and of these behind them.
#[cfg(feature = "native")]
pub(super) fn extend(crc: u64, bytes: &[u8]) -> u64 {
    /// To set the other up takes longer than the tables need for so many bytes.
    const SHORT: usize = 64;
    if bytes.len() < SHORT {
        return by_tables(crc, bytes);
    }
    let mut digest = crc_fast::Digest::new_with_init_state(crc_fast::CrcAlgorithm::Crc64GoIso, !crc);
    digest.update(bytes);
    digest.finalize()
}

/// The CRC of those bytes that `crc` is of, and of these behind them.
#[cfg(not(feature = "native"))]
pub(super) fn extend(crc: u64, bytes: &[u8]) -> u64 {
    by_tables(crc, bytes)
}

/// Sixteen bytes at once, as the library does too; but its code is generic, so it would be compiled here, to be small, with a check
/// of bounds for every byte.
#[rustfmt::skip]
fn by_tables(crc: u64, bytes: &[u8]) -> u64 {
    let [t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11, t12, t13, t14, t15] = TABLES.table();
    // An index of eight bits is within 256.
    let at = |table: &[u64; 256], byte: u8| table.get(usize::from(byte)).copied().unwrap_or(0);
    let mut crc = !crc;
    let (blocks, rest) = bytes.as_chunks::<16>();
    for block in blocks {
        let [a, b, c, d, e, f, g, h] = (crc ^ u128::from_le_bytes(*block) as u64).to_le_bytes();
        crc = at(t15, a) ^ at(t14, b) ^ at(t13, c) ^ at(t12, d) ^ at(t11, e) ^ at(t10, f) ^ at(t9, g) ^ at(t8, h);
        let [.., a, b, c, d, e, f, g, h] = *block;
        crc ^= at(t7, a) ^ at(t6, b) ^ at(t5, c) ^ at(t4, d) ^ at(t3, e) ^ at(t2, f) ^ at(t1, g) ^ at(t0, h);
    }
    for byte in rest {
        let [low, ..] = crc.to_le_bytes();
        crc = at(t0, low ^ byte) ^ (crc >> 8);
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_one_of_the_catalogue() {
        assert_eq!(crc64(b"123456789"), 0xb909_56c7_75a4_1001);
        assert_eq!(crc64(b""), 0);
    }

    /// At every length and alignment that the faster way treats by itself, and cut anywhere.
    #[test]
    fn every_way_gives_the_same() {
        let bytes: Vec<u8> = (0..70_000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        for len in (0..1100).chain([4095, 4096, 4100, 65_536, 69_000]) {
            let start = len % 61;
            let part = &bytes[start..start + len];
            let expected = TABLES.checksum(part);
            assert_eq!(crc64(part), expected, "{len}");
            assert_eq!(by_tables(0, part), expected, "{len}");
            let (one, other) = part.split_at(len / 3);
            assert_eq!(extend(crc64(one), other), expected, "{len}");
        }
    }
}
