//! A second writer of the format, from its description alone: it writes what the encoder refuses to, and shares no
//! code with it but the CRC.

use std::ops::Range;

use crc::{CRC_64_GO_ISO, Crc};

const CRC64: Crc<u64> = Crc::<u64>::new(&CRC_64_GO_ISO);

/// A segment as raw fields. What is `None` is written as it must be.
#[derive(Clone, Debug)]
pub struct Raw {
    pub header: [u8; 100],
    pub frames: Vec<Frame>,
    pub end_marker: [u8; 6],
    pub index: Option<Vec<(u64, u64, u64)>>,
    pub terminator: Vec<u8>,
    pub index_len: Option<u64>,
    pub post_apply: u64,
    pub file_checksum: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub pgno: u32,
    pub flags: u16,
    pub size: Option<u32>,
    pub payload: Vec<u8>,
    /// Part of the payload: the page check of our own codecs.
    pub check: Option<u64>,
    /// What the payload unpacks to.
    pub page: Vec<u8>,
}

impl Frame {
    /// A page as it is, with its check.
    pub fn stored(pgno: u32, page: &[u8]) -> Self {
        let check = page_crc(pgno, page);
        Self {
            pgno,
            flags: 0x0004,
            size: Some(page.len() as u32 + 8),
            payload: page.to_vec(),
            check: Some(check),
            page: page.to_vec(),
        }
    }

    fn head(&self) -> Vec<u8> {
        let mut out = self.pgno.to_be_bytes().to_vec();
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend(self.size.iter().flat_map(|size| size.to_be_bytes()));
        out
    }
}

impl Raw {
    /// A file that is right, with these frames.
    pub fn new(header: [u8; 100], frames: Vec<Frame>) -> Self {
        Self {
            header,
            frames,
            end_marker: [0; 6],
            index: None,
            terminator: vec![0],
            index_len: None,
            post_apply: 0,
            file_checksum: None,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.write().0
    }

    /// Where each field is.
    pub fn fields(&self) -> Vec<(String, Range<usize>)> {
        self.write().1
    }

    fn write(&self) -> (Vec<u8>, Vec<(String, Range<usize>)>) {
        let mut out = Writer::default();
        let mut hash = CRC64.digest();
        for (name, range) in HEADER_FIELDS {
            out.put(name, &self.header[range]);
        }
        hash.update(&self.header);
        let mut index = Vec::new();
        for frame in &self.frames {
            let start = out.bytes.len();
            let head = frame.head();
            hash.update(&head);
            hash.update(&frame.page);
            out.put("page number", &head[..4]);
            out.put("page flags", &head[4..6]);
            out.put("payload size", &head[6..]);
            out.put("payload", &frame.payload);
            if let Some(check) = frame.check {
                out.put("page check", &check.to_be_bytes());
            }
            let len = (out.bytes.len() - start) as u64;
            index.push((u64::from(frame.pgno), start as u64, len));
        }
        let tail = out.bytes.len();
        out.put("end marker", &self.end_marker);
        let index_start = out.bytes.len();
        for (pgno, offset, len) in self.index.clone().unwrap_or(index) {
            out.put("index: page", &uvarint(pgno));
            out.put("index: offset", &uvarint(offset));
            out.put("index: length", &uvarint(len));
        }
        out.put("index terminator", &self.terminator);
        let index_len = self.index_len.unwrap_or((out.bytes.len() - index_start) as u64);
        out.put("index length", &index_len.to_be_bytes());
        out.put("post-apply checksum", &self.post_apply.to_be_bytes());
        hash.update(&out.bytes[tail..]);
        let checksum = self.file_checksum.unwrap_or(hash.finalize() | 1 << 63);
        out.put("file checksum", &checksum.to_be_bytes());
        (out.bytes, out.fields)
    }
}

pub const HEADER_FIELDS: [(&str, Range<usize>); 16] = [
    ("magic", 0..4),
    ("flags", 4..8),
    ("page size", 8..12),
    ("commit", 12..16),
    ("min TXID", 16..24),
    ("max TXID", 24..32),
    ("timestamp", 32..40),
    ("pre-apply checksum", 40..48),
    ("WAL offset", 48..56),
    ("WAL size", 56..64),
    ("WAL salt 1", 64..68),
    ("WAL salt 2", 68..72),
    ("node id", 72..80),
    ("WFC1 tag", 80..84),
    ("sum before", 84..92),
    ("sum after", 92..100),
];

pub fn page_crc(pgno: u32, page: &[u8]) -> u64 {
    let mut digest = CRC64.digest();
    digest.update(&pgno.to_be_bytes());
    digest.update(page);
    digest.finalize()
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    fields: Vec<(String, Range<usize>)>,
}

impl Writer {
    fn put(&mut self, field: &str, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.fields.push((field.to_owned(), start..self.bytes.len()));
    }
}

fn uvarint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
