//! The names of what Litestream 0.3 wrote.

/// The folder of all generations.
pub(super) const GENERATIONS: &str = "generations";

/// What a key says of its object. Ordered as things are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The database file before the WAL of this index.
    Snapshot { index: u64 },
    /// The bytes of the WAL of this index, from this offset on.
    Wal { index: u64, offset: u64 },
}

/// The generation and the part that a key names: `generations/<16 digits>/snapshots/<index>.snapshot.lz4`, or
/// `…/wal/<index>_<offset>.wal.lz4`, or `…/wal/<index>/<offset>.wal.lz4`.
pub(super) fn parse(key: &str) -> Option<(&str, Part)> {
    let below = key.strip_prefix(GENERATIONS)?.strip_prefix('/')?;
    let (generation, below) = below.split_once('/')?;
    if generation.len() != 16 {
        return None;
    }
    hex(generation)?;
    if let Some(name) = below.strip_prefix("snapshots/") {
        let index = hex(name.strip_suffix(".snapshot.lz4")?)?;
        return Some((generation, Part::Snapshot { index }));
    }
    let name = below.strip_prefix("wal/")?.strip_suffix(".wal.lz4")?;
    let (index, offset) = name.split_once(['_', '/'])?;
    let (index, offset) = (hex(index)?, hex(offset)?);
    Some((generation, Part::Wal { index, offset }))
}

fn hex(digits: &str) -> Option<u64> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if !(8..=16).contains(&digits.len()) || !digits.bytes().all(is_digit) {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        let of = |below: &str| parse(&format!("generations/77333b7c8b87bc11/{below}")).map(|(_, part)| part);
        assert_eq!(
            of("snapshots/0000000a.snapshot.lz4"),
            Some(Part::Snapshot { index: 10 })
        );
        let wal = Part::Wal {
            index: 1,
            offset: 0x1038,
        };
        assert_eq!(of("wal/00000001_00001038.wal.lz4"), Some(wal));
        assert_eq!(of("wal/00000001/00001038.wal.lz4"), Some(wal));
        assert_eq!(of("wal/00000001_00001038.wal.lz4.tmp"), None);
        assert_eq!(of("wal/00000001_000010G8.wal.lz4"), None);
        assert_eq!(of("wal/00000001.wal.lz4"), None);
        assert_eq!(of("snapshots/+000000a.snapshot.lz4"), None);
        assert_eq!(
            parse("generations/77333b7c8b87bc1/snapshots/00000000.snapshot.lz4"),
            None
        );
        assert_eq!(parse("ltx/0/0000000000000001-0000000000000001.ltx"), None);
    }
}
