//! Changes to bytes that look random and are the same for the same seed.

/// Numbers (xorshift64*).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `below`; 0 where nothing is.
    pub(super) fn below(&mut self, below: usize) -> usize {
        if below == 0 { 0 } else { (self.next() >> 33) as usize % below }
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A range of a text of this length, mostly a short one.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let most = if self.below(4) == 0 { length } else { 16 };
        start..(start + self.below(most + 1)).min(length)
    }
}

/// What every format of ours trips over, if it does over anything.
const COMMON: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xc3",
    b"\xe2\x80\xae",
    b"\xef\xbb\xbf",
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\x1b[31m",
    b"\x9b",
    b"..",
    b"/",
    b"../",
    b"#",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"0",
    b"-1",
    b"1e999",
    b"18446744073709551615",
    b"9223372036854775808",
    b"4294967296",
    b"0.1",
    b"9999-12-31T23:59:60Z",
    b"-262144-01-01T00:00:00Z",
    b"1970-01-01T00:00:00Z",
];

/// The longest input; what is longer is cut.
const LONGEST: usize = 64 * 1024;

/// One to eight changes to an input.
pub(super) fn mutated(random: &mut Random, input: &[u8], others: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + random.below(3) * random.below(4) {
        change(random, &mut bytes, others, words);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, others: &[Vec<u8>], words: &[&[u8]]) {
    let at = random.below(bytes.len());
    let range = random.range(bytes.len());
    match random.below(12) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
        2 => drop(bytes.drain(range)),
        3 => bytes.truncate(at),
        // The same once more, or very often.
        4 => {
            let part = bytes[range.clone()].to_vec();
            let times = if random.below(16) == 0 { random.below(400) } else { 1 };
            bytes.splice(range.start..range.start, part.repeat(times));
        }
        // Two places change places.
        5 => {
            let part: Vec<u8> = bytes.drain(range).collect();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, part);
        }
        // A part of another input.
        6 | 7 if !others.is_empty() => {
            let other = random.pick(others);
            let part = other[random.range(other.len())].to_vec();
            let to = if random.below(2) == 0 { range } else { range.start..range.start };
            bytes.splice(to, part);
        }
        // Another number in the place of one.
        8 => {
            let digits = |bytes: &[u8], at: usize| bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if let Some(start) = (at..bytes.len()).find(|at| bytes[*at].is_ascii_digit()) {
                let end = start + digits(bytes, start);
                let number = match random.below(3) {
                    0 => random.next().to_string(),
                    1 => random.below(3).to_string(),
                    _ => (u64::MAX >> random.below(64)).to_string(),
                };
                bytes.splice(start..end, number.into_bytes());
            }
        }
        // Nested deeply.
        9 if random.below(20) == 0 => {
            let (open, close) = *random.pick(&[(b"[", b"]"), (b"{", b"}")]);
            let deep = random.below(3_000);
            bytes.splice(range.end..range.end, close.repeat(deep));
            bytes.splice(range.start..range.start, open.repeat(deep));
        }
        _ => {
            let word = if words.is_empty() || random.below(3) == 0 { random.pick(COMMON) } else { random.pick(words) };
            let to = if random.below(3) == 0 { range } else { range.start..range.start };
            bytes.splice(to, word.iter().copied());
        }
    }
}
