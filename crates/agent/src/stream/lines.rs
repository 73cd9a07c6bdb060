//! From bytes that come in any pieces to lines.

/// Cuts a stream into lines, holding at most one, and that up to a bound.
pub(crate) struct Lines {
    held: Vec<u8>,
    most: usize,
    dropping: bool,
    dropped: u64,
}

impl Lines {
    pub(crate) fn new(most: usize) -> Self {
        Self { held: Vec::new(), most, dropping: false, dropped: 0 }
    }

    pub(crate) fn feed(&mut self, bytes: &[u8], tell: &mut dyn FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (body, ends) = match piece.strip_suffix(b"\n") {
                Some(body) => (body, true),
                None => (piece, false),
            };
            if !self.dropping {
                if self.held.len() + body.len() > self.most {
                    self.dropping = true;
                    self.dropped += 1;
                    self.held = Vec::new();
                } else {
                    self.held.extend_from_slice(body);
                }
            }
            if ends {
                self.end(tell);
            }
        }
    }

    /// Returns how many lines were too long.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Ends a line, or the stream: what stands there without a line feed is a line as well.
    pub(crate) fn end(&mut self, tell: &mut dyn FnMut(&str)) {
        let held = std::mem::take(&mut self.held);
        if std::mem::take(&mut self.dropping) || held.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&held);
        tell(text.strip_suffix('\r').unwrap_or(&text));
        // The buffer serves again, unless one long line made it large.
        if held.capacity() <= 1 << 16 {
            self.held = held;
            self.held.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_dropped_and_the_next_one_is_read() {
        let mut lines = Lines::new(4);
        let mut seen = Vec::new();
        for piece in [&b"ab"[..], b"cd\nabc", b"de\n\n", b"x\r\n\xff\nlast"] {
            lines.feed(piece, &mut |line| seen.push(line.to_owned()));
        }
        lines.end(&mut |line| seen.push(line.to_owned()));
        assert_eq!(seen, ["abcd", "x", "\u{fffd}", "last"]);
    }
}
