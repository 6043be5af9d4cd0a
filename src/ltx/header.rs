//! The first 100 bytes of a segment.

use super::bytes::Reader;
use super::{DbSum, Error, PageSize, Result, Timestamp, Txid};

const MAGIC: [u8; 4] = *b"LTX1";
/// Both checksum fields of LTX are absent. Litestream always writes it, and refuses files without it.
const NO_CHECKSUM: u32 = 0x0000_0002;
/// Marks the reserved bytes as holding walferry's [`Sums`].
const SUMS_TAG: [u8; 4] = *b"WFC1";

/// Which pages a segment holds and between which states of the database it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Size of every page.
    pub page_size: PageSize,
    /// Size of the database in pages, after this segment.
    pub commit: u32,
    /// First transaction, at least 1; 1 makes it a whole database.
    pub min_txid: Txid,
    /// Last transaction.
    pub max_txid: Txid,
    /// When the last transaction was seen.
    pub timestamp: Timestamp,
    /// LTX's own rolling checksum before, 0 where absent. walferry and Litestream write none.
    pub pre_apply_checksum: u64,
    /// Whether the file says that it carries none of LTX's rolling checksums.
    pub no_checksum: bool,
    /// Where in the WAL the transactions were; 0 where they did not come from one.
    pub wal_offset: i64,
    /// How many bytes of WAL they were.
    pub wal_size: i64,
    /// The salts of that WAL.
    pub wal_salts: [u32; 2],
    /// The node that wrote it; 0 where unset.
    pub node_id: u64,
    /// walferry's proof, absent in files of others.
    pub sums: Option<Sums>,
}

/// The state of the database that a segment applies to, and the one it yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums {
    /// Before the segment; [`DbSum::EMPTY`] for a snapshot.
    pub before: DbSum,
    /// After it.
    pub after: DbSum,
}

impl Header {
    /// Encoded length in bytes.
    pub const LEN: usize = 100;

    /// A header as walferry writes it.
    pub fn new(
        page_size: PageSize,
        commit: u32,
        txids: (Txid, Txid),
        timestamp: Timestamp,
        sums: Option<Sums>,
    ) -> Self {
        Self {
            page_size,
            commit,
            min_txid: txids.0,
            max_txid: txids.1,
            timestamp,
            pre_apply_checksum: 0,
            no_checksum: true,
            wal_offset: 0,
            wal_size: 0,
            wal_salts: [0; 2],
            node_id: 0,
            sums,
        }
    }

    /// Whether the segment holds a whole database.
    pub fn is_snapshot(&self) -> bool {
        self.min_txid == Txid::FIRST
    }

