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

fn by_tables(crc: u64, bytes: &[u8]) -> u64 {
    let mut digest = TABLES.digest_with_initial((!crc).reverse_bits());
    digest.update(bytes);
    digest.finalize()
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
            let (one, other) = part.split_at(len / 3);
            assert_eq!(extend(crc64(one), other), expected, "{len}");
        }
    }
}
