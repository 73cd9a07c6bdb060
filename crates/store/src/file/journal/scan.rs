//! Whole lines of a long file, read piece by piece: past holes, and past lines that no event can be.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
};

/// So much is read at a time.
const PIECE: usize = 1 << 20;

/// No line is longer; one that is, is passed over.
const LONGEST: usize = 16 << 20;

/// The lines between two offsets.
pub(super) enum Piece<'a> {
    /// Whole lines with their line feeds.
    Lines(&'a [u8]),
    /// One line that is too long, or has a hole in it.
    Broken {
        /// The offset of its end.
        end: u64,
        /// The kept part of its end.
        tail: &'a [u8],
    },
}

/// Passes on the whole lines between two offsets; returns what follows the last one, `None` when that is no part of a
/// line.
pub(super) fn lines(file: &File, from: u64, to: u64, take: &mut dyn FnMut(Piece<'_>)) -> io::Result<Option<Vec<u8>>> {
    let (mut line, mut at, mut broken) = (Vec::new(), from, false);
    while at < to {
        // A crash of the machine, or `truncate -s`, leaves holes that are long and cost time to read as zeros.
        match seek(file, SeekFrom::Data(at)) {
            // Nothing but a hole follows.
            Err(Errno::NXIO) => return Ok(None),
            Ok(data) if data > at => (at, broken) = (data, true),
            // Not every file system can tell.
            _ => {}
        }
        let mut piece = vec![0; PIECE.min(usize::try_from(to.saturating_sub(at)).unwrap_or(PIECE))];
        let length = read_at(file, &mut piece, at)?;
        if length == 0 {
            break;
        }
        at += length as u64;
        let piece = &piece[..length];
        let Some(first) = piece.iter().position(|&byte| byte == b'\n').map(|end| end + 1) else {
            line.extend_from_slice(piece);
            if line.len() > LONGEST {
                // Let go: a line without an end must not become as long in memory as it is on the disk.
                (broken, line) = (true, Vec::new());
            }
            continue;
        };
        let whole = piece.iter().rposition(|&byte| byte == b'\n').map_or(first, |end| end + 1);
        line.extend_from_slice(&piece[..first]);
        if broken || line.len() > LONGEST {
            take(Piece::Broken { end: at - (length - first) as u64, tail: &line });
        } else {
            take(Piece::Lines(&line));
        }
        broken = false;
        take(Piece::Lines(&piece[first..whole]));
        line = piece[whole..].to_vec();
    }
    Ok(Some(line).filter(|_| !broken))
}

/// Reads until the buffer is full or the file ends.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