    /// Reads and checks a header.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Result<Self> {
        Self::read(&mut Reader(bytes)).unwrap_or(Err(Error::Truncated(0)))
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = Vec::with_capacity(Self::LEN);
        let flags = if self.no_checksum { NO_CHECKSUM } else { 0 };
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&flags.to_be_bytes());
        out.extend_from_slice(&self.page_size.get().to_be_bytes());
        out.extend_from_slice(&self.commit.to_be_bytes());
        out.extend_from_slice(&self.min_txid.0.to_be_bytes());
        out.extend_from_slice(&self.max_txid.0.to_be_bytes());
        out.extend_from_slice(&self.timestamp.0.to_be_bytes());
        out.extend_from_slice(&self.pre_apply_checksum.to_be_bytes());
        out.extend_from_slice(&self.wal_offset.to_be_bytes());
        out.extend_from_slice(&self.wal_size.to_be_bytes());
        out.extend_from_slice(&self.wal_salts[0].to_be_bytes());
        out.extend_from_slice(&self.wal_salts[1].to_be_bytes());
        out.extend_from_slice(&self.node_id.to_be_bytes());
        if let Some(sums) = self.sums {
            out.extend_from_slice(&SUMS_TAG);
            out.extend_from_slice(&sums.before.0.to_be_bytes());
            out.extend_from_slice(&sums.after.0.to_be_bytes());
        }
        let mut bytes = [0; Self::LEN];
        for (to, from) in bytes.iter_mut().zip(out) {
            *to = from;
        }
        bytes
    }

    /// Checks the rules that hold between the fields (superfly/ltx, `Header.Validate`).
    pub fn validate(&self) -> Result<()> {
        let rules = [
            (self.min_txid >= Txid::FIRST, "the first TXID is 0"),
            (
                self.max_txid >= self.min_txid,
                "the last TXID is before the first",
            ),
            (self.timestamp.0 >= 0, "the timestamp is before 1970"),
            (
                self.timestamp <= Timestamp::MAX,
                "the timestamp is later than dates can be",
            ),
            (
                self.wal_offset >= 0 && self.wal_size >= 0,
                "the WAL offset or size is negative",
            ),
            (
                self.wal_offset != 0 || self.wal_size == 0,
                "it has a WAL size without a WAL offset",
            ),
            (
                self.wal_offset != 0 || self.wal_salts == [0; 2],
                "it has WAL salts without a WAL offset",
            ),
            (
                !self.is_snapshot() || self.pre_apply_checksum == 0,
                "a snapshot has a checksum of the state before",
            ),
            (
                !self.no_checksum || self.pre_apply_checksum == 0,
                "it has a checksum and says that it has none",
            ),
            (
                self.no_checksum || self.is_snapshot() || self.pre_apply_checksum >> 63 == 1,
                "the checksum of the state before is missing",
            ),
            (
                !self.is_snapshot() || self.sums.is_none_or(|sums| sums.before == DbSum::EMPTY),
                "a snapshot has a database sum of the state before",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, why)) => Err(Error::Header(why)),
            None => Ok(()),
        }
    }

    /// `None` where the bytes end early.
    fn read(reader: &mut Reader<'_>) -> Option<Result<Self>> {
        let magic = reader.array()?;
        if magic != MAGIC {
            return Some(Err(Error::Magic(magic)));
        }
        let flags = reader.u32()?;
        if flags & !NO_CHECKSUM != 0 {
            return Some(Err(Error::HeaderFlags(flags)));
        }
        let page_size = match PageSize::new(reader.u32()?) {
            Ok(page_size) => page_size,
            Err(error) => return Some(Err(error)),
        };
        let header = Self {
            page_size,
            no_checksum: flags & NO_CHECKSUM != 0,
            commit: reader.u32()?,
            min_txid: Txid(reader.u64()?),
            max_txid: Txid(reader.u64()?),
            timestamp: Timestamp(reader.i64()?),
            pre_apply_checksum: reader.u64()?,
            wal_offset: reader.i64()?,
            wal_size: reader.i64()?,
            wal_salts: [reader.u32()?, reader.u32()?],
            node_id: reader.u64()?,
            sums: {
                let tag = reader.array::<4>()?;
                let sums = Sums {
                    before: DbSum(reader.u64()?),
                    after: DbSum(reader.u64()?),
                };
                (tag == SUMS_TAG).then_some(sums)
            },
        };
        Some(header.validate().map(|()| header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let sums = Sums {
            before: DbSum(5),
            after: DbSum(6),
        };
        Header::new(
            PageSize::new(4096).unwrap(),
            9,
            (Txid(2), Txid(3)),
            Timestamp(1_700_000_000_123),
            Some(sums),
        )
    }

    #[test]
    fn parses_what_it_encodes() {
        assert_eq!(Header::parse(&header().encode()).unwrap(), header());
        let with_wal = Header {
            wal_offset: 32,
            wal_size: 4120,
            wal_salts: [1, 2],
            node_id: 7,
            sums: None,
            ..header()
        };
        assert_eq!(Header::parse(&with_wal.encode()).unwrap(), with_wal);
        let with_checksum = Header {
            no_checksum: false,
            pre_apply_checksum: 1 << 63 | 5,
            ..header()
        };
        assert_eq!(Header::parse(&with_checksum.encode()).unwrap(), with_checksum);
    }

    #[test]
    fn each_broken_rule_is_named() {
        let broken = [
            (
                Header {
                    min_txid: Txid(0),
                    ..header()
                },
                "first TXID is 0",
            ),
            (
                Header {
                    max_txid: Txid(1),
                    ..header()
                },
                "last TXID is before",
            ),
            (
                Header {
                    timestamp: Timestamp(-1),
                    ..header()
                },
                "before 1970",
            ),
            (
                Header {
                    timestamp: Timestamp(Timestamp::MAX.0 + 1),
                    ..header()
                },
                "later than dates",
            ),
            (
                Header {
                    wal_offset: -1,
                    ..header()
                },
                "negative",
            ),
            (
                Header {
                    wal_size: 8,
                    ..header()
                },
                "WAL size without",
            ),
            (
                Header {
                    wal_salts: [0, 1],
                    ..header()
                },
                "WAL salts without",
            ),
            (
                Header {
                    pre_apply_checksum: 1 << 63,
                    ..header()
                },
                "says that it has none",
            ),
            (
                Header {
                    no_checksum: false,
                    ..header()
                },
                "is missing",
            ),
            (
                Header {
                    min_txid: Txid(1),
                    ..header()
                },
                "a snapshot has a database sum",
            ),
        ];
        for (header, why) in broken {
            let error = Header::parse(&header.encode()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn refuses_other_files_and_unknown_flags() {
        let mut bytes = header().encode();
        bytes[0] = b'X';
        assert!(matches!(Header::parse(&bytes), Err(Error::Magic(_))));
        let mut bytes = header().encode();
        bytes[7] |= 1;
        assert!(matches!(Header::parse(&bytes), Err(Error::HeaderFlags(3))));
        let mut bytes = header().encode();
        bytes[11] = 1;
        assert!(matches!(Header::parse(&bytes), Err(Error::PageSize(4097))));
    }
}
