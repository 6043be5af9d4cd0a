//! Page contents as databases have them, and as none should have.

use proptest::prelude::*;

/// What a page is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    Zeros,
    /// One byte again and again.
    Byte(u8),
    /// Words and numbers, as rows have them.
    Rows(u64),
    /// What no codec packs.
    Noise(u64),
    /// Rows, then zeros, then noise.
    Mixed(u64),
}

impl Fill {
    pub fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            Just(Self::Zeros),
            any::<u8>().prop_map(Self::Byte),
            any::<u64>().prop_map(Self::Rows),
            any::<u64>().prop_map(Self::Noise),
            any::<u64>().prop_map(Self::Mixed),
        ]
    }

    pub fn page(self, size: usize) -> Vec<u8> {
        match self {
            Self::Zeros => vec![0; size],
            Self::Byte(byte) => vec![byte; size],
            Self::Rows(seed) => rows(seed, size),
            Self::Noise(seed) => Random(seed | 1).bytes(size),
            Self::Mixed(seed) => {
                let mut page = rows(seed, size / 3);
                page.resize(size / 2, 0);
                page.append(&mut Random(seed | 1).bytes(size - size / 2));
                page
            }
        }
    }
}

/// xorshift64*: the same numbers at every run.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.next().to_le_bytes())
            .flatten()
            .take(len)
            .collect()
    }
}

fn rows(seed: u64, size: usize) -> Vec<u8> {
    const WORDS: [&str; 8] = ["ferry", "wave", "harbour", "tide", "frame", "page", "salt", "log"];
    let mut random = Random(seed | 1);
    let mut out = Vec::with_capacity(size + 32);
    while out.len() < size {
        let row = random.next();
        out.extend_from_slice(WORDS[row as usize % WORDS.len()].as_bytes());
        out.extend_from_slice(&(row as u32 >> 12).to_be_bytes()[1..]);
    }
    out.truncate(size);
    out
}
